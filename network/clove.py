"""The clove: one of n slices of a request, sealed to the model node.

A proxy learns its length and its return token, nothing else.
Implements `docs/overlay.md` section 5; why the seal is bound to the onion key and not to the directory's
hash is in `docs/adr/0031-what-a-seal-is-bound-to.md`.
"""

import struct
from dataclasses import dataclass

from network.errors import DecodeError
from network.geometry import CLOVE_HEADER, KEY, MESSAGE_ID, TOKEN, Seal
from network.hpke import Opener, seal_to
from network.sida import Slice

CLOVE_VERSION = 1
_INFO = b"planetserve/clove/1"
_HEAD = struct.Struct(f">BBBBI{MESSAGE_ID}s{TOKEN}sI{KEY}s")

assert _HEAD.size == CLOVE_HEADER


@dataclass(frozen=True, slots=True)
class Clove:
    """A slice with what the model node needs to find its sisters and the way back."""

    n: int
    k: int
    minute: int
    message_id: bytes
    token: bytes
    total: int
    slice: Slice


def seal_clove(clove: Clove, public: bytes, seal: Seal = Seal.X25519) -> bytes:
    """The clove as it travels: only the holder of the key `public` reads it."""
    head = _HEAD.pack(
        CLOVE_VERSION,
        clove.n,
        clove.k,
        clove.slice.index,
        clove.minute,
        clove.message_id,
        clove.token,
        clove.total,
        clove.slice.share,
    )
    return seal_to(seal, public, head + clove.slice.fragment, _INFO)


def open_clove(sealed: bytes, opener: Opener) -> Clove:
    """The clove inside `sealed`. Raises CryptoError or DecodeError; checks shape, not freshness."""
    raw = opener.open(sealed, _INFO)
    if len(raw) <= CLOVE_HEADER:
        raise DecodeError(f"a clove of {len(raw)} bytes has no fragment")
    version, n, k, index, minute, message_id, token, total, share = _HEAD.unpack_from(raw)
    fragment = raw[CLOVE_HEADER:]
    if version != CLOVE_VERSION:
        raise DecodeError(f"clove version {version} is not {CLOVE_VERSION}")
    if not (1 <= k <= n <= 16 and index < n):
        raise DecodeError(f"a clove cannot be number {index} of {n} with {k} needed")
    if len(fragment) != -(-total // k):
        raise DecodeError("a clove's fragment does not fit the message's length")
    return Clove(n, k, minute, message_id, token, total, Slice(index, share, fragment))
