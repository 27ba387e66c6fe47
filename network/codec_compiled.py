"""Encoders and decoders compiled for one message class each: straight lines instead of a loop over the plan.

They know the canonical case only. Anything else (a value outside its bounds, another order, a truncation) is handed to
the plain functions of `codec.py`, which say what is wrong; so both accept the same bytes and raise the same errors, and a
test holds them against each other. A ledger block decodes and encodes some ten messages per transaction.
"""

from collections.abc import Callable, Sequence
from typing import Any

from network.errors import DecodeError
from network.wire import Message, Wire, decode_varint, encode_varint

Entry = tuple[str, Wire, int]  # attribute, wire form, repeat count
_VARINT, _DELIMITED = 0, 2
_NUMBERS = ("uint", "sint", "flag")
# Every number of one byte as it travels.
ONE = tuple(bytes((value,)) for value in range(128))


def compile_encoder(
    plan: Sequence[Entry], plainly: Callable[[Any], bytes], encode: Callable[[Any], bytes]
) -> Callable[[Any], bytes]:
    """The function that encodes messages with this plan."""
    lines = ["def encoder(m):", " a = []"]
    for name, wire, count in plan:
        lines += [f" v = m.{name}", *_encode_field(wire, count)]
    lines.append(" return b''.join(a)")
    scope = {"ONE": ONE, "varint": encode_varint, "encode": encode, "plainly": plainly, "Message": Message}
    return _build(lines, "encoder", scope)


def compile_decoder(
    kind: type[Message], plan: Sequence[Entry], plainly: Callable[[Any, bytes], Any], decode: Callable[[Any, bytes], Any]
) -> Callable[[bytes], Any]:
    """The function that decodes messages of this kind."""
    scope: dict[str, Any] = {"kind": kind, "varint": decode_varint, "decode": decode, "plainly": plainly}
    scope["DecodeError"] = DecodeError
    lines = ["def decoder(raw):", " if type(raw) is not bytes: return plainly(kind, raw)", " try:", "  n = len(raw); at = 0"]
    for at, (_, wire, count) in enumerate(plan):
        scope[f"k{at}"] = wire.message
        lines += [f"  {line}" for line in _decode_field(f"f{at}", f"k{at}", wire, count)]
    lines += [
        " except (IndexError, UnicodeDecodeError, DecodeError):",
        "  return plainly(kind, raw)",
        " if at != n: return plainly(kind, raw)",
        f" return kind({', '.join(f'{name}=f{at}' for at, (name, _, _) in enumerate(plan))})",
    ]
    return _build(lines, "decoder", scope)


def _build(lines: list[str], name: str, scope: dict[str, Any]) -> Callable[[Any], Any]:
    exec("\n".join(lines), scope)
    built: Callable[[Any], Any] = scope[name]
    return built


def _tag(wire: Wire) -> bytes:
    return encode_varint(wire.number << 3 | (_VARINT if wire.kind in _NUMBERS else _DELIMITED))


def _encode_field(wire: Wire, count: int) -> list[str]:
    """Lines that append the field whose value is `v`."""
    tag = _tag(wire)
    if wire.kind in _NUMBERS:
        low = -wire.limit if wire.kind == "sint" else 0
        lines = [f"  if not {low} <= v <= {wire.limit}: return plainly(m)"]
        if wire.kind == "sint":
            lines.append("  v = v << 1 if v >= 0 else (-v << 1) - 1")
        return [" if v:", *lines, f"  a.append({tag!r} + (ONE[v] if v < 128 else varint(int(v))))"]
    if wire.repeated:
        item = [f"   {line}" for line in _encode_payload(wire, tag)]
        return [" if v:", f"  if len(v) > {count}: return plainly(m)", "  for v in v:", *item]
    condition = " if v is not None:" if wire.kind == "message" else " if v:"
    return [condition, *(f"  {line}" for line in _encode_payload(wire, tag))]


