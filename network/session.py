"""One prompt and its reply across n circuits, at the user's end: split, send, collect any k, order, notice the end.

It knows paths by number and what their proxies say; circuits, links and relays are below it. Implements
`docs/overlay.md` sections 5 to 7. A reply that stops without its final frame is an error, never silence.
"""

import struct

from network.cell import CLOSE_REASONS, CloseReason, decode_data, hand_over_cells
from network.cell import Command as DataCommand
from network.chain_records import DirectoryEntry
from network.clove import Clove, seal_cloves
from network.commands import BlamePath, Command, DeliverFrame, EndSession, SendData
from network.errors import CryptoError, DecodeError, LocalProtocolError, PlanetServeError
from network.events import Event, PathData, PathLost
from network.freshness import Rng, minute_of
from network.geometry import CELL_BUCKETS, COMMITMENT, GEOMETRY, KEY, MESSAGE_HEADER, MESSAGE_ID, TAG, TOKEN, Seal
from network.inference import FrameKind
from network.modes import Mode, mode_of
from network.reply import ReplyReader
from network.sealing import DEFAULT_SEALING, Sealing
from network.sida import split

FIRST_FRAME_SECONDS = 20.0
NEXT_FRAME_SECONDS = 180.0
LAGGING_PIECES = 4
_MESSAGE = struct.Struct(">BI")

assert KEY + _MESSAGE.size == MESSAGE_HEADER


class SessionError(PlanetServeError):
    """A session that cannot end well. `code` is stable; `hint` says what the caller can do."""

    code = "session_failed"
    hint = "Try again."


class NoCircuits(SessionError):
    """Fewer than k circuits can be had, so no prompt can be sent."""

    code = "no_circuits"
    hint = "Too few relays answer. Wait for the network to settle, then try again."


class ModelUnreachable(NoCircuits):
    """Circuits stand, but their proxies cannot hand over to the model node."""

    code = "model_unreachable"
    hint = "The model node does not answer its proxies. Ask another one."


class RequestTooLong(SessionError):
    """The request does not fit the largest message of the overlay."""

    code = "request_too_long"
    hint = "Shorten the prompt."


class ReplyTimeout(SessionError):
    """The model node did not answer in time."""

    code = "reply_timeout"
    hint = "The model node is slow or gone. Try again, or ask another one."


class ReplyTruncated(SessionError):
    """The reply broke off before its final frame."""

    code = "reply_truncated"
    hint = "The answer is incomplete. Ask again."


def pack_message(
    secret: bytes,
    request: bytes,
    mode: Mode = Mode.DEFAULT,
    seal: Seal = Seal.X25519,
    sizes: tuple[int, ...] = CELL_BUCKETS,
) -> tuple[bytes, int]:
    """(padded message, cells per clove): reply secret 32 | mode u8 | length u32 | request | zeros up to the bucket."""
    cells = GEOMETRY.bucket(len(request), seal.overhead, sizes)
    if cells is None:
        raise RequestTooLong(f"a request of {len(request)} bytes does not fit the overlay's largest message")
    message = secret + _MESSAGE.pack(mode, len(request)) + request
    return message.ljust(GEOMETRY.padded_message(cells, seal.overhead), b"\0"), cells


def unpack_message(message: bytes) -> tuple[bytes, Mode, bytes]:
    """(reply secret, mode, request) of a padded message. Raises DecodeError."""
    if len(message) < MESSAGE_HEADER:
        raise DecodeError("a message without its header")
    mode, length = _MESSAGE.unpack_from(message, KEY)
    end = MESSAGE_HEADER + length
    if end > len(message) or message[end:].strip(b"\0"):
        raise DecodeError("a message whose length or padding is not as specified")
    return message[:KEY], mode_of(mode), message[MESSAGE_HEADER:end]


