"""The owner's list as a directory, and the word with which one front vouches to another."""

import pytest

from network.crypto import SigningKey, sha256
from network.errors import ConfigError
from network.geometry import Seal
from network.hpke import seal_to
from network.ids import node_id
from serving_node.front.config import FrontConfig, from_mapping
from serving_node.front.members import HOUR_S, Hops, check_own, directory_of, opener_of

KEYS = [SigningKey(sha256(bytes([number]))) for number in range(3)]
IDS = [node_id(key.public) for key in KEYS]
NOW = 1_800_000_000.0


@pytest.fixture
def config(tmp_path: object) -> FrontConfig:
    members = [{"name": f"f{at}", "key": key.public.hex(), "address": f"127.0.0.1:{9000 + at}"} for at, key in enumerate(KEYS)]
    front = {"name": "f0", "listen": "127.0.0.1:9000", "ops": "127.0.0.1:9100", "keys": "k", "group": "m"}
    return from_mapping(
        {"front": front, "engine": {"url": "http://127.0.0.1:1"}, "member": members},
        tmp_path,  # type: ignore[arg-type]
    )


def test_all_listed_are_trusted_nodes_of_one_group(config: FrontConfig) -> None:
    directory = directory_of(config)
    assert {entry.node_id for entry in directory.models("m")} == set(IDS)
    assert check_own(config, KEYS[0].public) == IDS[0]
    assert directory_of(config, 61).record.epoch == 61
    sealed = seal_to(Seal.X25519, directory.record.entries[0].onion_key, b"word", b"info")
    opened = [key for key in KEYS if node_id(key.public) == directory.record.entries[0].node_id]
    assert opener_of(opened[0]).open(sealed, b"info") == b"word"
    with pytest.raises(ConfigError, match="another key"):
        check_own(config, KEYS[1].public)


def hops(config: FrontConfig, at: int) -> Hops:
    return Hops(KEYS[at], config.members)


def test_a_fellows_word_is_taken_for_an_hour_or_two(config: FrontConfig) -> None:
    value = hops(config, 0).write("f0", IDS[1], 77, NOW).partition(b": ")[2].strip()
    receiver = hops(config, 1)
    assert [receiver.read(value, NOW + hours * HOUR_S) for hours in (0, 1, 0)] == [77, 77, 77]
    assert receiver.read(value, NOW + 2 * HOUR_S) is None
    assert hops(config, 2).read(value, NOW) is None, "it is for one front only"


@pytest.mark.parametrize(
    "bend",
    [
        lambda value: b"",
        lambda value: value.replace(b"f0", b"f9"),
        lambda value: value.replace(b"f0", b"f2"),
        lambda value: value[:-2] + b"zz",
        lambda value: value[:-2],
        lambda value: value.replace(b" 77 ", b" -7 "),
        lambda value: value + b" " + b"0" * 600,
        lambda value: b"\xff" + value,
    ],
)
def test_another_word_is_none(config: FrontConfig, bend: object) -> None:
    value = hops(config, 0).write("f0", IDS[1], 77, NOW).partition(b": ")[2].strip()
    receiver = hops(config, 1)
    assert receiver.read(value, NOW) == 77
    assert receiver.read(bend(value), NOW) is None  # type: ignore[operator]
    assert receiver.read(None, NOW) is None
