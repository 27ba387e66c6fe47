"""The way home of a reply: frames become one byte stream, the stream pieces of one length, every piece n reply cloves.

Any k cloves of a piece release it. Each way home has an AEAD key of its own, derived from the reply secret that travelled
inside the sealed request, so a proxy reads nothing and a bad clove names its path. All reply cloves have one length,
whether they carry text or nothing. Implements `docs/overlay.md` section 7.
"""

import struct
from collections.abc import Iterable

from network.codec import decode, encode
from network.crypto import KEY_LENGTH, NONCE_LENGTH, derive, open_sealed, seal
from network.errors import CryptoError, DecodeError
from network.geometry import GEOMETRY, PIECE_HEADER
from network.inference import ReplyFrame
from network.sida import disperse, gather

_WAY_LABEL = b"planetserve/reply-way/1"
_HEADER = struct.Struct(">IBBH")
_LENGTH = struct.Struct(">I")
_END = 1
MAX_FRAME = 1024 * 1024 + 64
MAX_AHEAD = 1024  # pieces a path may be ahead of the slowest piece that k paths have delivered

assert _HEADER.size == PIECE_HEADER


def way_key(secret: bytes, message_id: bytes, index: int, token: bytes) -> bytes:
    """The AEAD key of one way home: clove `index` over the circuit with this return token, which is used once."""
    return derive(secret, salt=message_id, info=_WAY_LABEL + bytes((index,)) + token, length=KEY_LENGTH)


def stream_of(frames: Iterable[ReplyFrame]) -> bytes:
    """Frames as the stream carries them."""
    return b"".join(_LENGTH.pack(len(raw)) + raw for raw in map(encode, frames))


class _Way:
    """One way home at either end: its key and how many cloves it has carried."""

    __slots__ = ("_counter", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0

    def seal(self, plain: bytes) -> bytes:
        self._counter += 1
        return seal(self._key, (self._counter - 1).to_bytes(NONCE_LENGTH, "big"), plain)

    def open(self, clove: bytes) -> bytes:
        plain = open_sealed(self._key, self._counter.to_bytes(NONCE_LENGTH, "big"), clove)
        self._counter += 1
        return plain


class ReplyWriter:
    """The model node's end: pieces in, reply cloves out. A way is attached before it carries anything."""

    __slots__ = ("_message_id", "_secret", "_ways")

    def __init__(self, secret: bytes, message_id: bytes) -> None:
        self._secret = secret
        self._message_id = message_id
        self._ways: dict[int, _Way] = {}

    def attach(self, index: int, token: bytes) -> None:
        """From now on clove `index` goes home under this token."""
        self._ways[index] = _Way(way_key(self._secret, self._message_id, index, token))

    def write(self, sequence: int, part: bytes, *, end: bool, arrived: int, indices: Iterable[int]) -> list[tuple[int, bytes]]:
        """The reply cloves of one piece. `end`: nothing follows; bit i of `arrived`: the prompt's clove i came."""
        header = _HEADER.pack(sequence, _END if end else 0, arrived, len(part))
        fragments = disperse(part.ljust(GEOMETRY.piece, b"\0"), GEOMETRY.n, GEOMETRY.k)
        return [(index, self._ways[index].seal(header + fragments[index])) for index in indices]


class ReplyReader:
    """The user's end: reply cloves in, frames out in order, each as soon as any k cloves of its piece are there."""

    __slots__ = ("_buffer", "_ends", "_message_id", "_pieces", "_secret", "_ways", "arrived", "ended", "received", "released")

    def __init__(self, secret: bytes, message_id: bytes) -> None:
        self._secret = secret
        self._message_id = message_id
        self._ways: dict[int, _Way] = {}
        self._pieces: dict[int, dict[int, bytes]] = {}
        self._ends: dict[int, tuple[int, int]] = {}
        self._buffer = bytearray()
        self.released = 0  # pieces, in order
        self.arrived = 0
        self.ended = False
        self.received = [0] * GEOMETRY.n

    def attach(self, index: int, token: bytes) -> None:
        """From now on clove `index` comes home under this token."""
        self._ways[index] = _Way(way_key(self._secret, self._message_id, index, token))
        self.received[index] = 0

    def add(self, index: int, clove: bytes) -> list[ReplyFrame]:
        """The frames that this clove completes. Raises CryptoError (the path is bad) or DecodeError (the sender is)."""
        way = self._ways.get(index)
        if way is None:
            raise CryptoError("a reply clove came over a way that carries none")
        plain = way.open(clove)
        self.received[index] += 1
        if len(clove) != GEOMETRY.reply_clove:
            raise DecodeError("a reply clove of a wrong length")
        sequence, flags, arrived, used = _HEADER.unpack_from(plain)
        if flags & ~_END or arrived >> GEOMETRY.n or used > GEOMETRY.piece:
            raise DecodeError("a reply clove with a header that cannot be")
        self.arrived |= arrived
        if sequence < self.released or self.ended:
            return []
        if sequence - self.released > MAX_AHEAD:
            raise DecodeError(f"a reply is {MAX_AHEAD} pieces ahead of what k paths have delivered")
        if self._ends.setdefault(sequence, (flags, used)) != (flags, used):
            raise DecodeError("cloves of one piece disagree about it")
        self._pieces.setdefault(sequence, {})[index] = plain[PIECE_HEADER:]
        return self._release()

    def _release(self) -> list[ReplyFrame]:
        while len(self._pieces.get(self.released, ())) >= GEOMETRY.k:
            fragments = dict(sorted(self._pieces.pop(self.released).items())[: GEOMETRY.k])
            flags, used = self._ends.pop(self.released)
            if used:
                self._buffer += gather(fragments, GEOMETRY.n, GEOMETRY.k, GEOMETRY.piece)[:used]
            self.released += 1
            self.ended = self.ended or bool(flags & _END)
        return self._frames()

    def _frames(self) -> list[ReplyFrame]:
        frames: list[ReplyFrame] = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME:
                raise DecodeError(f"a reply frame of {length} bytes is longer than {MAX_FRAME}")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            frames.append(decode(ReplyFrame, bytes(self._buffer[_LENGTH.size : end])))
            del self._buffer[:end]
        return frames
