"""Who is called back, what proves a call, and when a node may register."""

from collections.abc import Callable
from typing import Any

import pytest

from network.codec import encode
from network.config import Address
from network.crypto import SigningKey
from network.ids import node_id
from network.reachability import (
    MESSAGE_LIMIT,
    MOST_ASKED,
    DialBackAnswer,
    DialBackRequest,
    OpenNonces,
    Reachability,
    called_node,
    helpers,
    is_called_right,
    is_proof,
    plain_host,
)

KEY = SigningKey(bytes(range(32)))
OUTER = Address("192.0.2.7", 8800)


def found(listed: int, answered: int, reached: int, called: tuple[str, ...] = ("192.0.2.7:8800",)) -> Reachability:
    return Reachability(str(OUTER), listed, max(answered, 2), answered, reached, called)


def test_a_call_is_proven_by_the_nonce_that_only_the_node_can_have_made(draw: Callable[[int], bytes]) -> None:
    nonces = OpenNonces(draw)
    nonce, unused = nonces.open(), nonces.open()
    proof = nonces.bring(nonce, KEY)
    assert proof is not None and is_proof(KEY.public, nonce, proof)
    assert not is_proof(KEY.public, unused, proof) and not is_proof(draw(32), nonce, proof)
    assert nonces.bring(draw(32), KEY) is None
    assert nonces.close(nonce) and not nonces.close(unused)
    assert nonces.bring(nonce, KEY) is None, "a nonce serves once"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7:8800"),
        ("::ffff:192.0.2.7", "192.0.2.7:8800"),
        ("fe80::1%eth0", "[fe80::1]:8800"),
        ("name", None),
    ],
)
def test_only_the_host_that_asks_is_called(host: str, address: str | None) -> None:
    node = called_node(DialBackRequest(KEY.public, 8800, bytes(32)), host)
    assert (node.address if node else None) == address
    assert node is None or node.node_id == node_id(KEY.public)


def test_requests_without_sense_are_refused_and_messages_fit_their_limit() -> None:
    for request in (
        DialBackRequest(KEY.public, 0, bytes(32)),
        DialBackRequest(b"", 1, bytes(32)),
        DialBackRequest(KEY.public, 1),
    ):
        assert called_node(request, "192.0.2.7") is None
    assert len(encode(DialBackRequest(KEY.public, 65535, bytes(32)))) <= MESSAGE_LIMIT
    assert len(encode(DialBackAnswer("a" * 64, True))) <= MESSAGE_LIMIT


def test_a_helper_must_have_called_the_address_that_is_registered() -> None:
    assert is_called_right("192.0.2.7:8800", OUTER, [])
    assert not is_called_right("192.0.2.7:8801", OUTER, []) and not is_called_right("192.0.2.8:8800", OUTER, [])
    assert not is_called_right("junk", OUTER, []) and not is_called_right("name:8800", Address("name", 8800), [])
    assert is_called_right("192.0.2.7:8800", Address("name", 8800), ["192.0.2.9", "::ffff:192.0.2.7"])
    assert plain_host("2001:db8:0::1") == "2001:db8::1"


def test_two_helpers_suffice_one_where_there_is_only_one_and_none_where_there_is_none() -> None:
    assert found(9, 2, 2).is_enough and found(1, 1, 1).is_enough and found(0, 0, 0, ()).is_enough
    assert found(9, 2, 2).explanation == ""
    assert not found(9, 6, 1).is_enough
    assert "1 of 6" in found(9, 6, 1).explanation and "192.0.2.7:8800" in found(9, 6, 1).explanation
    assert "way out" in found(9, 0, 0, ()).explanation


def test_helpers_are_other_relays_of_different_families_first(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    relays = directory_of(["one"] * 8 + ["two", "three"]).relays()
    own = relays[0].node_id
    chosen = helpers(relays, own, draw)
    assert len(chosen) == MOST_ASKED and own not in {each.node_id for each in chosen}
    assert len({each.family for each in chosen[:3]}) == 3