def _encode_payload(wire: Wire, tag: bytes) -> list[str]:
    """Lines that append `v` as one delimited item."""
    if wire.kind == "message":
        checks = ["if not isinstance(v, Message): return plainly(m)", "p = encode(v)", "s = len(p)"]
    elif wire.kind == "uints":
        checks = [
            f"if len(v) > {wire.size}: return plainly(m)",
            f"for i in v:\n      if not 0 <= i <= {wire.limit}: return plainly(m)",
            "p = b''.join([ONE[i] if i < 128 else varint(i) for i in v])",
            "s = len(p)",
        ]
    elif wire.kind == "text":
        checks = ["p = v.encode()", "s = len(p)", f"if s > {wire.limit}: return plainly(m)"]
    else:
        bound = f"s > {wire.limit}" if wire.size is None else f"s != {wire.size} or s > {wire.limit}"
        checks = ["if type(v) is not bytes: return plainly(m)", "p = v", "s = len(p)", f"if {bound}: return plainly(m)"]
    return [*checks, f"a.append({tag!r} + (ONE[s] if s < 128 else varint(s)) + p)"]


def _decode_field(name: str, kind: str, wire: Wire, count: int) -> list[str]:
    """Lines that read the field at `at`, if it is there, into `name`."""
    tag = _tag(wire)
    here = f"raw[at] == {tag[0]}" if len(tag) == 1 else f"raw[at:at + {len(tag)}] == {tag!r}"
    if wire.kind in _NUMBERS:
        return [
            f"{name} = {'False' if wire.kind == 'flag' else '0'}",
            f"if at < n and {here}:",
            f" v = raw[at + {len(tag)}]",
            f" if v < 128: at += {len(tag) + 1}",
            f" else: v, at = varint(raw, at + {len(tag)})",
            " if not v: return plainly(kind, raw)",
            *(" " + line for line in _decode_number(name, wire)),
        ]
    head = [
        f" s = raw[at + {len(tag)}]",
        f" if s < 128: at += {len(tag) + 1}",
        f" else: s, at = varint(raw, at + {len(tag)})",
        " e = at + s",
        " if e > n: return plainly(kind, raw)",
    ]
    if wire.repeated:
        body = [f" {line}" for line in _decode_payload("v", kind, wire)]
        return [
            f"{name} = ()",
            f"if at < n and {here}:",
            " l = []",
            f" while at < n and {here}:",
            *(f" {line}" for line in head),
            *(f" {line}" for line in body),
            "  l.append(v)",
            "  at = e",
            f" if len(l) > {count}: return plainly(kind, raw)",
            f" {name} = tuple(l)",
        ]
    default = {"message": "None", "text": "''", "uints": "()"}.get(wire.kind, "b''")
    empty = [] if wire.kind == "message" else [" if not s: return plainly(kind, raw)"]
    body = [f" {line}" for line in _decode_payload(name, kind, wire)]
    return [f"{name} = {default}", f"if at < n and {here}:", *head, *empty, *body, " at = e"]


def _decode_number(name: str, wire: Wire) -> list[str]:
    refuse = "return plainly(kind, raw)"
    if wire.kind == "flag":
        return [f"if v != 1: {refuse}", f"{name} = True"]
    if wire.kind == "sint":
        return [
            f"{name} = v >> 1 if not v & 1 else -((v + 1) >> 1)",
            f"if not -{wire.limit} <= {name} <= {wire.limit}: {refuse}",
        ]
    return [f"if v > {wire.limit}: {refuse}", f"{name} = v"]


def _decode_payload(name: str, kind: str, wire: Wire) -> list[str]:
    """Lines that read the `s` bytes up to `e` into `name`."""
    refuse = "return plainly(kind, raw)"
    if wire.kind == "message":
        return [f"{name} = decode({kind}, raw[at:e])"]
    if wire.kind == "uints":
        return [
            "l = []",
            "while at < e:",
            " v = raw[at]",
            " if v < 128: at += 1",
            " else: v, at = varint(raw, at)",
            f" if v > {wire.limit}: {refuse}",
            " l.append(v)",
            f"if at != e or len(l) > {wire.size}: {refuse}",
            f"{name} = tuple(l)",
        ]
    bound = f"s > {wire.limit}" if wire.size is None else f"s != {wire.size} or s > {wire.limit}"
    value = "raw[at:e].decode()" if wire.kind == "text" else "raw[at:e]"
    return [f"if {bound}: {refuse}", f"{name} = {value}"]
