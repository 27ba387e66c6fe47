"""What canonical protobuf is made of: varints, the base of every message, and how one field travels."""

from dataclasses import dataclass

from network.errors import DecodeError

MAX_UINT = 2**63 - 1


class Message:
    """Base of every canonically encoded dataclass."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Wire:
    """How one dataclass field travels: number, kind, and the bounds the decoder enforces."""

    number: int
    kind: str
    limit: int
    size: int | None = None
    repeated: bool = False
    message: type[Message] | None = None


def encode_varint(value: int) -> bytes:
    """Minimal little-endian base-128 encoding of a non-negative integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(raw: bytes, at: int) -> tuple[int, int]:
    """Read one minimal varint of at most 10 bytes: (value, position after it)."""
    value = shift = 0
    for byte in raw[at : at + 10]:
        at += 1
        if byte < 0x80:
            if byte == 0 and shift:
                raise DecodeError("a varint is not minimal")
            return value | byte << shift, at
        value |= (byte & 0x7F) << shift
        shift += 7
    raise DecodeError("a varint is truncated or longer than 10 bytes")
