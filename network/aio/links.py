"""Links: one WebSocket each, a bounded queue, one writer that flushes at once. Used by relays, user nodes, model nodes.

A cell link packs what waits into frames; on an encrypted one the writer pads silence. Who does not read loses the link
(`docs/overlay.md` sections 2 and 14).
"""

import asyncio
import logging
import os
import random
import socket as sockets
from collections.abc import Callable, Sequence
from contextlib import suppress

import aiohttp
from aiohttp import web

from network.cell import split_frame
from network.errors import DecodeError
from network.events import CellsShed, Event, FrameArrived, HandoverArrived, LinkReady
from network.geometry import CELLS_PER_FRAME, GEOMETRY, TOKEN
from network.link_limits import DEFAULT, LinkLimits
from network.link_queue import CellQueue, FrameQueue, MessageQueue, pad_cell

log = logging.getLogger(__name__)

CELL_FRAME_LIMIT = CELLS_PER_FRAME * GEOMETRY.cell + 1
HANDOVER_LIMIT = GEOMETRY.max_clove + 1 + TOKEN + 1
CELL_PATH = "/link"
CLOVE_PATH = "/cloves"
WRITE_LIMIT = 64 * 1024  # bytes that the HTTP library may hold of one link before its writer waits
UNSENT_LIMIT = 64 * 1024  # bytes that the kernel may hold beyond what is under way
SILENT_MS = 20_000  # a neighbour whose machine does not acknowledge for so long has gone
CLOSE_SECONDS = 1.0

Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse
OnEvent = Callable[[Event], None]

_DRAW = random.SystemRandom()


class LinkWriter:
    """Writes a queue to a socket as fast as the other end reads; `pads` encrypted silence; breaks off a reader that sleeps."""

    __slots__ = ("_idle", "_limits", "_pads", "_queue", "_seen", "_socket", "_timer", "_wake", "_watch", "_writing", "_wrote")

    def __init__(self, queue: FrameQueue, limits: LinkLimits = DEFAULT, *, pads: bool = False) -> None:
        self._queue = queue
        self._limits = limits
        self._pads = pads and isinstance(queue, CellQueue)
        self._wake = asyncio.Event()
        self._socket: Socket | None = None
        self._writing = False
        self._wrote = self._seen = self._idle = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None

    def flush(self) -> None:
        """Something was queued."""
        self._wake.set()
        if self._watch is None and self._socket is not None:
            self._arm_watch()

    async def run(self, socket: Socket) -> None:
        """Until the socket fails."""
        encrypted = socket.get_extra_info("ssl_object") is not None
        loop, send, wake = asyncio.get_running_loop(), socket.send_bytes, self._wake
        _tune(socket)
        self._socket, self._wrote = socket, loop.time()
        if self._pads and encrypted:
            self._pad()
        self.flush()
        try:
            while True:
                while (frame := self._queue.next_frame(encrypted=encrypted)) is not None:
                    self._writing = True
                    await send(frame)
                    self._writing = False
                    self._wrote = loop.time()
                wake.clear()
                await wake.wait()
        finally:
            self._socket = None
            for timer in (self._watch, self._timer):
                if timer is not None:
                    timer.cancel()

    def break_off(self) -> None:
        """End the connection now, whatever the other end does; nothing while there is none."""
        if self._socket is not None:
            _break(self._socket)

    def _arm_watch(self) -> None:
        self._seen = self._wrote
        self._watch = asyncio.get_running_loop().call_later(self._limits.stall_seconds, self._look)

    def _look(self) -> None:
        """What waited a whole period while nothing was written waits for a reader that sleeps."""
        self._watch = None
        if not self._writing and not len(self._queue):
            return
        if self._wrote == self._seen:
            log.info("a neighbour does not read; its link is closed")
            self.break_off()
        else:
            self._arm_watch()

    def _pad(self) -> None:
        loop = asyncio.get_running_loop()
        due = self._wrote + self._idle
        if not self._idle or loop.time() >= due:
            if self._idle and not self._writing and isinstance(self._queue, CellQueue) and not len(self._queue):
                self._queue.put(pad_cell(os.urandom))
                self.flush()
            self._idle = _DRAW.uniform(self._limits.pad_least_ms, self._limits.pad_most_ms) / 1000
            due = loop.time() + self._idle
        self._timer = loop.call_at(due, self._pad)


