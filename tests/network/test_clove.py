"""Sealed cloves: round trips, binding to the key, and garbage refused with two kinds of error at most."""

import random
import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.clove import Clove, open_clove, seal_clove
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
