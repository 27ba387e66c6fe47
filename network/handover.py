"""What passes between a proxy and a model node: cloves and resume notes there, reply cloves back, each under a token.

    kind u8 | return token 16 | body

The proxy learns from the user which token stands for which circuit; the model node finds the same token inside the
seal. Implements `docs/overlay.md` section 6.
"""

import struct
from enum import IntEnum

from network.errors import DecodeError
from network.geometry import TOKEN

_ENVELOPE = struct.Struct(f">B{TOKEN}s")


class Handover(IntEnum):
    """1, 2 and 6 come from the proxy, 3 to 5 from the model node."""

    CLOVE = 1
    CANCEL = 2
    REPLY = 3
    END = 4
    REFUSED = 5
    RESUME = 6


_WITH_BODY = (Handover.CLOVE, Handover.REPLY, Handover.RESUME)


def encode_handover(kind: Handover, token: bytes, body: bytes = b"") -> bytes:
    """One message between proxy and model node."""
    return _ENVELOPE.pack(kind, token) + body


def decode_handover(raw: bytes) -> tuple[Handover, bytes, bytes]:
    """(kind, return token, body). Raises DecodeError."""
    if len(raw) < _ENVELOPE.size:
        raise DecodeError(f"a hand-over message of {len(raw)} bytes is truncated")
    kind, token = _ENVELOPE.unpack_from(raw)
    body = raw[_ENVELOPE.size :]
    try:
        known = Handover(kind)
    except ValueError as error:
        raise DecodeError(f"unknown hand-over message {kind}") from error
    if bool(body) != (known in _WITH_BODY):
        raise DecodeError(f"a hand-over message {known.name} with the wrong kind of body")
    return known, token, body