class Session:
    """One prompt and its reply. Path p carries clove `_order[p]` there, and brings the reply cloves of that number home."""

    __slots__ = (
        "_deadline",
        "_drained",
        "_failed",
        "_next",
        "_order",
        "_outgoing",
        "_reader",
        "_unreachable",
        "dropped",
        "ended",
    )

    def __init__(
        self,
        request: bytes,
        entry: DirectoryEntry,
        now: float,
        rng: Rng,
        mode: Mode = Mode.DEFAULT,
        sealing: Sealing = DEFAULT_SEALING,
    ) -> None:
        secret, message_id = rng(KEY), rng(MESSAGE_ID)
        seal, public = _seal_for(entry, sealing)
        message, _ = pack_message(secret, request, mode, seal, sealing.sizes)
        self._order = _permutation(GEOMETRY.n, rng)
        sealed = _seal_all(message, message_id, seal, public, self._order, now, rng)
        self._outgoing = [hand_over_cells(entry.node_id, token, clove) for token, clove in sealed]
        self._reader = ReplyReader(secret, message_id)
        self._deadline: float | None = now + FIRST_FRAME_SECONDS
        self._failed: set[int] = set()
        self._drained: set[int] = set()
        self._unreachable = 0
        self._next = 0
        self.dropped = 0
        self.ended = False

    @property
    def started(self) -> bool:
        """Whether any frame has been delivered; until then the request may be sent again over other circuits."""
        return self._next > 0

    def start(self) -> list[Command]:
        """Send every clove down its path."""
        outgoing, self._outgoing = self._outgoing, []
        return [SendData(path, data) for path, cells in enumerate(outgoing) for data in cells]

    def on_event(self, event: Event, now: float) -> list[Command]:
        """A path brought data, or is gone."""
        if self.ended:
            return []
        if isinstance(event, PathLost):
            return self._fail_path(event.path)
        if isinstance(event, PathData):
            return self._on_data(event.path, event.data, now)
        raise LocalProtocolError(f"a session is not told about {type(event).__name__}")

    def expire(self, now: float) -> list[Command]:
        """Give up a reply that does not come, or does not go on."""
        if self._deadline is None or now < self._deadline:
            return []
        waited = NEXT_FRAME_SECONDS if self.started else FIRST_FRAME_SECONDS
        return self._end(ReplyTimeout(f"the model node sent nothing for {waited:.0f} s"))

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        return self._deadline

    def _on_data(self, path: int, data: bytes, now: float) -> list[Command]:
        try:
            command, payload = decode_data(data)
            if command is DataCommand.REPLY:
                return self._on_reply(path, payload, now)
            if command is DataCommand.CLOSED and payload in CLOSE_REASONS:
                return self._on_closed(path, CloseReason(payload[0]))
        except DecodeError:
            pass
        self.dropped += 1
        return [BlamePath(path, "its proxy sent data that cannot be"), *self._fail_path(path)]

    def _on_reply(self, path: int, clove: bytes, now: float) -> list[Command]:
        try:
            frames = self._reader.add(self._order[path], clove)
        except CryptoError:
            self.dropped += 1
            return [BlamePath(path, "a reply clove was altered"), *self._fail_path(path)]
        except DecodeError as error:
            return self._end(ReplyTruncated(f"the model node broke the protocol: {error}"))
        self._deadline = now + NEXT_FRAME_SECONDS if frames else self._deadline
        commands: list[Command] = []
        for frame in frames:
            if frame.sequence != self._next:
                return [*commands, *self._end(ReplyTruncated(f"frame {self._next} of the reply is missing"))]
            self._next += 1
            commands.append(DeliverFrame(frame))
            if frame.kind in (FrameKind.FINAL, FrameKind.FAILED):
                return [*commands, *self._not_arrived(), *self._lagging(), *self._end(None)]
        if self._reader.ended:
            commands += self._end(ReplyTruncated("the model node ended the reply without its final frame"))
        return commands

    def _on_closed(self, path: int, reason: CloseReason) -> list[Command]:
        if reason is CloseReason.FINISHED:
            self._drained.add(path)
            return []
        if reason is CloseReason.UNREACHABLE:
            self._unreachable += 1
            return self._fail_path(path)
        return [BlamePath(path, "its clove was refused"), *self._fail_path(path)]

    def _fail_path(self, path: int) -> list[Command]:
        self._failed.add(path)
        if GEOMETRY.n - len(self._failed) >= GEOMETRY.k:
            return []
        if self.started:
            return self._end(ReplyTruncated("too few circuits are left to finish the answer"))
        if self._unreachable > GEOMETRY.n - GEOMETRY.k:
            return self._end(ModelUnreachable("no proxy can reach the model node"))
        return self._end(NoCircuits("too few circuits survived to carry the prompt"))

    def _not_arrived(self) -> list[Command]:
        """Paths whose clove the model node never got, as the last piece says."""
        arrived = self._reader.arrived
        missing = (path for path in range(GEOMETRY.n) if not arrived >> self._order[path] & 1)
        return [BlamePath(path, "its clove did not arrive") for path in missing if path not in self._failed]

    def _lagging(self) -> list[Command]:
        """Paths that brought far fewer cloves than the others: dropped, stalled or very slow."""
        brought = [self._reader.received[self._order[path]] for path in range(GEOMETRY.n)]
        limit = max(brought) // 2
        slow = (p for p, count in enumerate(brought) if count < limit and max(brought) >= LAGGING_PIECES)
        return [BlamePath(path, "it brought far fewer cloves than the others") for path in slow if path not in self._failed]

    def _end(self, error: PlanetServeError | None) -> list[Command]:
        self.ended = True
        self._deadline = None
        return [EndSession(error)]


def _permutation(n: int, rng: Rng) -> list[int]:
    """A random order of 0..n-1, so that no path is known to carry the parity."""
    return sorted(range(n), key=lambda _: rng(8))


def _seal_for(entry: DirectoryEntry, sealing: Sealing) -> tuple[Seal, bytes]:
    chosen = sealing.choose(entry)
    if chosen is None:
        raise ModelUnreachable(f'model node {entry.node_id.hex()} names no hybrid key, and overlay.seal is "{sealing.seal}"')
    return chosen


def _seal_all(
    message: bytes, message_id: bytes, seal: Seal, public: bytes, order: list[int], now: float, rng: Rng
) -> list[tuple[bytes, bytes]]:
    """For every path, its return token and its sealed clove."""
    slices = split(message, GEOMETRY.n, GEOMETRY.k, rng)
    total = len(message) + COMMITMENT + TAG
    minute = minute_of(now)
    cloves = [Clove(GEOMETRY.n, GEOMETRY.k, minute, message_id, rng(TOKEN), total, slices[index]) for index in order]
    try:
        sealed = seal_cloves(cloves, public, seal)
    except CryptoError as error:
        raise ModelUnreachable(f"the model node's key cannot be used: {error}") from error
    return [(clove.token, raw) for clove, raw in zip(cloves, sealed, strict=True)]
