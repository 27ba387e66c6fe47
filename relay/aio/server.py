"""The relay's shell: one WebSocket endpoint, one timer, and the core between them."""

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

from network.aio.dialer import Dialer
from network.aio.links import CELL_FRAME_LIMIT, CELL_PATH, accept_socket
from network.commands import CloseLink, Command, OpenCloveLink, OpenLink, SendCells, SendHandover, TellWhenWritten
from network.events import Event
from network.link_gate import LinkGate
from relay.aio.links import Links
from relay.core import RelayCore


class RelayServer:
    """Drives one relay core."""

    def __init__(
        self,
        core: RelayCore,
        clock: Callable[[], float] = time.time,
        dialer: Dialer | None = None,
    ) -> None:
        limits = core.limits
        self._core = core
        self._clock = clock
        self._links = Links(self._on_event, dialer or Dialer(), limits.of_a_link)
        self._gate = LinkGate(limits.links, limits.links_per_host)
        self._timer: asyncio.TimerHandle | None = None
        self._incoming: set[web.WebSocketResponse] = set()

    def routes(self) -> list[web.RouteDef]:
        """The endpoint that neighbours and user nodes connect to."""
        return [web.get(CELL_PATH, self._accept)]

    @property
    def links(self) -> int:
        """How many links are open."""
        return len(self._links)

    async def close(self) -> None:
        """Stop the timer and close every link."""
        if self._timer is not None:
            self._timer.cancel()
        for socket in tuple(self._incoming):
            await socket.close(code=1001)
        await self._links.close()

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        remote = request.remote
        if not self._gate.admit(remote):
            self._core.counts["links_refused"] += 1
            return web.Response(status=503)
        socket = accept_socket(CELL_FRAME_LIMIT)
        try:
            await socket.prepare(request)
            self._incoming.add(socket)
            await self._links.serve(self._core.new_link(), socket)
        finally:
            self._gate.leave(remote)
            self._incoming.discard(socket)
        return socket

    def _on_event(self, event: Event) -> None:
        self._do(self._core.on_event(event, self._clock()))

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case SendCells(link, cells):
                    self._links.send_cells(link, cells)
                case TellWhenWritten(link):
                    self._links.tell_when_written(link)
                case SendHandover(link, raw):
                    self._links.send_message(link, raw)
                case OpenLink(link, node):
                    self._links.open_cells(link, node)
                case OpenCloveLink(link, node):
                    self._links.open_cloves(link, node)
                case CloseLink(link):
                    self._links.drop(link)
                case _:
                    raise AssertionError(f"a relay does not do {type(command).__name__}")
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        deadline = self._core.next_deadline()
        self._timer = None
        if deadline is not None:
            delay = max(0.0, deadline - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._do(self._core.expire(self._clock()))
