"""The model node's face to proxies: a WebSocket for cloves, one task per request, replies that leave with the ticks."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from traceback import extract_tb

from aiohttp import web

from network.aio.links import CLOVE_PATH, HANDOVER_LIMIT, HandoverLink, accept_socket, carry
from network.commands import CancelReply, Command, SendHandover, StartReply
from network.events import Event, LinkLost
from network.freshness import Rng
from network.hpke import Opener
from network.inference import FrameKind, ReplyFrame
from network.link_gate import LinkGate
from serving_node.inbox import Inbox
from serving_node.limits import DEFAULT, Limits

log = logging.getLogger(__name__)

LAST_TICKS_SECONDS = 2.0  # how long a node that stops lets replies finish
TICK_LOOK_SECONDS = 0.02
_TERMINAL = (FrameKind.FINAL, FrameKind.FAILED)


class ReplyStream:
    """The way one handler answers one user. Frames are numbered here; when they leave is the reply's ticks' affair."""

    def __init__(self, write: Callable[[list[ReplyFrame], bool], None]) -> None:
        self._write = write
        self._sequence = 0
        self.ended = False

    def send(self, frame: ReplyFrame) -> None:
        """Queue a frame; a FINAL or FAILED one ends the reply. Later frames are ignored."""
        if self.ended:
            return
        self.ended = frame.kind in _TERMINAL
        self._sequence += 1
        self._write([replace(frame, sequence=self._sequence - 1)], self.ended)

    def finish(self) -> None:
        """The handler is done. Without a terminal frame before, the user sees a truncated reply."""
        if not self.ended:
            self.ended = True
            self._write([], True)

    def abandon(self) -> None:
        """Nobody listens any more."""
        self.ended = True


Handler = Callable[[bytes, ReplyStream], Awaitable[None]]


class CloveServer:
    """Gathers cloves and calls `handler(request, stream)` once per request; cancels it when the user has gone."""

    def __init__(
        self,
        onion_private: bytes,
        handler: Handler,
        rng: Rng,
        clock: Callable[[], float] = time.time,
        *,
        hybrid_private: bytes = b"",
        limits: Limits = DEFAULT,
    ) -> None:
        self._inbox = Inbox(onion_private, hybrid_private, limits=limits)
        self._handler = handler
        self._clock = clock
        self._gate = LinkGate()
        self._links: dict[int, HandoverLink] = {}
        self._sockets: dict[int, web.WebSocketResponse] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._streams: dict[int, ReplyStream] = {}
        self._next_link = int.from_bytes(rng(4), "big")  # numbers never name the same link after a restart
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0

    @property
    def counts(self) -> Counter[str]:
        """What arrived and what was dropped, by reason."""
        return self._inbox.counts

    @property
    def opener(self) -> Opener:
        """The keys that open cloves."""
        return self._inbox.opener

    @property
    def sessions(self) -> int:
        """Requests being answered."""
        return len(self._tasks)

    def routes(self) -> list[web.RouteDef]:
        """The endpoint that proxies connect to."""
        return [web.get(CLOVE_PATH, self._accept)]

    async def close(self) -> None:
        """Cancel every handler, let what was said leave with its ticks, and close every link."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        until = asyncio.get_running_loop().time() + LAST_TICKS_SECONDS
        while self._inbox.unsaid and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(TICK_LOOK_SECONDS)
        if self._timer is not None:
            self._timer.cancel()
        for socket in tuple(self._sockets.values()):
            await socket.close(code=1001)

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        remote = request.remote
        if not self._gate.admit(remote):
            self.counts["links_refused"] += 1
            return web.Response(status=503)
        try:
            return await self._serve(request)
        finally:
            self._gate.leave(remote)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = accept_socket(HANDOVER_LIMIT)
        await socket.prepare(request)
        self._next_link += 1
        link = self._next_link
        held = HandoverLink(link, self._on_event)
        self._links[link], self._sockets[link] = held, socket
        try:
            await carry(socket, held.writer, held.on_frame)
        finally:
            del self._links[link], self._sockets[link]
            self._on_event(LinkLost(link))
        return socket

    def _on_event(self, event: Event) -> None:
        self._do(self._inbox.on_event(event, self._clock()))

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case SendHandover(link, raw):
                    held = self._links.get(link)
                    if held is not None:
                        held.send(raw)
                case StartReply(session, request):
                    self._start(session, request)
                case CancelReply(session):
                    self._cancel(session)
                case _:
                    raise AssertionError(f"an inbox does not ask for {type(command).__name__}")
        self._arm()

    def _start(self, session: int, request: bytes) -> None:
        stream = ReplyStream(lambda frames, end: self._do(self._inbox.reply(session, frames, end=end)))
        self._streams[session] = stream
        task = asyncio.create_task(self._answer(request, stream))
        self._tasks[session] = task
        task.add_done_callback(lambda _: self._answered(session))

    async def _answer(self, request: bytes, stream: ReplyStream) -> None:
        try:
            await self._handler(request, stream)
        except Exception as error:  # noqa: BLE001 - a request's edge: one failed answer must not end the others
            self.counts["handler_failed"] += 1
            # Where and what kind, not the message: it might quote the prompt.
            where = extract_tb(error.__traceback__)[-1]
            fields = {"error": type(error).__name__, "file": where.filename, "line": where.lineno}
            log.error("a request could not be answered", extra={"fields": fields})
        stream.finish()

    def _answered(self, session: int) -> None:
        self._tasks.pop(session, None)
        self._streams.pop(session, None)

    def _cancel(self, session: int) -> None:
        stream, task = self._streams.get(session), self._tasks.get(session)
        if stream is not None:
            stream.abandon()
        if task is not None:
            task.cancel()

    def _arm(self) -> None:
        """Set the timer to the inbox's deadline, if that is sooner than what it is set to."""
        deadline = self._inbox.next_deadline()
        if deadline is None or (self._timer is not None and self._armed_for <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = deadline
        delay = max(0.0, deadline - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._do(self._inbox.expire(self._clock()))
