"""Canonical protobuf: one encoding per message, and a decoder that refuses every other.

Transactions, ledger records, cloves and deltas are frozen dataclasses whose fields carry protobuf field numbers.
The bytes are ordinary proto3 (any protobuf tool reads them), made canonical by the rules of `docs/overlay.md`
section 1: ascending field numbers, minimal varints, defaults omitted, packed integers, no unknown fields. Protobuf's own
serialisers promise none of this, and signatures and app hashes need all of it.

`encode_plainly` and `decode_plainly` are the specification, field by field; what runs is compiled from the same plan, once
per class (`codec_compiled.py`), and leaves every message that is not in order to them.
"""

from collections.abc import Callable
from dataclasses import Field as DataclassField
from dataclasses import field, fields
from typing import Any, TypeVar

from network.codec_compiled import Entry, compile_decoder, compile_encoder
from network.errors import DecodeError
from network.wire import MAX_UINT, Message, Wire, decode_varint, encode_varint

__all__ = [
    "MAX_UINT",
    "Message",
    "Wire",
    "blob",
    "blobs",
    "decode",
    "decode_varint",
    "encode",
    "encode_varint",
    "flag",
    "nested",
    "repeated",
    "sint",
    "text",
    "uint",
    "uints",
]
_VARINT, _DELIMITED = 0, 2


M = TypeVar("M", bound=Message)


def uint(number: int, *, limit: int = MAX_UINT) -> Any:
    """An unsigned integer of at most `limit` (varint)."""
    return field(default=0, metadata={"wire": Wire(number, "uint", limit)})


def sint(number: int, *, limit: int = MAX_UINT) -> Any:
    """A signed integer of magnitude at most `limit` (zigzag varint)."""
    return field(default=0, metadata={"wire": Wire(number, "sint", limit)})


def flag(number: int) -> Any:
    """A boolean."""
    return field(default=False, metadata={"wire": Wire(number, "flag", 1)})


def blob(number: int, *, size: int | None = None, limit: int = 65536) -> Any:
    """Bytes of at most `limit`; with `size`, of exactly that length or empty."""
    return field(default=b"", metadata={"wire": Wire(number, "blob", limit, size)})


def text(number: int, *, limit: int = 256) -> Any:
    """UTF-8 text of at most `limit` bytes."""
    return field(default="", metadata={"wire": Wire(number, "text", limit)})


def uints(number: int, *, count: int, limit: int = MAX_UINT) -> Any:
    """A packed tuple of at most `count` unsigned integers."""
    return field(default=(), metadata={"wire": Wire(number, "uints", limit, count)})


def blobs(number: int, *, count: int, size: int | None = None, limit: int = 65536) -> Any:
    """A tuple of at most `count` byte strings; `size` fixes the length of each."""
    wire = Wire(number, "blob", limit, size, repeated=True)
    return field(default=(), metadata={"wire": wire, "count": count})


def nested(number: int, message: type[Message]) -> Any:
    """An optional sub-message; None when absent."""
    return field(default=None, metadata={"wire": Wire(number, "message", 0, message=message)})


def repeated(number: int, message: type[Message], *, count: int) -> Any:
    """A tuple of at most `count` sub-messages."""
    wire = Wire(number, "message", 0, repeated=True, message=message)
    return field(default=(), metadata={"wire": wire, "count": count})


_plans: dict[type[Message], tuple[Entry, ...]] = {}
_encoders: dict[type[Message], Callable[[Any], bytes]] = {}
_decoders: dict[type[Message], Callable[[bytes], Any]] = {}


def encode(message: Message) -> bytes:
    """The canonical bytes of a message. Raises ValueError when a field is outside its declared bounds."""
    kind = type(message)
    encoder = _encoders.get(kind)
    if encoder is None:
        encoder = _encoders[kind] = compile_encoder(_plan(kind), encode_plainly, encode)
    return encoder(message)


