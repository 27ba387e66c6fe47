"""The model node's inbox: gathers cloves until any k are there, opens the request, and remembers the ways back.

Sans-IO. Every clove is opened by itself, so a bad one is refused by itself and its proxy told; nothing is kept longer
than its deadline nor beyond its bounds. Implements `docs/overlay.md` sections 5 to 7.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from network.clove import Clove, open_clove
from network.commands import CancelReply, Command, SendHandover, StartReply
from network.errors import CryptoError, DecodeError, LocalProtocolError
from network.events import Event, HandoverArrived, LinkLost
from network.freshness import is_fresh
from network.geometry import CELL_BUCKETS, COMMITMENT, GEOMETRY, TAG, Seal
from network.handover import Handover, decode_handover, encode_handover
from network.hpke import OnionPrivate, Opener
from network.inference import ReplyFrame
from network.replay import ReplaySet
from network.reply import ReplyWriter
from network.session import unpack_message
from network.sida import combine

GATHER_SECONDS = 10.0
MAX_MESSAGES = 4096
MAX_BYTES = 64 * 1024 * 1024
MAX_TOTAL = GEOMETRY.padded_message(CELL_BUCKETS[-1], Seal.X25519.overhead) + COMMITMENT + TAG

Return = tuple[int, bytes]  # clove link, return token


@dataclass(slots=True)
class _Message:
    """One request, first while its cloves gather, then while it is answered."""

    first: Clove
    deadline: float
    returns: dict[int, Return] = field(default_factory=dict)
    cloves: dict[int, Clove] = field(default_factory=dict)
    session: int = 0
    arrived: int = 0  # bit i: clove i came and opened
    writer: ReplyWriter | None = None


class Inbox:
    """All requests of one model node. Sessions are numbered from 1. `opener` holds its keys, which change every day."""

    __slots__ = (
        "_accept_plain",
        "_by_return",
        "_by_session",
        "_held",
        "_messages",
        "_replays",
        "_sessions",
        "counts",
        "opener",
    )

    def __init__(self, onion_private: bytes, hybrid_private: bytes = b"", *, accept_plain: bool = False) -> None:
        self._accept_plain = accept_plain
        self.opener = Opener(OnionPrivate(onion_private, hybrid_private))
        self._messages: dict[bytes, _Message] = {}
        self._by_return: dict[Return, tuple[bytes, int]] = {}
        self._by_session: dict[int, bytes] = {}
        self._replays = ReplaySet()
        self._held = 0
        self._sessions = 0
        self.counts: Counter[str] = Counter()

    def on_event(self, event: Event, now: float) -> list[Command]:
        """A proxy sent a message, or its link is lost."""
        if isinstance(event, LinkLost):
            gone = [way for way in self._by_return if way[0] == event.link]
            return [command for way in gone for command in self._lose(way)]
        if not isinstance(event, HandoverArrived):
            raise LocalProtocolError(f"an inbox is not told about {type(event).__name__}")
        try:
            kind, token, body = decode_handover(event.raw)
        except DecodeError:
            return self._drop("malformed")
        way = (event.link, token)
        if kind is Handover.CANCEL:
            return self._lose(way)
        if kind is Handover.CLOVE and way not in self._by_return:
            return self._on_clove(way, body, now)
        return self._drop("out_of_place")

    def expire(self, now: float) -> list[Command]:
        """Refuse requests whose cloves did not come together in time."""
        late = [key for key, message in self._messages.items() if message.writer is None and now >= message.deadline]
        commands: list[Command] = []
        for key in late:
            self.counts["dropped_incomplete"] += 1
            commands += self._forget(key, Handover.REFUSED)
        return commands

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        return min((message.deadline for message in self._messages.values() if message.writer is None), default=None)

    def reply(self, session: int, frames: Iterable[ReplyFrame], *, end: bool) -> list[Command]:
        """Send frames of one reply over every way back that is left; `end` closes the session."""
        key = self._by_session.get(session)
        if key is None:
            return []
        message = self._messages[key]
        assert message.writer is not None
        commands: list[Command] = []
        for path, clove in message.writer.write(frames, end=end, paths=tuple(message.returns), arrived=message.arrived):
            link, token = message.returns[path]
            commands.append(SendHandover(link, encode_handover(Handover.REPLY, token, clove)))
        return commands + (self._forget(key, Handover.END) if end else [])

    def _on_clove(self, way: Return, sealed: bytes, now: float) -> list[Command]:
        refusal = SendHandover(way[0], encode_handover(Handover.REFUSED, way[1]))
        try:
            clove = open_clove(sealed, self.opener, accept_plain=self._accept_plain)
        except (CryptoError, DecodeError):
            return [refusal, *self._drop("bad_clove")]
        why = self._unacceptable(clove, way, now)
        if why is not None:
            return [refusal, *self._drop(why)]
        key = clove.gathering
        message = self._messages.get(key)
        if message is None:
            message = self._messages[key] = _Message(clove, now + GATHER_SECONDS)
        message.returns[clove.slice.index] = way
        message.arrived |= 1 << clove.slice.index
        self._by_return[way] = (key, clove.slice.index)
        self.counts["cloves"] += 1
        if message.writer is not None:
            return []
        message.cloves[clove.slice.index] = clove
        self._held += len(clove.slice.fragment)
        enough = min(len(message.cloves), len(message.returns)) >= GEOMETRY.k
        return self._open(key, message, now) if enough else []

    def _unacceptable(self, clove: Clove, way: Return, now: float) -> str | None:
        """Why a clove that opens must be refused, as the name of its counter; None when it may stay."""
        message = self._messages.get(clove.gathering)
        if clove.token != way[1] or (clove.n, clove.k) != (GEOMETRY.n, GEOMETRY.k) or clove.total > MAX_TOTAL:
            return "foreign_clove"
        if not is_fresh(clove.minute, now):
            return "stale_clove"
        if message is None:
            if clove.message_id in self._replays:
                return "replayed_message"
            full = len(self._messages) >= MAX_MESSAGES or self._held + len(clove.slice.fragment) > MAX_BYTES
            return "inbox_full" if full else None
        if clove.total != message.first.total or clove.minute != message.first.minute:
            return "conflicting_clove"
        held = message.cloves.get(clove.slice.index)
        if held is not None and held.slice != clove.slice:
            return "conflicting_clove"
        return "duplicate_clove" if clove.slice.index in message.returns else None

    def _open(self, key: bytes, message: _Message, now: float) -> list[Command]:
        slices = {index: clove.slice for index, clove in message.cloves.items()}
        try:
            opened = combine(slices, GEOMETRY.n, GEOMETRY.k, message.first.total)
            secret, mode, request = unpack_message(opened)
        except (CryptoError, DecodeError) as error:
            if isinstance(error, CryptoError) and len(slices) < GEOMETRY.n:
                return []  # another clove may still make k that fit
            return [*self._drop("bad_message"), *self._forget(key, Handover.REFUSED)]
        if not self._replays.admit(message.first.message_id, now):
            return [*self._drop("replayed_message"), *self._forget(key, Handover.REFUSED)]
        self._release(message)
        self._sessions += 1
        message.session = self._sessions
        message.writer = ReplyWriter(secret, message.first.message_id)
        self._by_session[message.session] = key
        self.counts["requests"] += 1
        return [StartReply(message.session, request, mode)]

    def _lose(self, way: Return) -> list[Command]:
        """One way back is gone; with fewer than k left nobody can read the answer."""
        key, index = self._by_return.pop(way, (b"", 0))
        message = self._messages.get(key)
        if message is None:
            return []
        del message.returns[index]
        if message.writer is None or len(message.returns) >= GEOMETRY.k:
            return []
        self.counts["cancelled"] += 1
        return [CancelReply(message.session), *self._forget(key, Handover.END)]

    def _forget(self, key: bytes, farewell: Handover) -> list[Command]:
        message = self._messages.pop(key)
        self._release(message)
        self._by_session.pop(message.session, None)
        for way in message.returns.values():
            del self._by_return[way]
        return [SendHandover(link, encode_handover(farewell, token)) for link, token in message.returns.values()]

    def _release(self, message: _Message) -> None:
        self._held -= sum(len(clove.slice.fragment) for clove in message.cloves.values())
        message.cloves.clear()

    def _drop(self, why: str) -> list[Command]:
        self.counts["dropped_" + why] += 1
        return []
