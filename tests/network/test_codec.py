"""The canonical codec: what encodes decodes back, what differs from the canonical bytes is refused."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.codec import (
    Message,
    blob,
    blobs,
    decode,
    decode_varint,
    encode,
    encode_varint,
    flag,
    nested,
    repeated,
    sint,
    text,
    uint,
    uints,
)
from network.errors import DecodeError


@dataclass(frozen=True, slots=True)
class Inner(Message):
    value: int = sint(1, limit=1000)


@dataclass(frozen=True, slots=True)
class Outer(Message):
    number: int = uint(1, limit=500)
    key: bytes = blob(2, size=3)
    name: str = text(3, limit=8)
    numbers: tuple[int, ...] = uints(4, count=4, limit=70_000)
    items: tuple[Inner, ...] = repeated(5, Inner, count=2)
    inner: Any = nested(6, Inner)
    ready: bool = flag(7)
    parts: tuple[bytes, ...] = blobs(8, count=2, limit=4)


inners = st.builds(Inner, st.integers(-1000, 1000))
outers = st.builds(
    Outer,
    st.integers(0, 500),
    st.one_of(st.just(b""), st.binary(min_size=3, max_size=3)),
    st.text(max_size=2),
    st.lists(st.integers(0, 70_000), max_size=4).map(tuple),
    st.lists(inners, max_size=2).map(tuple),
    st.one_of(st.none(), inners),
    st.booleans(),
    st.lists(st.binary(max_size=4), max_size=2).map(tuple),
)


@given(outers)
def test_what_encodes_decodes_back(message: Outer) -> None:
    assert decode(Outer, encode(message)) == message


@given(outers, st.data())
def test_every_accepted_encoding_is_the_canonical_one(message: Outer, data: st.DataObject) -> None:
    raw = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        accepted = decode(Outer, bytes(raw))
    except DecodeError:
        return
    assert encode(accepted) == bytes(raw)


@given(st.binary(max_size=200))
def test_garbage_is_a_decode_error_and_nothing_else(raw: bytes) -> None:
    with suppress(DecodeError):
        assert encode(decode(Outer, raw)) == raw


@given(st.integers(0, 2**63))
def test_varints_round_trip(value: int) -> None:
    assert decode_varint(encode_varint(value), 0) == (value, len(encode_varint(value)))


# Bytes with their meaning: any protobuf tool prints the same fields.
VECTORS = [
    (Outer(), ""),
    (Outer(number=300), "08ac02"),
    (Outer(key=b"abc"), "1203616263"),
    (Outer(name="hé"), "1a0368c3a9"),
    (Outer(numbers=(1, 0, 300)), "22040100ac02"),
    (Outer(items=(Inner(-4), Inner())), "2a0208072a00"),
    (Outer(inner=Inner()), "3200"),
    (Outer(ready=True), "3801"),
    (Outer(parts=(b"", b"x")), "4200420178"),
]


@pytest.mark.parametrize(("message", "raw"), VECTORS)
def test_vectors(message: Outer, raw: str) -> None:
    assert encode(message).hex() == raw
    assert decode(Outer, bytes.fromhex(raw)) == message


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("0800", "default value given"),
        ("088000", "varint not minimal"),
        ("08f503", "501 is over the limit"),
        ("08ffffffffffffffffffffff01", "varint too long"),
        ("12026162", "fixed size of three"),
        ("1200", "empty given"),
        ("1a02c328", "not UTF-8"),
        ("1a09616161616161616161", "text over its limit"),
        ("12036162631203616263", "given twice"),
        ("3801" + "0801", "out of order"),
        ("4a0178", "unknown field"),
        ("0a0105", "wrong wire type for a number"),
        ("1001", "wrong wire type for bytes"),
        ("1205616263", "truncated"),
        ("22050101010101", "five numbers where four fit"),
        ("2a002a002a00", "three items where two fit"),
        ("38", "a tag alone"),
    ],
)
def test_other_encodings_are_refused(raw: str, why: str) -> None:
    with pytest.raises(DecodeError):
        decode(Outer, bytes.fromhex(raw))
    assert why


@pytest.mark.parametrize(
    "message",
    [
        Outer(number=501),
        Outer(number=-1),
        Outer(key=b"toolong"),
        Outer(name="x" * 9),
        Outer(numbers=(1, 2, 3, 4, 5)),
        Outer(items=(Inner(), Inner(), Inner())),
        Outer(inner=Inner(1001)),
        Outer(parts=(b"12345",)),
    ],
)
def test_values_outside_their_bounds_do_not_encode(message: Outer) -> None:
    with pytest.raises(ValueError):
        encode(message)
