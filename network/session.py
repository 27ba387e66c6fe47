"""One prompt and its reply across n circuits, at the user's end: split, send, collect any k, order, notice the end.

It knows paths by number and what their proxies say; circuits, links and relays are below it. Implements
`docs/overlay.md` sections 5 to 7. A reply that stops without its final frame is an error, never silence.
"""

from network.cell import CLOSE_REASONS, CloseReason, decode_data, hand_over_cells
from network.cell import Command as DataCommand
from network.chain_records import DirectoryEntry
from network.commands import BlamePath, Command, DeliverFrame, EndSession, ReplacePath, SendData
from network.errors import (
    CryptoError,
    DecodeError,
    LocalProtocolError,
    ModelUnreachable,
    NoCircuits,
    PlanetServeError,
    ReplyTimeout,
    ReplyTruncated,
)
from network.events import Event, PathData, PathLost, PathNotReplaced, PathReplaced
from network.freshness import Rng, minute_of
from network.geometry import GEOMETRY, KEY, MESSAGE_ID, TOKEN, Seal
from network.inference import FrameKind, ReplyFrame
from network.message import pack_message, seal_for, seal_message
from network.modes import PACES, Mode, bucket_of, jitter
from network.reply import ReplyReader
from network.request_times import Marks
from network.resume import ResumeNote, seal_note
from network.sealing import DEFAULT_SEALING, Sealing

FIRST_PIECE_SECONDS = 12.0  # the model node waits 10 s for cloves, and replies as soon as it has enough
NEXT_PIECE_SECONDS = 30.0  # a piece comes with every tick; a reply that lacks ways home waits 15 s for fresh ones
NEXT_FRAME_SECONDS = 180.0  # an engine may read a long prompt for as long
LINGER_SECONDS = 10.0  # beyond the ticks to the bucket's end
LAG_SECONDS = 5.0
LAGGING_PIECES = 4
MAX_REPLACEMENTS = 8


