"""Bending inputs: bytes at random and by what formats trip over, and messages filled at random within their bounds."""

import json
import random
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from network.codec import Message

Bend = Callable[[bytes, random.Random, list[bytes]], bytes]

INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
MOST_BYTES = 200_000


def bend(raw: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """One to four changes of one input; `others` lend their parts."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        raw = _BENDS[draw.randrange(len(_BENDS))](raw, draw, others)
    return raw[:MOST_BYTES]


def _flip(raw: bytes, draw: random.Random, _others: list[bytes]) -> bytes:
    if not raw:
        return b"\x00"
    at = draw.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ 1 << draw.randrange(8)]) + raw[at + 1 :]


def _set(raw: bytes, draw: random.Random, _others: list[bytes]) -> bytes:
    at = draw.randrange(len(raw) + 1)
    return raw[:at] + bytes([draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))]) + raw[at + 1 :]


def _insert(raw: bytes, draw: random.Random, _others: list[bytes]) -> bytes:
    at = draw.randrange(len(raw) + 1)
    return raw[:at] + draw.randbytes(draw.choice((1, 1, 2, 8, 40))) + raw[at:]


def _delete(raw: bytes, draw: random.Random, _others: list[bytes]) -> bytes:
    at = draw.randrange(len(raw) + 1)
    return raw[:at] + raw[at + draw.choice((1, 1, 2, 8, 40)) :]


def _cut(raw: bytes, draw: random.Random, _others: list[bytes]) -> bytes:
    return raw[: draw.randrange(len(raw) + 1)]


def _repeat(raw: bytes, draw: random.Random, _others: list[bytes]) -> bytes:
    at = draw.randrange(len(raw) + 1)
    part = raw[at : at + draw.randrange(1, 64)]
    return raw[:at] + part * draw.choice((2, 3, 200)) + raw[at + len(part) :]


def _splice(raw: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    other = draw.choice(others)
    at, of = draw.randrange(len(raw) + 1), draw.randrange(len(other) + 1)
    return raw[:at] + other[of : of + draw.randrange(1, 200)] + raw[at + draw.randrange(0, 64) :]


def _number(raw: bytes, draw: random.Random, _others: list[bytes]) -> bytes:
    """An integer that formats trip over, as a varint, in fixed width, or in digits."""
    value, at = draw.choice(INTERESTING), draw.randrange(len(raw) + 1)
    style = draw.randrange(3)
    if style == 0:
        written = _varint(value)
    elif style == 1:
        written = value.to_bytes(8, draw.choice(("big", "little")))
    else:
        written = str(draw.choice((value, -value))).encode()
    return raw[:at] + written + raw[at + draw.choice((0, 1, len(written))) :]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


_BENDS = (_flip, _flip, _set, _insert, _delete, _cut, _repeat, _splice, _number, _number)


def filled(kind: type[Message], draw: random.Random, depth: int = 0) -> Message:
    """A message whose fields lie within their bounds, some empty."""
    values: dict[str, Any] = {}
    for entry in fields(kind):  # type: ignore[arg-type]
        wire = entry.metadata["wire"]
        if draw.random() < 0.15 or depth > 3:
            continue
        if wire.repeated:
            count = draw.choice((0, 1, 2, min(5, entry.metadata["count"])))
            values[entry.name] = tuple(_value(wire, draw, depth) for _ in range(count))
        else:
            values[entry.name] = _value(wire, draw, depth)
    return kind(**values)


def _value(wire: Any, draw: random.Random, depth: int) -> Any:
    match wire.kind:
        case "uint":
            return draw.choice((draw.randint(0, wire.limit), draw.randint(0, min(wire.limit, 20)), wire.limit))
        case "sint":
            return draw.randint(-wire.limit, wire.limit)
        case "flag":
            return draw.random() < 0.5
        case "uints":
            return tuple(draw.randint(0, wire.limit) for _ in range(draw.randint(0, min(wire.size or 3, 4))))
        case "text":
            return "".join(draw.choice("abcXYZ019-_.:/é \n") for _ in range(draw.randint(0, min(wire.limit // 2, 12))))
        case "blob":
            return draw.randbytes(wire.size if wire.size is not None else draw.randint(0, min(wire.limit, 40)))
    return filled(wire.message, draw, depth + 1)


def varied(message: Message, draw: random.Random) -> Message:
    """The message with one field, at any depth, filled anew or emptied."""
    entry = draw.choice(fields(message))  # type: ignore[arg-type]
    wire, held = entry.metadata["wire"], getattr(message, entry.name)
    inner = [at for at, item in enumerate(held) if isinstance(item, Message)] if wire.repeated else []
    if isinstance(held, Message) and draw.random() < 0.8:
        new: Any = varied(held, draw)
    elif inner and draw.random() < 0.6:
        at = draw.choice(inner)
        new = (*held[:at], varied(held[at], draw), *held[at + 1 :])
    elif wire.repeated and held and draw.random() < 0.5:
        new = draw.choice((held[::-1], held[1:], (*held, held[0])[: entry.metadata["count"]]))
    elif wire.repeated:
        new = (_value(wire, draw, 0),)
    else:
        new = draw.choice((_value(wire, draw, 0), entry.default))
    return replace(message, **{entry.name: new})  # type: ignore[type-var]


_STRANGERS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**63,
    2**64,
    1e400,
    "",
    "0",
    "-1",
    "x" * 300,
    [],
    {},
    [[]],
    "\ud800",
)


def bend_json(raw: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """JSON with one of its nodes replaced, removed or wrapped; one time in five its bytes are bent instead."""
    if draw.random() < 0.2:
        return bend(raw, draw, others)
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return bend(raw, draw, others)
    holder = [document]
    at: Any = 0
    place: Any = holder
    while isinstance(place[at], dict | list) and place[at] and draw.random() < 0.85:
        place = place[at]
        at = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
    _replace_node(place, at, draw)
    return json.dumps(holder[0]).encode() if holder else b"null"


def _replace_node(place: Any, at: Any, draw: random.Random) -> None:
    held = place[at]
    match draw.randrange(6):
        case 0:
            del place[at]
        case 1:
            place[at] = [held]
        case 2 if isinstance(held, str) and held:
            spot = draw.randrange(len(held))
            place[at] = held[:spot] + draw.choice("0aF=+ é\x00") + held[spot + draw.randrange(2) :]
        case 2 if isinstance(held, int):
            place[at] = held + draw.choice((1, -1, 2**31, 2**62))
        case 3 if isinstance(held, list) and held:
            place[at] = [*held, draw.choice(held)]
        case 4:
            deep: Any = held
            for _ in range(draw.choice((3, 200))):
                deep = [deep]
            place[at] = deep
        case _:
            place[at] = draw.choice(_STRANGERS)
