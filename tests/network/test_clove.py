"""Sealed cloves: round trips, binding to the key, and garbage refused with two kinds of error at most."""

import random
import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.clove import Clove, open_clove, seal_clove, seal_cloves
from network.crypto import exchange_public
from network.errors import CryptoError, DecodeError
from network.geometry import CLOVE_HEADER, Seal
from network.hpke import OnionPrivate, Opener, seal_to
from network.sida import Slice, split

PRIVATE = bytes(range(1, 33))
PUBLIC = exchange_public(PRIVATE)
INFO = b"planetserve/clove/1"


def _clove(message: bytes = b"hello", index: int = 1) -> Clove:
    piece = split(message, 4, 3, random.Random(3).randbytes)[index]
    return Clove(4, 3, 29_000_000, b"m" * 16, b"t" * 16, len(message) + 32, piece)


@given(st.binary(max_size=4000), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_round_trip(message: bytes, index: int) -> None:
    clove = _clove(message, index)
    sealed = seal_clove(clove, PUBLIC)
    assert len(sealed) == Seal.X25519.overhead + CLOVE_HEADER + len(clove.slice.fragment)
    assert open_clove(sealed, Opener(OnionPrivate(PRIVATE))) == clove


def test_the_plaintext_vector() -> None:
    clove = Clove(4, 3, 1, b"m" * 16, b"t" * 16, 5, Slice(2, b"s" * 32, b"ab"))
    raw = Opener(OnionPrivate(PRIVATE)).open(seal_clove(clove, PUBLIC), INFO)
    expected = "01040302" + "00000001" + "6d" * 16 + "74" * 16 + "00000005" + "73" * 32 + "6162"
    assert raw.hex() == expected


def _four(message: bytes) -> list[Clove]:
    return [_clove(message, index) for index in range(4)]


@given(st.binary(max_size=400), st.permutations(range(4)))
@settings(max_examples=20, deadline=None)
def test_plain_cloves_carry_the_hashes_of_all(message: bytes, order: list[int]) -> None:
    four = [_four(message)[index] for index in order]
    opened = [open_clove(raw, Opener(OnionPrivate(PRIVATE)), accept_plain=True) for raw in seal_cloves(four, b"", Seal.PLAIN)]
    assert [replace(clove, hashes=b"") for clove in opened] == four
    assert len({clove.hashes for clove in opened}) == 1 and len(opened[0].hashes) == 64
    assert len({clove.gathering for clove in opened}) == 1 and opened[0].gathering != four[0].gathering


@given(st.integers(0))
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_of_a_plain_clove_does_not_pass_for_it(bit: int) -> None:
    raw = seal_cloves(_four(b"hello"), b"", Seal.PLAIN)[1]
    sealed, bit = bytearray(raw), bit % (8 * len(raw))
    sealed[bit // 8] ^= 1 << bit % 8
    try:
        changed = open_clove(bytes(sealed), Opener(OnionPrivate(PRIVATE)), accept_plain=True)
    except (CryptoError, DecodeError):
        return
    assert changed.gathering != open_clove(raw, Opener(OnionPrivate(PRIVATE)), accept_plain=True).gathering


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_plain_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        open_clove(b"\x00" + raw, Opener(OnionPrivate(PRIVATE)), accept_plain=True)


@given(st.integers(0))
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_does_not_open(bit: int) -> None:
    sealed = bytearray(seal_clove(_clove(), PUBLIC))
    bit %= 8 * len(sealed)
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CryptoError):
        open_clove(bytes(sealed), Opener(OnionPrivate(PRIVATE)))


def test_another_nodes_clove_does_not_open() -> None:
    with pytest.raises(CryptoError):
        open_clove(seal_clove(_clove(), exchange_public(bytes(range(2, 34)))), Opener(OnionPrivate(PRIVATE)))


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_sealed_garbage_is_refused(raw: bytes) -> None:
    """Anybody can seal anything to a model node."""
    try:
        open_clove(seal_to(Seal.X25519, PUBLIC, raw, INFO), Opener(OnionPrivate(PRIVATE)))
    except DecodeError:
        return
    version, n, k, index = struct.unpack_from(">BBBB", raw)
    assert version == 1 and index < n and k <= n


@pytest.mark.parametrize("wrong", [{"n": 2}, {"k": 0}, {"n": 17}, {"total": 36}, {"total": 1000}])
def test_impossible_numbers_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(DecodeError):
        open_clove(seal_clove(replace(_clove(index=3), **wrong), PUBLIC), Opener(OnionPrivate(PRIVATE)))
