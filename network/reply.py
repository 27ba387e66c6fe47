"""The way home of a reply: frames become one byte stream, the stream pieces, every piece n reply cloves.

Any k cloves of a piece release it. Each path has an AEAD key of its own, derived from the reply secret that travelled
inside the sealed request, so a proxy reads nothing and a bad clove names its path. All reply cloves have one length.
Implements `docs/overlay.md` section 7.
"""

import struct
from collections.abc import Iterable

from network.codec import decode, encode
from network.crypto import KEY_LENGTH, NONCE_LENGTH, derive, open_sealed, seal
from network.errors import DecodeError
from network.geometry import GEOMETRY, PIECE_HEADER
from network.inference import ReplyFrame
from network.sida import disperse, gather

_PATH_LABEL = b"planetserve/reply-path/1"
_HEADER = struct.Struct(">IBBH")
_LENGTH = struct.Struct(">I")
_END = 1
MAX_FRAME = 1024 * 1024 + 64
MAX_AHEAD = 1024  # pieces a path may be ahead of the slowest piece that k paths have delivered

assert _HEADER.size == PIECE_HEADER


def path_key(secret: bytes, message_id: bytes, path: int) -> bytes:
    """The AEAD key of the reply cloves that take one path."""
    return derive(secret, salt=message_id, info=_PATH_LABEL + bytes((path,)), length=KEY_LENGTH)


class ReplyWriter:
    """The model node's end: frames in, reply cloves for every live path out."""

    __slots__ = ("_counters", "_keys", "_sequence")

    def __init__(self, secret: bytes, message_id: bytes) -> None:
        self._keys = [path_key(secret, message_id, path) for path in range(GEOMETRY.n)]
        self._counters = [0] * GEOMETRY.n
        self._sequence = 0

    def write(self, frames: Iterable[ReplyFrame], *, end: bool, paths: Iterable[int], arrived: int) -> list[tuple[int, bytes]]:
        """(path, reply clove) pairs with these frames. `end`: nothing follows; bit i of `arrived`: its clove i came."""
        stream = b"".join(_LENGTH.pack(len(raw)) + raw for raw in map(encode, frames))
        alive = list(paths)
        step = GEOMETRY.piece
        parts = [stream[at : at + step] for at in range(0, len(stream), step)] or [b""]
        out: list[tuple[int, bytes]] = []
        for number, part in enumerate(parts):
            last = end and number == len(parts) - 1
            header = _HEADER.pack(self._sequence, _END if last else 0, arrived, len(part))
            fragments = disperse(part.ljust(step, b"\0"), GEOMETRY.n, GEOMETRY.k)
            out += [(path, self._seal(path, header + fragments[path])) for path in alive]
            self._sequence += 1
        return out

    def _seal(self, path: int, plain: bytes) -> bytes:
        nonce = self._counters[path].to_bytes(NONCE_LENGTH, "big")
        self._counters[path] += 1
        return seal(self._keys[path], nonce, plain)


class ReplyReader:
    """The user's end: reply cloves in, frames out in order, each as soon as any k cloves of its piece are there."""

    __slots__ = ("_buffer", "_counters", "_ends", "_keys", "_next", "_pieces", "arrived", "ended", "received")

    def __init__(self, secret: bytes, message_id: bytes) -> None:
        self._keys = [path_key(secret, message_id, path) for path in range(GEOMETRY.n)]
        self._counters = [0] * GEOMETRY.n
        self._pieces: dict[int, dict[int, bytes]] = {}
        self._ends: dict[int, tuple[int, int, int]] = {}
        self._next = 0
        self._buffer = bytearray()
        self.arrived = (1 << GEOMETRY.n) - 1
        self.ended = False
        self.received = [0] * GEOMETRY.n

    def add(self, path: int, clove: bytes) -> list[ReplyFrame]:
        """The frames that this clove completes. Raises CryptoError (the path is bad) or DecodeError (the sender is)."""
        plain = open_sealed(self._keys[path], self._counters[path].to_bytes(NONCE_LENGTH, "big"), clove)
        self._counters[path] += 1
        self.received[path] += 1
        sequence, flags, arrived, used = _HEADER.unpack_from(plain)
        if len(clove) != GEOMETRY.reply_clove or flags & ~_END or arrived >> GEOMETRY.n or used > GEOMETRY.piece:
            raise DecodeError("a reply clove with a header that cannot be")
        if sequence < self._next or self.ended:
            return []
        if sequence - self._next > MAX_AHEAD:
            raise DecodeError(f"a reply is {MAX_AHEAD} pieces ahead of what k paths have delivered")
        if self._ends.setdefault(sequence, (flags, arrived, used)) != (flags, arrived, used):
            raise DecodeError("cloves of one piece disagree about it")
        self._pieces.setdefault(sequence, {})[path] = plain[PIECE_HEADER:]
        return self._release()

    def _release(self) -> list[ReplyFrame]:
        while len(self._pieces.get(self._next, ())) >= GEOMETRY.k:
            fragments = dict(sorted(self._pieces.pop(self._next).items())[: GEOMETRY.k])
            flags, self.arrived, used = self._ends.pop(self._next)
            self._buffer += gather(fragments, GEOMETRY.n, GEOMETRY.k, GEOMETRY.piece)[:used]
            self._next += 1
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
