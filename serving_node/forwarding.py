"""One model node hands a request to another of its group: the signed envelope, its checks, and the stream that returns.

The envelope names sender and receiver, so that nobody can pass it on as his own, and an id that is accepted once. The
reply returns as records: u32 big-endian length, then an encoded ReplyFrame; a record of length 0 says "still here".
"""

from collections.abc import Callable
from dataclasses import dataclass

from network.codec import Message, blob, blobs, decode, encode, text, uint
from network.crypto import SigningKey, sha256, verify
from network.directory import Directory
from network.errors import DecodeError, RemoteProtocolError
from network.ids import NODE_ID_LENGTH, Role, node_id
from network.inference import MAX_BODY, InferenceRequest, ReplyFrame

DOMAIN = b"planetserve/forward/1"
MAX_HOPS = 2
MAX_ENVELOPE = MAX_BODY + 4096
MAX_RECORD = 1024 * 1024 + 64
FRESH_MS = 60_000
STILL_HERE = b"\0\0\0\0"


class ForwardRefused(RemoteProtocolError):
    """An envelope that may not be served; `reason` is a word that is counted."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Forward(Message):
    """A request on its way between two model nodes. `visited` are the nodes it passed, the sender last."""

    chain_id: str = text(1, limit=64)
    receiver: bytes = blob(2, size=NODE_ID_LENGTH)
    sent_ms: int = uint(3)
    id: bytes = blob(4, size=16)
    visited: tuple[bytes, ...] = blobs(5, count=MAX_HOPS, size=NODE_ID_LENGTH)
    request: bytes = blob(6, limit=MAX_BODY + 2048)


@dataclass(frozen=True, slots=True)
class Envelope(Message):
    """A Forward and its sender's signature."""

    sender: bytes = blob(1, size=32)
    forward: bytes = blob(2, limit=MAX_ENVELOPE)
    signature: bytes = blob(3, size=64)


def seal(key: SigningKey, forward: Forward) -> bytes:
    """The signed envelope."""
    raw = encode(forward)
    return encode(Envelope(key.public, raw, key.sign(sha256(DOMAIN, raw))))


class ForwardGate:
    """Opens envelopes for one node. Remembers ids for as long as they would be accepted."""

    __slots__ = ("_directory", "_group", "_own", "_seen")

    def __init__(self, own: bytes, group: str, directory: Callable[[], Directory]) -> None:
        self._own = own
        self._group = group
        self._directory = directory
        self._seen: dict[bytes, int] = {}

    def open(self, raw: bytes, now_ms: int) -> tuple[Forward, InferenceRequest]:
        """The forwarded request. Raises ForwardRefused."""
        try:
            envelope = decode(Envelope, raw)
            forward = decode(Forward, envelope.forward)
            request = decode(InferenceRequest, forward.request)
        except DecodeError as error:
            raise ForwardRefused("garbage", "not a forwarded request") from error
        directory = self._directory()
        sender = node_id(envelope.sender)
        self._check_sender(directory, sender)
        if forward.chain_id != directory.record.chain_id or forward.receiver != self._own:
            raise ForwardRefused("misdirected", "for another chain or another node")
        if not verify(envelope.sender, sha256(DOMAIN, envelope.forward), envelope.signature):
            raise ForwardRefused("signature", "the signature is not the sender's")
        if not forward.visited or forward.visited[-1] != sender or self._own in forward.visited:
            raise ForwardRefused("route", "its route does not end at the sender, or has been here")
        self._check_once(forward, now_ms)
        return forward, request

    def _check_sender(self, directory: Directory, sender: bytes) -> None:
        entry = directory.get(sender)
        if entry is None or entry.role != Role.MODEL or entry.group != self._group or sender == self._own:
            raise ForwardRefused("stranger", "the sender is not a live model node of this group")

    def _check_once(self, forward: Forward, now_ms: int) -> None:
        if abs(now_ms - forward.sent_ms) > FRESH_MS:
            raise ForwardRefused("clock", "sent too long ago, or the clocks differ")
        for old in [id_ for id_, until in self._seen.items() if until < now_ms]:
            del self._seen[old]
        if len(forward.id) != 16 or forward.id in self._seen:
            raise ForwardRefused("replay", "seen before")
        self._seen[forward.id] = now_ms + 2 * FRESH_MS


def record(frame: ReplyFrame) -> bytes:
    """One frame of the returning stream."""
    raw = encode(frame)
    return len(raw).to_bytes(4, "big") + raw


class RecordReader:
    """Cuts the returning stream into frames."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[ReplyFrame]:
        """The frames that are complete. Raises DecodeError."""
        self._held += data
        frames = []
        while len(self._held) >= 4:
            length = int.from_bytes(self._held[:4], "big")
            if length > MAX_RECORD:
                raise DecodeError("a record longer than any frame")
            if len(self._held) < 4 + length:
                break
            if length:
                frames.append(decode(ReplyFrame, bytes(self._held[4 : 4 + length])))
            del self._held[: 4 + length]
        return frames
