"""One-pass set-up: both ends agree, every hop sees a full region, and whatever is changed is refused."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.crypto import exchange_public
from network.errors import CryptoError, DecodeError
from network.freshness import FRESH_MINUTES
from network.geometry import GEOMETRY
from network.handshake import ForeignDirectory, HopIdentity, OnionKey, RelayHandshake, UserHandshake

NOW = 1_800_000_000.0
PRIVATES = [bytes([i + 1]) * 32 for i in range(GEOMETRY.max_hops)]
HOPS = [HopIdentity(bytes([i + 1]) * 20, exchange_public(private)) for i, private in enumerate(PRIVATES)]
ONION_KEYS = [OnionKey(private, exchange_public(private)) for private in PRIVATES]
DIRECTORY = b"directory-name.."
Rng = Callable[[int], bytes]


def _rng(seed: int) -> Rng:
    return random.Random(seed).randbytes


def _relay(body: bytes, hop: int, now: float = NOW) -> RelayHandshake:
    return RelayHandshake(body, HOPS[hop].node_id, ONION_KEYS[hop], [b"another name....", DIRECTORY], now, _rng(100 + hop))


def _walk(user: UserHandshake, hops: int) -> tuple[list[RelayHandshake], bytes]:
    """Every hop's handshake, and the CREATED body that reaches the user."""
    body, relays = user.create(NOW, _rng(2)), []
    for hop in range(hops):
        assert len(body) == GEOMETRY.cell_body
        relays.append(_relay(body, hop))
        body = relays[-1].rest
    answer = _rng(3)(GEOMETRY.cell_body)
    for relay in reversed(relays):
        answer = relay.created(answer)
        assert len(answer) == GEOMETRY.cell_body
    return relays, answer


@pytest.mark.parametrize("hops", range(1, GEOMETRY.max_hops + 1))
def test_both_ends_agree_for_every_number_of_hops(hops: int) -> None:
    user = UserHandshake(HOPS[:hops], DIRECTORY, _rng(1))
    relays, answer = _walk(user, hops)
    assert [relay.keys for relay in relays] == list(user.finish(answer))
    assert [relay.next_hop for relay in relays] == [hop.node_id for hop in HOPS[1:hops]] + [None]
    assert len({relay.keys.forward for relay in relays}) == hops


def test_no_hop_sees_bytes_that_another_saw() -> None:
    body, seen = UserHandshake(HOPS[:3], DIRECTORY, _rng(1)).create(NOW, _rng(2)), set[bytes]()
    for hop in range(3):
        runs = {body[at : at + 16] for at in range(GEOMETRY.cell_body - 15)}
        assert not runs & seen
        seen |= runs
        body = _relay(body, hop).rest


@given(st.integers(0, 2), st.integers(0, GEOMETRY.cell_body * 8 - 1))
@settings(max_examples=120, deadline=None)
def test_a_flipped_bit_in_create_is_refused_by_the_next_hop(hop: int, bit: int) -> None:
    body = UserHandshake(HOPS[:3], DIRECTORY, _rng(1)).create(NOW, _rng(2))
    for index in range(hop):
        body = _relay(body, index).rest
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((CryptoError, DecodeError)):
        _relay(bytes(changed), hop)


@given(st.integers(0, GEOMETRY.created_slot * 3 * 8 - 1))
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_in_created_is_refused_by_the_user(bit: int) -> None:
    user = UserHandshake(HOPS[:3], DIRECTORY, _rng(1))
    _, answer = _walk(user, 3)
    changed = bytearray(answer)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CryptoError):
        user.finish(bytes(changed))


def test_another_relay_cannot_open_a_slot() -> None:
    body = UserHandshake(HOPS[:3], DIRECTORY, _rng(1)).create(NOW, _rng(2))
    with pytest.raises(CryptoError):
        _relay(body, 1)


@pytest.mark.parametrize("minutes", [-FRESH_MINUTES - 1, FRESH_MINUTES + 1])
def test_a_stale_create_is_refused(minutes: int) -> None:
    body = UserHandshake(HOPS[:3], DIRECTORY, _rng(1)).create(NOW, _rng(2))
    with pytest.raises(DecodeError):
        _relay(body, 0, NOW + 60 * minutes)
    _relay(body, 0, NOW + 60 * (minutes - 1 if minutes > 0 else minutes + 1))


@given(st.binary(min_size=GEOMETRY.cell_body, max_size=GEOMETRY.cell_body))
@settings(max_examples=30, deadline=None)
def test_garbage_is_refused(body: bytes) -> None:
    with pytest.raises(CryptoError):
        _relay(body, 0)
    with pytest.raises(CryptoError):
        UserHandshake(HOPS[:3], DIRECTORY, _rng(1)).finish(body)


def test_keys_need_both_ephemeral_keys() -> None:
    """Forward secrecy: the same CREATE, answered with another ephemeral key, gives other keys."""
    body = UserHandshake(HOPS[:1], DIRECTORY, _rng(1)).create(NOW, _rng(2))
    one = RelayHandshake(body, HOPS[0].node_id, ONION_KEYS[0], [DIRECTORY], NOW, _rng(4))
    other = RelayHandshake(body, HOPS[0].node_id, ONION_KEYS[0], [DIRECTORY], NOW, _rng(5))
    assert one.keys != other.keys


def test_another_directory_is_refused_and_gives_other_keys() -> None:
    body = UserHandshake(HOPS[:1], DIRECTORY, _rng(1)).create(NOW, _rng(2))
    with pytest.raises(ForeignDirectory):
        RelayHandshake(body, HOPS[0].node_id, ONION_KEYS[0], [b"another name...."], NOW, _rng(4))


def test_a_slot_is_for_one_node_even_under_the_same_onion_key() -> None:
    body = UserHandshake(HOPS[:1], DIRECTORY, _rng(1)).create(NOW, _rng(2))
    with pytest.raises(CryptoError):
        RelayHandshake(body, HOPS[1].node_id, ONION_KEYS[0], [DIRECTORY], NOW, _rng(4))


def test_a_key_pair_does_not_show_its_private_half() -> None:
    assert PRIVATES[0].hex() not in repr(ONION_KEYS[0])
