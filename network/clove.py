"""The clove: one of n slices of a request, sealed to the model node.

A proxy learns its length and its return token, nothing else. Plain cloves are the published design's, for comparisons: a
proxy reads all of them but what fewer than k slices hide, and each carries the hashes of all, so that altered ones are found.
Implements `docs/overlay.md` section 5; why the seal is bound to the onion key and not to the directory's
hash is in `docs/adr/0031-what-a-seal-is-bound-to.md`.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from network.crypto import sha256
from network.errors import DecodeError
from network.geometry import CLOVE_HEADER, KEY, MESSAGE_ID, PLAIN_HASH, PLAIN_HASHES, TOKEN, Seal
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
    hashes: bytes = b""  # of all n plain cloves; empty in a sealed one

    @property
    def gathering(self) -> bytes:
        """What sisters have in common: the message id, and for plain cloves what they say about each other."""
        return sha256(self.message_id, self.hashes)[:MESSAGE_ID] if self.hashes else self.message_id


def seal_cloves(cloves: Sequence[Clove], public: bytes, seal: Seal = Seal.X25519) -> list[bytes]:
    """The cloves as they travel: only the holder of the key `public` reads them, unless they are plain."""
    raw = [_encode(clove) for clove in cloves]
    if seal is not Seal.PLAIN:
        return [seal_to(seal, public, each, _INFO) for each in raw]
    hashes = {clove.slice.index: _hash(each) for clove, each in zip(cloves, raw, strict=True)}
    head = bytes((seal,)) + b"".join(hashes[index] for index in sorted(hashes))
    return [head + each for each in raw]


def seal_clove(clove: Clove, public: bytes, seal: Seal = Seal.X25519) -> bytes:
    """One of them, sealed."""
    return seal_cloves([clove], public, seal)[0]


def open_clove(sealed: bytes, opener: Opener, *, accept_plain: bool = False) -> Clove:
    """The clove inside `sealed`. Raises CryptoError or DecodeError; checks shape, not freshness."""
    if accept_plain and sealed[:1] == bytes((Seal.PLAIN,)):
        clove = _decode(sealed[Seal.PLAIN.overhead :], sealed[1 : Seal.PLAIN.overhead])
        at = clove.slice.index * PLAIN_HASH
        if clove.n * PLAIN_HASH != PLAIN_HASHES or clove.hashes[at : at + PLAIN_HASH] != _hash(sealed[Seal.PLAIN.overhead :]):
            raise DecodeError("a plain clove is not what its sender hashed")
        return clove
    return _decode(opener.open(sealed, _INFO), b"")


def _encode(clove: Clove) -> bytes:
    part = clove.slice
    ids = clove.minute, clove.message_id, clove.token, clove.total
    return _HEAD.pack(CLOVE_VERSION, clove.n, clove.k, part.index, *ids, part.share) + part.fragment


def _decode(raw: bytes, hashes: bytes) -> Clove:
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
    return Clove(n, k, minute, message_id, token, total, Slice(index, share, fragment), hashes)


def _hash(raw: bytes) -> bytes:
    return sha256(raw)[:PLAIN_HASH]
