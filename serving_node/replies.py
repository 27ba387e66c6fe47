"""Every running reply of one model node: by message id, by session, and by the way home that brings news of it.

Sans-IO. Ways are lost, joined by late cloves and replaced by resume notes; with none left the answer is cancelled, with
fewer than k it waits for a while. Implements `docs/overlay.md` section 7.
"""

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from network.commands import CancelReply, Command, SendHandover
from network.freshness import is_fresh
from network.handover import Handover, encode_handover
from network.inference import ReplyFrame
from network.modes import Mode
from network.resume import ResumeNote, is_proven
from serving_node.limits import DEFAULT, Limits
from serving_node.replying import Reply, Return


@dataclass(slots=True)
class _Running:
    """One reply, its number for the engine's side, and when its alarm is set for."""

    reply: Reply
    session: int
    gathering: bytes  # what the cloves of the request had in common
    alarm: float | None = None


class Replies:
    """All replies that are running, or that ended a moment ago. Sessions are numbered from 1."""

    __slots__ = ("_alarms", "_by_session", "_by_way", "_counts", "_limits", "_running", "_sessions")

    def __init__(self, counts: Counter[str], limits: Limits = DEFAULT) -> None:
        self._counts = counts
        self._limits = limits
        self._running: dict[bytes, _Running] = {}
        self._by_session: dict[int, bytes] = {}
        self._by_way: dict[Return, tuple[bytes, int]] = {}
        self._alarms: list[tuple[float, bytes]] = []
        self._sessions = 0

    def __len__(self) -> int:
        return len(self._running)

    @property
    def unsaid(self) -> bool:
        """Whether any reply has something to say yet."""
        return any(running.reply.unsaid for running in self._running.values())

    def gathered(self, message_id: bytes) -> bytes | None:
        """What the cloves of this running reply's request had in common; None when there is no such reply."""
        running = self._running.get(message_id)
        return None if running is None else running.gathering

    def carries(self, way: Return) -> bool:
        """Whether a reply goes home over this way."""
        return way in self._by_way

    def open(
        self, message_id: bytes, gathering: bytes, secret: bytes, mode: Mode, ways: dict[int, Return], now: float
    ) -> tuple[int, list[Command]]:
        """A request is complete: (its session, the first piece)."""
        self._sessions += 1
        running = self._running[message_id] = _Running(
            Reply(secret, message_id, mode, now, self._limits), self._sessions, gathering
        )
        self._by_session[running.session] = message_id
        for index, way in ways.items():
            running.reply.arrived |= 1 << index
            self._attach(message_id, running, index, way)
        return running.session, self._go_on(message_id, running, now)

    def join(self, message_id: bytes, index: int, way: Return, now: float) -> list[Command] | None:
        """A clove came after the request was complete: its way carries the reply too. None when it may not."""
        running = self._running[message_id]
        if index in running.reply.ways or not self._attach(message_id, running, index, way):
            return None
        running.reply.arrived |= 1 << index
        return self._go_on(message_id, running, now)

    def resume(self, note: ResumeNote, proof: bytes, way: Return, now: float) -> list[Command] | None:
        """A fresh way in place of a lost one. None when the note does not allow it."""
        running = self._running.get(note.message_id)
        if running is None or note.token != way[1] or not is_fresh(note.minute, now):
            return None
        if not is_proven(note, proof, running.reply.secret):
            return None
        old = running.reply.ways.get(note.index)
        if not self._attach(note.message_id, running, note.index, way, note.released):
            return None
        self._counts["resumed"] += 1
        commands: list[Command] = []
        if old is not None:
            del self._by_way[old]
            commands.append(_farewell(old))
        return commands + self._go_on(note.message_id, running, now)

    def lose(self, way: Return, now: float) -> list[Command]:
        """A way home is gone."""
        message_id, index = self._by_way.pop(way)
        running = self._running[message_id]
        if running.reply.lose(index, now):
            return self._cancel(message_id, running)
        return self._go_on(message_id, running, now)

    def lose_link(self, link: int, now: float) -> list[Command]:
        """A clove link is gone, and every way over it."""
        gone = [way for way in self._by_way if way[0] == link]
        return [command for way in gone if way in self._by_way for command in self.lose(way, now)]

    def say(self, session: int, frames: Iterable[ReplyFrame], *, end: bool) -> list[Command]:
        """Frames of one reply, for the ticks to come; `end` says that nothing follows."""
        message_id = self._by_session.get(session)
        if message_id is None:
            return []
        running = self._running[message_id]
        if end:
            del self._by_session[session]
        if running.reply.say(frames, end=end):
            return []
        self._counts["dropped_reply_too_fast"] += 1
        return self._cancel(message_id, running)

    def expire(self, now: float) -> list[Command]:
        """The ticks that are due, and what waited in vain."""
        commands: list[Command] = []
        while self._alarms and self._alarms[0][0] <= now:
            due, message_id = heapq.heappop(self._alarms)
            running = self._running.get(message_id)
            if running is None or running.alarm != due:
                continue
            running.alarm = None
            if running.reply.deadline is not None and now >= running.reply.deadline:
                commands += self._cancel(message_id, running)
            else:
                commands += self._go_on(message_id, running, now)
        return commands

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        while self._alarms:
            due, message_id = self._alarms[0]
            running = self._running.get(message_id)
            if running is not None and running.alarm == due:
                return due
            heapq.heappop(self._alarms)
        return None

    def _attach(self, message_id: bytes, running: _Running, index: int, way: Return, released: int | None = None) -> bool:
        if not running.reply.attach(index, way, released):
            return False
        self._by_way[way] = (message_id, index)
        return True

    def _go_on(self, message_id: bytes, running: _Running, now: float) -> list[Command]:
        """What is due now, the end of ways that have carried everything, and the next alarm."""
        commands: list[Command] = [
            SendHandover(link, encode_handover(Handover.REPLY, token, clove))
            for (link, token), clove in running.reply.tick(now)
        ]
        for index in running.reply.finished_ways():
            way = running.reply.ways.pop(index)
            del self._by_way[way]
            commands.append(_farewell(way))
        due = running.reply.due
        if due is not None and due != running.alarm:
            running.alarm = due
            heapq.heappush(self._alarms, (due, message_id))
        return commands

    def _cancel(self, message_id: bytes, running: _Running) -> list[Command]:
        """Nobody is there for this reply any more, or it has ended long enough ago."""
        del self._running[message_id]
        commands: list[Command] = []
        if self._by_session.pop(running.session, None) is not None:
            self._counts["cancelled"] += 1
            commands.append(CancelReply(running.session))
        for way in running.reply.ways.values():
            del self._by_way[way]
            commands.append(_farewell(way))
        return commands


def _farewell(way: Return) -> SendHandover:
    return SendHandover(way[0], encode_handover(Handover.END, way[1]))
