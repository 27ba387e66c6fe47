"""Layers: round trips, and any one-bit change is dropped at the next honest hop."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.errors import CryptoError
from network.geometry import GEOMETRY
from network.onion import HopKeys, KeysSpent, RelayLayer, UserLayers, _Direction
from network.terms import TERMS, Terms

Ends = tuple[UserLayers, list[RelayLayer]]


def _ends(seed: int = 0, terms: Terms = TERMS) -> Ends:
    draw = random.Random(seed).randbytes
    keys = [HopKeys(draw(32), draw(32), draw(32), draw(32)) for _ in range(GEOMETRY.hops)]
    return UserLayers(keys, terms), [RelayLayer(each, terms) for each in keys]


def _flip(body: bytes, bit: int) -> bytes:
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_both_directions_round_trip_for_many_cells() -> None:
    user, relays = _ends()
    draw = random.Random(1).randbytes
    for _ in range(40):
        data = draw(GEOMETRY.forward_body)
        body = user.wrap(data)
        for relay in relays:
            assert len(body) == GEOMETRY.cell_body
            body = relay.peel(body)
        assert relays[-1].data(body) == data
        answer = draw(GEOMETRY.backward_body)
        body = relays[-1].originate(answer)
        for relay in reversed(relays[:-1]):
            body = relay.wrap(body)
        assert user.unwrap(body) == answer


@given(st.integers(0, GEOMETRY.hops - 1), st.integers(0, GEOMETRY.cell_body * 8 - 1))
@settings(max_examples=300, deadline=None)
def test_a_flipped_bit_is_dropped_at_the_next_hop_forward(hop: int, bit: int) -> None:
    user, relays = _ends()
    body = user.wrap(bytes(GEOMETRY.forward_body))
    for relay in relays[:hop]:
        body = relay.peel(body)
    with pytest.raises(CryptoError):
        relays[hop].peel(_flip(body, bit))
    # Nothing moved on: the untouched cell still passes, so a forged cell cannot desynchronise a circuit by itself.
    for relay in relays[hop:]:
        body = relay.peel(body)
    assert relays[-1].data(body) == bytes(GEOMETRY.forward_body)


@given(st.integers(0, GEOMETRY.hops - 1), st.integers(0, GEOMETRY.cell_body * 8 - 1))
@settings(max_examples=200, deadline=None)
def test_a_flipped_bit_is_noticed_by_the_user_backward(hop: int, bit: int) -> None:
    user, relays = _ends()
    body = relays[-1].originate(bytes(GEOMETRY.backward_body))
    for index in reversed(range(GEOMETRY.hops)):
        if index < GEOMETRY.hops - 1:
            body = relays[index].wrap(body)
        if index == hop:
            body = _flip(body, bit)
    with pytest.raises(CryptoError):
        user.unwrap(body)


def test_replayed_reordered_and_lost_cells_fail() -> None:
    user, relays = _ends()
    first, second, third = (user.wrap(bytes(GEOMETRY.forward_body)) for _ in range(3))
    relays[0].peel(first)
    for wrong in (first, third):
        with pytest.raises(CryptoError):
            relays[0].peel(wrong)
    relays[0].peel(second)


def test_cells_of_another_circuit_fail() -> None:
    user, _ = _ends(1)
    _, relays = _ends(2)
    with pytest.raises(CryptoError):
        relays[0].peel(user.wrap(bytes(GEOMETRY.forward_body)))


def test_no_two_links_show_the_same_bytes() -> None:
    user, relays = _ends()
    seen: set[bytes] = set()
    for _ in range(8):
        body = user.wrap(bytes(GEOMETRY.forward_body))
        for relay in relays:
            runs = {body[at : at + 16] for at in range(0, GEOMETRY.cell_body - 15)}
            assert len(runs) == GEOMETRY.cell_body - 15 and not runs & seen
            seen |= runs
            body = relay.peel(body)


def test_keys_do_not_show_themselves() -> None:
    assert repr(HopKeys(b"secret", b"", b"", b"")) == "HopKeys(...)"


@given(st.integers(1, 7), st.lists(st.booleans(), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_both_ends_rekey_together_whatever_the_order_of_directions(every: int, ways: list[bool]) -> None:
    user, relays = _ends(terms=Terms(rekey_every=every))
    for forward in ways:
        if forward:
            body = user.wrap(b"f" * GEOMETRY.forward_body)
            for relay in relays:
                body = relay.peel(body)
            assert relays[-1].data(body) == b"f" * GEOMETRY.forward_body
        else:
            body = relays[-1].originate(b"b" * GEOMETRY.backward_body)
            for relay in reversed(relays[:-1]):
                body = relay.wrap(body)
            assert user.unwrap(body) == b"b" * GEOMETRY.backward_body


@given(st.integers(1, 9), st.integers(1, 60))
def test_no_key_ever_meets_a_nonce_twice_and_old_keys_are_gone(every: int, cells: int) -> None:
    way = _Direction(b"a" * 32, b"s" * 32, Terms(rekey_every=every))
    seen: set[tuple[bytes, int]] = set()
    streams: set[bytes] = set()
    for number in range(cells):
        if way.count == way.until:
            way.renew()
            assert way._stream_key not in streams, "a stream starts from zero once per key"
            streams.add(way._stream_key)
        assert (way._aead_key, way.count) not in seen and way.count == number
        seen.add((way._aead_key, way.count))
        way.count += 1
    assert len(streams) == len({key for key, _ in seen}) == -(-cells // every)
    assert {key for key, _ in seen}.isdisjoint(streams)


def test_keys_are_spent_after_as_many_cells_as_they_may_carry() -> None:
    user, relays = _ends(terms=Terms(rekey_every=2, most_cells=3))
    for _ in range(3):
        relays[0].peel(user.wrap(bytes(GEOMETRY.forward_body)))
        user_body = relays[0].wrap(bytes(GEOMETRY.cell_body))
    with pytest.raises(KeysSpent):
        user.wrap(bytes(GEOMETRY.forward_body))
    with pytest.raises(KeysSpent):
        relays[0].peel(user_body)
    with pytest.raises(KeysSpent):
        relays[0].wrap(user_body)
