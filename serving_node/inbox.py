"""The model node's inbox: gathers cloves until any k are there, opens the request, and hands its ways home to the replies.

Sans-IO. Every clove is opened by itself, so a bad one is refused by itself and its proxy told; nothing is kept longer
than its deadline nor beyond its bounds. Implements `docs/overlay.md` sections 5 and 6.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from network.clove import Clove, open_clove
from network.commands import Command, SendHandover, StartReply
from network.errors import CryptoError, DecodeError, LocalProtocolError
from network.events import Event, HandoverArrived, LinkLost
from network.freshness import is_fresh
from network.geometry import CELL_BUCKETS, COMMITMENT, GEOMETRY, TAG, Seal
from network.handover import Handover, decode_handover, encode_handover
from network.hpke import OnionPrivate, Opener
from network.inference import ReplyFrame
from network.message import unpack_message
from network.replay import ReplaySet
from network.resume import open_note
from network.sida import combine
from serving_node.limits import DEFAULT, Limits
from serving_node.replies import Replies
from serving_node.replying import Return

LOOKED_AT = 64  # of the oldest messages, when room is to be made
MAX_TOTAL = GEOMETRY.padded_message(CELL_BUCKETS[-1], Seal.X25519.overhead) + COMMITMENT + TAG


@dataclass(slots=True)
class _Message:
    """One request while its cloves gather."""

    first: Clove
    deadline: float
    returns: dict[int, Return] = field(default_factory=dict)
    cloves: dict[int, Clove] = field(default_factory=dict)


class Inbox:
    """All requests of one model node. `opener` holds its keys, which change every day."""

    __slots__ = (
        "_accept_plain",
        "_by_return",
        "_held",
        "_limits",
        "_messages",
        "_on_link",
        "_replays",
        "_replies",
        "counts",
        "opener",
    )

    def __init__(
        self, onion_private: bytes, hybrid_private: bytes = b"", *, accept_plain: bool = False, limits: Limits = DEFAULT
    ) -> None:
        self._limits = limits
        self._accept_plain = accept_plain
        self.opener = Opener(OnionPrivate(onion_private, hybrid_private))
        self._messages: dict[bytes, _Message] = {}  # in the order in which their time runs out
        self._by_return: dict[Return, tuple[bytes, int]] = {}
        self._on_link: Counter[int] = Counter()
        self._replays = ReplaySet()
        self._held = 0
        self.counts: Counter[str] = Counter()
        self._replies = Replies(self.counts, limits)

    def __len__(self) -> int:
        """Requests that gather or are answered."""
        return len(self._messages) + len(self._replies)

    @property
    def unsaid(self) -> bool:
        """Whether any reply has something to say yet."""
        return self._replies.unsaid

    def on_event(self, event: Event, now: float) -> list[Command]:
        """A proxy sent a message, or its link is lost."""
        if isinstance(event, LinkLost):
            for way in [way for way in self._by_return if way[0] == event.link]:
                self._lose(way)
            return self._replies.lose_link(event.link, now)
        if not isinstance(event, HandoverArrived):
            raise LocalProtocolError(f"an inbox is not told about {type(event).__name__}")
        try:
            kind, token, body = decode_handover(event.raw)
        except DecodeError:
            return self._drop("malformed")
        way = (event.link, token)
        if kind is Handover.CANCEL:
            return self._on_cancel(way, now)
        if way in self._by_return or self._replies.carries(way):
            return self._drop("out_of_place")
        if kind is Handover.CLOVE:
            return self._on_clove(way, body, now)
        if kind is Handover.RESUME:
            return self._on_resume(way, body, now)
        return self._drop("out_of_place")

    def expire(self, now: float) -> list[Command]:
        """Refuse requests whose cloves did not come together in time, and let the replies tick."""
        commands: list[Command] = []
        while self._messages:
            key, message = next(iter(self._messages.items()))
            if now < message.deadline:
                break
            self.counts["dropped_incomplete"] += 1
            commands += self._forget(key)
        return commands + self._replies.expire(now)

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        first = next(iter(self._messages.values()), None)
        gathering = [] if first is None else [first.deadline]
        tick = self._replies.next_deadline()
        return min(gathering if tick is None else [tick, *gathering], default=None)

    def reply(self, session: int, frames: Iterable[ReplyFrame], *, end: bool) -> list[Command]:
        """Frames of one reply; they leave with the ticks to come. `end` says that nothing follows."""
        return self._replies.say(session, frames, end=end)

    def _on_cancel(self, way: Return, now: float) -> list[Command]:
        if self._replies.carries(way):
            return self._replies.lose(way, now)
        self._lose(way)
        return []

    def _on_clove(self, way: Return, sealed: bytes, now: float) -> list[Command]:
        try:
            clove = open_clove(sealed, self.opener, accept_plain=self._accept_plain)
        except (CryptoError, DecodeError):
            return self._refuse(way, "bad_clove")
        why = self._unacceptable(clove, way, now)
        if why is not None:
            return self._refuse(way, why)
        key = clove.gathering
        if self._replies.gathered(clove.message_id) == key:
            commands = self._replies.join(clove.message_id, clove.slice.index, way, now)
            if commands is None:
                return self._refuse(way, "duplicate_clove")
            self.counts["cloves"] += 1
            return commands
        evicted = self._make_room(clove, way[0])
        if evicted is None:
            return self._refuse(way, "inbox_full")
        message = self._messages.get(key)
        if message is None:
            message = self._messages[key] = _Message(clove, now + self._limits.gathering_seconds)
        message.returns[clove.slice.index] = way
        message.cloves[clove.slice.index] = clove
        self._by_return[way] = (key, clove.slice.index)
        self._on_link[way[0]] += 1
        self._held += len(clove.slice.fragment)
        self.counts["cloves"] += 1
        return evicted + (self._open(key, message, now) if len(message.cloves) >= GEOMETRY.k else [])

    def _unacceptable(self, clove: Clove, way: Return, now: float) -> str | None:
        """Why a clove that opens must be refused, as the name of its counter; None when it may stay."""
        message = self._messages.get(clove.gathering)
        if clove.token != way[1] or (clove.n, clove.k) != (GEOMETRY.n, GEOMETRY.k) or clove.total > MAX_TOTAL:
            return "foreign_clove"
        if not is_fresh(clove.minute, now):
            return "stale_clove"
        if self._replies.gathered(clove.message_id) == clove.gathering:
            return None
        if self._on_link[way[0]] >= self._limits.cloves_per_link:
            return "link_full"
        if message is None:
            return "replayed_message" if clove.message_id in self._replays else None
        if clove.total != message.first.total or clove.minute != message.first.minute:
            return "conflicting_clove"
        held = message.cloves.get(clove.slice.index)
        if held is not None:
            return "conflicting_clove" if held.slice != clove.slice else "duplicate_clove"
        return None

    def _make_room(self, clove: Clove, link: int) -> list[Command] | None:
        """While the inbox is full, one of its oldest messages goes whose links all bring more than this one. None: no such."""
        commands: list[Command] = []
        while self._is_full(clove):
            oldest = islice(self._messages.items(), LOOKED_AT)
            mine = self._on_link[link]
            ways = ((key, message.returns.values()) for key, message in oldest)
            crowding = next((key for key, each in ways if all(self._on_link[way[0]] > mine for way in each)), None)
            if crowding is None:
                return None
            commands += self._forget(crowding)
            self.counts["dropped_crowded_out"] += 1
        return commands

    def _is_full(self, clove: Clove) -> bool:
        is_new = clove.gathering not in self._messages
        return (is_new and len(self) >= self._limits.messages) or self._held + len(
            clove.slice.fragment
        ) > self._limits.gathering_bytes

    def _open(self, key: bytes, message: _Message, now: float) -> list[Command]:
        slices = {index: clove.slice for index, clove in message.cloves.items()}
        try:
            opened = combine(slices, GEOMETRY.n, GEOMETRY.k, message.first.total)
            secret, mode, request = unpack_message(opened)
        except (CryptoError, DecodeError) as error:
            if isinstance(error, CryptoError) and len(slices) < GEOMETRY.n:
                return []  # another clove may still make k that fit
            return [*self._drop("bad_message"), *self._forget(key)]
        if not self._replays.admit(message.first.message_id, now):
            return [*self._drop("replayed_message"), *self._forget(key)]
        self._release(key)
        self.counts["requests"] += 1
        message_id = message.first.message_id
        session, commands = self._replies.open(message_id, key, secret, mode, message.returns, now)
        return [StartReply(session, request), *commands]

    def _on_resume(self, way: Return, sealed: bytes, now: float) -> list[Command]:
        try:
            note, proof = open_note(sealed, self.opener)
        except (CryptoError, DecodeError):
            return self._refuse(way, "bad_resume")
        commands = self._replies.resume(note, proof, way, now)
        return self._refuse(way, "resume_refused") if commands is None else commands

    def _lose(self, way: Return) -> None:
        """A way home is gone while its message gathers: its clove is of no use without it."""
        key, index = self._by_return.pop(way, (b"", 0))
        message = self._messages.get(key)
        if message is None:
            return
        del message.returns[index]
        self._held -= len(message.cloves.pop(index).slice.fragment)
        self._leave_link(way[0])
        if not message.cloves:
            del self._messages[key]

    def _forget(self, key: bytes) -> list[Command]:
        ways = self._release(key).returns.values()
        return [SendHandover(link, encode_handover(Handover.REFUSED, token)) for link, token in ways]

    def _release(self, key: bytes) -> _Message:
        """The message leaves the table; what it held is free."""
        message = self._messages.pop(key)
        self._held -= sum(len(clove.slice.fragment) for clove in message.cloves.values())
        for way in message.returns.values():
            del self._by_return[way]
            self._leave_link(way[0])
        return message

    def _leave_link(self, link: int) -> None:
        self._on_link[link] -= 1
        if not self._on_link[link]:
            del self._on_link[link]

    def _refuse(self, way: Return, why: str) -> list[Command]:
        return [SendHandover(way[0], encode_handover(Handover.REFUSED, way[1])), *self._drop(why)]

    def _drop(self, why: str) -> list[Command]:
        self.counts["dropped_" + why] += 1
        return []
