"""The heartbeat: signed for one chain, small, and recognisably old."""

from dataclasses import replace

import pytest

from network.codec import decode, encode
from network.crypto import SigningKey
from network.heartbeat import FRESH_MS, HEARTBEAT_LIMIT, Heartbeat, is_authentic, is_timely, make_heartbeat
from network.ids import node_id

NOW = 1_800_000_000.25
KEY = SigningKey(bytes(range(32)))
BEAT = make_heartbeat(KEY, "chain", NOW, "127.0.0.1:8800", 42)


def test_a_heartbeat_is_authentic_and_names_its_node() -> None:
    assert BEAT.node_id == node_id(KEY.public) and BEAT.time == 1_800_000_000_250
    assert is_authentic(decode(Heartbeat, encode(BEAT)), "chain")
    assert not is_authentic(BEAT, "other")


@pytest.mark.parametrize("change", [{"time": 1}, {"address": "127.0.0.1:1"}, {"height": 1}, {"signature": bytes(64)}])
def test_nothing_in_it_can_be_changed(change: dict[str, object]) -> None:
    assert not is_authentic(replace(BEAT, **change), "chain")  # type: ignore[arg-type]


def test_the_longest_one_fits_its_limit() -> None:
    assert len(encode(make_heartbeat(KEY, "c" * 64, 2**50 / 1000, "a" * 128, 2**63 - 1))) <= HEARTBEAT_LIMIT


def test_old_and_early_ones_are_not_timely() -> None:
    minutes = FRESH_MS / 1000
    assert is_timely(BEAT, NOW + minutes - 1) and is_timely(BEAT, NOW - minutes + 1)
    assert not is_timely(BEAT, NOW + minutes + 1) and not is_timely(BEAT, NOW - minutes - 1)


def test_the_bytes_are_pinned() -> None:
    assert encode(BEAT).hex() == (
        "0a2003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b810faa1f1c2b1341a0e3132372e302e30"
        "2e313a38383030202a2a405678f831bf6944e8bd95511045ce7c020e207e25cefdb8c8c2efd335b5330fec3f483facfca47b"
        "ed7044e0a01f4c87f9bde8f005c3a62820d98ae6ff42e30f0c"
    )