class CellLink:
    """One link that carries cells."""

    __slots__ = ("_asked", "_link", "_on_event", "_queue", "writer")

    def __init__(self, link: int, on_event: OnEvent, limits: LinkLimits = DEFAULT) -> None:
        self._asked = False
        self._link = link
        self._on_event = on_event
        self._queue = CellQueue(limits.queued_cells, self._on_drained)
        self.writer = LinkWriter(self._queue, limits, pads=True)

    def send(self, cells: Sequence[bytes]) -> None:
        """Queue cells."""
        for cell in cells:
            victim = self._queue.put(cell)
            if victim is not None:
                # Later, not now: the core is in the middle of an event.
                asyncio.get_running_loop().call_soon(self._on_event, CellsShed(self._link, victim))
        self.writer.flush()

    def tell_when_written(self) -> None:
        """Say LinkReady as soon as no more than one frame waits."""
        self._asked = True
        self.writer.flush()

    def on_frame(self, frame: bytes) -> None:
        """Hand on one frame."""
        self._on_event(FrameArrived(self._link, frame))

    def _on_drained(self) -> None:
        if self._asked:
            self._asked = False
            asyncio.get_running_loop().call_soon(self._on_event, LinkReady(self._link))


class HandoverLink:
    """One link between a proxy and a model node."""

    __slots__ = ("_link", "_on_event", "_queue", "writer")

    def __init__(self, link: int, on_event: OnEvent, limits: LinkLimits = DEFAULT) -> None:
        self._link = link
        self._on_event = on_event
        self._queue = MessageQueue(limits.queued_bytes)
        self.writer = LinkWriter(self._queue, limits)

    def send(self, raw: bytes) -> None:
        """Queue one message; give the link up when the other end does not read."""
        fits = self._queue.put(raw)
        self.writer.flush()
        if not fits:
            self.writer.break_off()

    def on_frame(self, frame: bytes) -> None:
        """Hand on one message."""
        self._on_event(HandoverArrived(self._link, frame))


async def carry(socket: Socket, writer: LinkWriter, on_frame: Callable[[bytes], None]) -> None:
    """Run one link: write what is queued, hand on every binary frame, return when either direction ends."""
    writing = asyncio.create_task(writer.run(socket))
    reading = asyncio.create_task(_read(socket, on_frame))
    try:
        await asyncio.wait((writing, reading), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (writing, reading):
            task.cancel()
        results = await asyncio.gather(writing, reading, return_exceptions=True)
        for error in results:
            # A broken connection is this link's ordinary end; anything else is a bug and must surface.
            if isinstance(error, Exception) and not isinstance(error, (aiohttp.ClientError, OSError)):
                raise error


async def _read(socket: Socket, on_frame: Callable[[bytes], None]) -> None:
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY:
            return
        on_frame(message.data)


def cells_of(frame: bytes) -> list[bytes]:
    """The cells of a frame; a frame of a wrong length is handed on whole, so that the core drops and counts it."""
    try:
        return split_frame(frame)
    except DecodeError:
        return [frame]


def accept_socket(limit: int) -> web.WebSocketResponse:
    """The server's side of a link."""
    return web.WebSocketResponse(
        compress=False, max_msg_size=limit, autoping=False, timeout=CLOSE_SECONDS, writer_limit=WRITE_LIMIT
    )


def _tune(socket: Socket) -> None:
    """Little in the kernel, so that what waits waits where it can be shed; and an end for machines that vanish."""
    held = socket.get_extra_info("socket")
    with suppress(AttributeError, OSError):  # Linux has these; elsewhere its defaults hold
        held.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, UNSENT_LIMIT)
        held.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, SILENT_MS)


def _break(socket: Socket) -> None:
    """Shut the connection under the transport: closing it would wait until the other end has read what is buffered."""
    held = socket.get_extra_info("socket")
    with suppress(AttributeError, OSError), sockets.socket(fileno=os.dup(held.fileno())) as own:
        own.shutdown(sockets.SHUT_RDWR)