def decode(kind: type[M], raw: bytes) -> M:
    """The message whose canonical bytes are exactly `raw`. Raises DecodeError for anything else."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = compile_decoder(kind, _plan(kind), decode_plainly, decode)
    message: M = decoder(raw)
    return message


def _plan(kind: type[Message]) -> tuple[Entry, ...]:
    """The fields of a message class in ascending number order, each with its repeat count."""
    if kind in _plans:
        return _plans[kind]
    found: list[Entry] = []
    entries: tuple[DataclassField[Any], ...] = fields(kind)  # type: ignore[arg-type]
    for entry in entries:
        found.append((entry.name, entry.metadata["wire"], entry.metadata.get("count", 1)))
    _plans[kind] = tuple(sorted(found, key=lambda row: row[1].number))
    return _plans[kind]


def encode_plainly(message: Message) -> bytes:
    """`encode`, field by field."""
    out = bytearray()
    for name, wire, count in _plan(type(message)):
        value = getattr(message, name)
        if not value and not isinstance(value, Message):
            continue
        if wire.repeated:
            if len(value) > count:
                raise ValueError(f"{type(message).__name__}.{name}: {len(value)} items, at most {count}")
            for item in value:
                _encode_delimited(out, wire, _payload(wire, item, name))
        elif wire.kind in ("uint", "sint", "flag"):
            out += encode_varint(wire.number << 3 | _VARINT)
            out += encode_varint(_number(wire, value, name))
        else:
            _encode_delimited(out, wire, _payload(wire, value, name))
    return bytes(out)


def _encode_delimited(out: bytearray, wire: Wire, payload: bytes) -> None:
    out += encode_varint(wire.number << 3 | _DELIMITED)
    out += encode_varint(len(payload))
    out += payload


def _number(wire: Wire, value: int, name: str) -> int:
    low = -wire.limit if wire.kind == "sint" else 0
    if not low <= value <= wire.limit:
        raise ValueError(f"{name}: {value} is outside {low}..{wire.limit}")
    if wire.kind == "sint":
        return value << 1 if value >= 0 else (-value << 1) - 1
    return int(value)


def _payload(wire: Wire, value: Any, name: str) -> bytes:
    if wire.kind == "message":
        return encode_plainly(value)
    if wire.kind == "uints":
        if wire.size is not None and len(value) > wire.size:
            raise ValueError(f"{name}: {len(value)} numbers, at most {wire.size}")
        return b"".join(encode_varint(_number(wire, item, name)) for item in value)
    payload = value.encode() if wire.kind == "text" else bytes(value)
    if wire.kind == "blob" and wire.size is not None and len(payload) != wire.size:
        raise ValueError(f"{name}: {len(payload)} bytes, must be {wire.size}")
    if len(payload) > wire.limit:
        raise ValueError(f"{name}: {len(payload)} bytes, at most {wire.limit}")
    return payload


def decode_plainly(kind: type[M], raw: bytes) -> M:
    """`decode`, field by field."""
    plan = {wire.number: (name, wire, count) for name, wire, count in _plan(kind)}
    values: dict[str, Any] = {}
    at = last = 0
    while at < len(raw):
        tag, at = decode_varint(raw, at)
        number, wire_type = tag >> 3, tag & 7
        if number not in plan:
            raise DecodeError(f"{kind.__name__}: unknown field {number}")
        name, wire, count = plan[number]
        if number < last or (number == last and not wire.repeated):
            raise DecodeError(f"{kind.__name__}.{name}: out of order or given twice")
        last = number
        if wire.kind in ("uint", "sint", "flag"):
            if wire_type != _VARINT:
                raise DecodeError(f"{kind.__name__}.{name}: wrong wire type {wire_type}")
            value, at = decode_varint(raw, at)
            values[name] = _checked_number(wire, value, name)
            continue
        if wire_type != _DELIMITED:
            raise DecodeError(f"{kind.__name__}.{name}: wrong wire type {wire_type}")
        length, at = decode_varint(raw, at)
        if length > len(raw) - at:
            raise DecodeError(f"{kind.__name__}.{name}: truncated")
        item = _checked_payload(wire, raw[at : at + length], name)
        at += length
        if wire.repeated:
            held = values.setdefault(name, [])
            held.append(item)
            if len(held) > count:
                raise DecodeError(f"{kind.__name__}.{name}: more than {count} items")
        else:
            values[name] = item
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _checked_number(wire: Wire, value: int, name: str) -> Any:
    if value == 0:
        raise DecodeError(f"{name}: a default value must be omitted")
    if wire.kind == "sint":
        value = value >> 1 if not value & 1 else -((value + 1) >> 1)
    if abs(value) > wire.limit:
        raise DecodeError(f"{name}: {value} is beyond {wire.limit}")
    return bool(value) if wire.kind == "flag" else value


def _checked_payload(wire: Wire, payload: bytes, name: str) -> Any:
    if wire.kind == "message":
        assert wire.message is not None
        return decode_plainly(wire.message, payload)
    if not payload and not wire.repeated:
        raise DecodeError(f"{name}: a default value must be omitted")
    if wire.kind == "uints":
        return _unpack(wire, payload, name)
    if len(payload) > wire.limit or (wire.size is not None and len(payload) != wire.size):
        raise DecodeError(f"{name}: {len(payload)} bytes do not fit the field")
    if wire.kind == "text":
        try:
            return payload.decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"{name}: not UTF-8") from error
    return payload


def _unpack(wire: Wire, payload: bytes, name: str) -> tuple[int, ...]:
    numbers: list[int] = []
    at = 0
    while at < len(payload):
        value, at = decode_varint(payload, at)
        if value > wire.limit:
            raise DecodeError(f"{name}: {value} is beyond {wire.limit}")
        numbers.append(value)
        if wire.size is not None and len(numbers) > wire.size:
            raise DecodeError(f"{name}: more than {wire.size} numbers")
    return tuple(numbers)
