"""Settings of a front: what is wrong is named."""

from pathlib import Path
from typing import Any

import pytest

from network.crypto import SigningKey
from network.errors import ConfigError
from serving_node.front.config import FrontConfig, from_mapping

KEY = SigningKey(bytes(32)).public.hex()


def read(front: dict[str, Any] | None = None, engine: dict[str, Any] | None = None, members: Any = None) -> FrontConfig:
    raw: dict[str, Any] = {
        "front": {"name": "a", "listen": "127.0.0.1:1000", "ops": "127.0.0.1:1001", "keys": "k", "group": "m", **(front or {})},
        "engine": {"url": "http://127.0.0.1:1002", **(engine or {})},
        "member": [{"name": "a", "key": KEY, "address": "127.0.0.1:1000"}] if members is None else members,
    }
    return from_mapping(raw, Path("/"))


def test_the_least_that_is_needed() -> None:
    config = read()
    assert (config.policy, str(config.engine), config.slots, config.most_inflight) == ("ttft", "127.0.0.1:1002", 0, 256)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"front": {"listen": "0.0.0.0:1000"}}, "front.plain = true"),
        ({"front": {"ops": "0.0.0.0:1000"}}, "front.ops"),
        ({"front": {"policy": "best"}}, "front.policy"),
        ({"front": {"name": "a b"}}, "front.name"),
        ({"front": {"group": ""}}, "front.group"),
        ({"front": {"colour": 1}}, "front.colour"),
        ({"engine": {"url": "https://e"}}, "engine.url"),
        ({"engine": {"url": "http://e:1/v1"}}, "engine.url"),
        ({"engine": {"url": "ftp://e"}}, "engine.url"),
        ({"members": []}, r"\[\[member\]\]"),
        ({"members": [{"name": "b", "key": KEY, "address": "h:1"}]}, "no .*member.* 'a'"),
        ({"members": [{"name": "a", "key": "zz", "address": "h:1"}]}, "member.key"),
        ({"members": [{"name": "a", "key": KEY, "address": "h"}]}, "member.address"),
        ({"members": [{"name": n, "key": KEY, "address": f"h:{at + 1}"} for at, n in enumerate("ab")]}, "the same key"),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(**options)


def test_on_a_private_network_plain_http_is_the_owners_choice() -> None:
    assert str(read({"listen": "0.0.0.0:1000", "plain": True}).listen) == "0.0.0.0:1000"