class Session:
    """One prompt and its reply. Path p carries clove `_order[p]` there, and brings the reply cloves of that number home."""

    __slots__ = (
        "_behind",
        "_drained",
        "_given_up",
        "_heard",
        "_held",
        "_live",
        "_message_id",
        "_next",
        "_node",
        "_note_seal",
        "_order",
        "_pace",
        "_pending",
        "_reader",
        "_replacements",
        "_resumed",
        "_rng",
        "_secret",
        "_silent_at",
        "_stuck_at",
        "_unreachable",
        "dropped",
        "ended",
        "finished",
        "marks",
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
        self._secret, self._message_id = rng(KEY), rng(MESSAGE_ID)
        self._node = entry.node_id
        seal, public = seal_for(entry, sealing)
        self._note_seal = (Seal.X25519, entry.onion_key) if seal is Seal.PLAIN else (seal, public)
        self._rng = rng
        self._pace = PACES[mode]
        self._order = _permutation(GEOMETRY.n, rng)
        self._reader = ReplyReader(self._secret, self._message_id)
        message, _ = pack_message(self._secret, request, mode, seal, sealing.sizes)
        sealed = seal_message(message, self._message_id, seal, public, self._order, now, rng)
        self._held: list[tuple[float, int, list[bytes]]] = []
        for path, (token, clove) in enumerate(sealed):
            self._reader.attach(self._order[path], token)
            self._held.append((now + jitter(self._pace, rng), path, hand_over_cells(self._node, token, clove)))
        self._held.sort()
        self._live = set(range(GEOMETRY.n))
        self._pending: set[int] = set()  # paths whose fresh circuit is being built
        self._resumed: set[int] = set()  # paths that have a fresh circuit
        self._given_up: set[int] = set()
        self._drained: set[int] = set()
        self._heard = dict.fromkeys(self._live, now)
        self._behind: dict[int, tuple[float, int]] = {}  # how much others brought since a path's last, and since when
        self._replacements = MAX_REPLACEMENTS
        self._unreachable = 0
        self._next = 0
        self._silent_at = now + FIRST_PIECE_SECONDS
        self._stuck_at = float("inf")
        self.marks = Marks(began=now)
        self.dropped = 0
        self.finished = False
        self.ended = False

    @property
    def started(self) -> bool:
        """Whether the model node has begun to reply; until then the request may be sent again over other circuits."""
        return self._reader.released > 0

    def start(self, now: float) -> list[Command]:
        """Send the cloves whose wait is over."""
        return self._send_held(now)

    def on_event(self, event: Event, now: float) -> list[Command]:
        """A path brought data, is gone, or has a fresh circuit."""
        if self.ended:
            return []
        if isinstance(event, PathLost):
            return [] if event.path in self._pending else self._lose(event.path)
        if isinstance(event, PathNotReplaced):
            return self._lose(event.path)
        if isinstance(event, PathReplaced):
            return self._resume(event.path, now)
        if isinstance(event, PathData):
            return self._on_data(event.path, event.data, now)
        raise LocalProtocolError(f"a session is not told about {type(event).__name__}")

    def expire(self, now: float) -> list[Command]:
        """Send cloves whose wait is over; give up a reply that does not come, or does not go on."""
        if self.ended:
            return []
        commands = self._send_held(now)
        if now >= self._silent_at and self.started and len(self._live) < GEOMETRY.k:
            return [*commands, *self._end(ReplyTruncated("too few circuits are left to finish the answer"))]
        if now >= self._silent_at:
            waited = NEXT_PIECE_SECONDS if self.started else FIRST_PIECE_SECONDS
            return [*commands, *self._end(ReplyTimeout(f"the model node sent nothing for {waited:.0f} s"))]
        if now >= self._stuck_at:
            return [*commands, *self._end(ReplyTimeout(f"the answer did not go on for {NEXT_FRAME_SECONDS:.0f} s"))]
        return commands

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        if self.ended:
            return None
        return min(self._silent_at, self._stuck_at, *(due for due, _, _ in self._held[:1]))

    def _send_held(self, now: float) -> list[Command]:
        commands: list[Command] = []
        while self._held and self._held[0][0] <= now:
            _, path, cells = self._held.pop(0)
            commands += [SendData(path, data) for data in cells]
            self.marks.left += 1
            if self.marks.left <= GEOMETRY.k:
                self.marks.sent = now
        return commands

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
        return [BlamePath(path, "its proxy sent data that cannot be"), *self._lose(path)]

    def _on_reply(self, path: int, clove: bytes, now: float) -> list[Command]:
        before = self._reader.released
        try:
            frames = self._reader.add(self._order[path], clove)
        except CryptoError:
            self.dropped += 1
            return [BlamePath(path, "a reply clove was altered"), *self._lose(path)]
        except DecodeError as error:
            return self._end(ReplyTruncated(f"the model node broke the protocol: {error}"))
        self._heard[path] = now
        self._count_behind(path, now)
        commands: list[Command] = []
        if self._reader.released > before:
            self._on_pieces(first=before == 0, now=now)
        for frame in frames:
            commands += self._on_frame(frame, now)
            if self.ended:
                return commands
        if self._reader.ended:
            cut = ReplyTruncated("the model node ended the reply without its final frame")
            return [*commands, *self._blame_the_missing(), *self._end(cut)]
        if self.finished or not self.started:
            return commands
        if self._reader.released == before:
            return self._replace_the_stuck(now)
        return [*commands, *self._replace_the_silent(now)]

    def _on_pieces(self, *, first: bool, now: float) -> None:
        """Pieces were released: the model node is there."""
        self.marks.pieces = self._reader.released
        if not self.finished:
            self._silent_at = now + NEXT_PIECE_SECONDS
        if first:
            self.marks.accepted = now
            self._stuck_at = now + NEXT_FRAME_SECONDS
            self._heard = dict.fromkeys(range(GEOMETRY.n), now)

    def _on_frame(self, frame: ReplyFrame, now: float) -> list[Command]:
        if self.finished:
            return []
        if frame.sequence != self._next:
            return self._end(ReplyTruncated(f"frame {self._next} of the reply is missing"))
        self._next += 1
        self._stuck_at = now + NEXT_FRAME_SECONDS
        if frame.kind == FrameKind.DELTA and not self.marks.first_text:
            self.marks.first_text = now
        if frame.kind in (FrameKind.FINAL, FrameKind.FAILED):
            self.finished = True
            self.marks.finished = now
            self._stuck_at = float("inf")
            self._silent_at = now + self._pace.tick_s * bucket_of(self._reader.released + 1) + LINGER_SECONDS
        return [DeliverFrame(frame)]

    def _on_closed(self, path: int, reason: CloseReason) -> list[Command]:
        if reason is CloseReason.FINISHED:
            self._drained.add(path)
            if self._pending or self._live - self._drained:
                return []
            return self._end(ReplyTruncated("the model node ended the reply before its end"))
        if reason is CloseReason.UNREACHABLE:
            self._unreachable += 1
            return self._lose(path)
        if path in self._resumed:
            self._given_up.add(path)  # the reply is over, or takes no more ways: asking again would not help
            return self._lose(path)
        return [BlamePath(path, "its clove was refused"), *self._lose(path)]

    def _lose(self, path: int) -> list[Command]:
        """A path is gone, or its fresh circuit could not be had."""
        self._live.discard(path)
        self._pending.discard(path)
        self._held = [held for held in self._held if held[1] != path]
        if self.finished:
            return [] if self._live else self._end(None)
        if self.started:
            return self._replace(path)
        if len(self._live) >= GEOMETRY.k:
            return []
        if self._unreachable > GEOMETRY.n - GEOMETRY.k:
            return self._end(ModelUnreachable("no proxy can reach the model node"))
        return self._end(NoCircuits("too few circuits survived to carry the prompt"))

    def _replace(self, path: int) -> list[Command]:
        """Ask for a fresh circuit, as long as enough are left to make one worth while."""
        if self._live and self._replacements and path not in self._given_up:
            self._replacements -= 1
            self._pending.add(path)
            return [ReplacePath(path)]
        if self._live and len(self._live) + len(self._pending) >= GEOMETRY.k:
            return []
        return self._end(ReplyTruncated("too few circuits are left to finish the answer"))

    def _resume(self, path: int, now: float) -> list[Command]:
        """A fresh circuit stands: attach it to the reply."""
        self._pending.discard(path)
        if self.finished:
            return []
        self._live.add(path)
        self._drained.discard(path)
        self._resumed.add(path)
        self._heard[path] = now
        self.marks.resumed += 1
        index, token = self._order[path], self._rng(TOKEN)
        self._reader.attach(index, token)
        note = ResumeNote(index, minute_of(now), self._message_id, token, self._reader.released)
        seal, public = self._note_seal
        sealed = seal_note(note, self._secret, public, seal)
        cells = hand_over_cells(self._node, token, sealed, DataCommand.RESUME)
        return [SendData(path, data) for data in cells]

    def _replace_the_silent(self, now: float) -> list[Command]:
        """Paths that did not live to see the reply begin, and those that bring nothing for long though the others do."""
        commands: list[Command] = []
        for path in range(GEOMETRY.n):
            if path in self._given_up or path in self._pending or path in self._drained:
                continue
            if path not in self._live:
                commands += self._replace(path)
            elif now - self._heard[path] > LAG_SECONDS:
                commands += [BlamePath(path, "it brings nothing although the others do"), *self._lose(path)]
        return commands

    def _count_behind(self, path: int, now: float) -> None:
        """This path brought something. The others' clock runs from the n-th clove they lack: fewer may be of one piece."""
        counted = {other: self._behind.get(other, (now, 0)) for other in self._live - {path}}
        self._behind = {
            other: (since if cloves >= GEOMETRY.n else now, cloves + 1) for other, (since, cloves) in counted.items()
        }

    def _replace_the_stuck(self, now: float) -> list[Command]:
        """Relays that hang break no link: too few paths bring the answer, and nothing says that the others will not."""
        commands: list[Command] = []
        for path, (since, cloves) in sorted(self._behind.items()):
            if cloves > GEOMETRY.n and now - since > LAG_SECONDS and path in self._live - self._drained:
                commands += [BlamePath(path, "it brings nothing although others do"), *self._lose(path)]
        return commands

    def _blame_the_missing(self) -> list[Command]:
        """At the end: paths whose clove the model node never got, and those that brought far fewer than the others."""
        brought = [self._reader.received[self._order[path]] for path in range(GEOMETRY.n)]
        commands: list[Command] = []
        for path in sorted(self._live - self._resumed):
            if not self._reader.arrived >> self._order[path] & 1:
                commands.append(BlamePath(path, "its clove did not arrive"))
            elif brought[path] < max(brought) // 2 and max(brought) >= LAGGING_PIECES:
                commands.append(BlamePath(path, "it brought far fewer cloves than the others"))
        return commands

    def _end(self, error: PlanetServeError | None) -> list[Command]:
        self.ended = True
        return [EndSession(None if self.finished else error)]


def _permutation(n: int, rng: Rng) -> list[int]:
    """A random order of 0..n-1, so that no path is known to carry the parity."""
    return sorted(range(n), key=lambda _: rng(8))
