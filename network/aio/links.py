"""Links: one WebSocket each, a bounded queue, one writer that flushes at once. Used by relays, user nodes, model nodes.

A cell link packs up to 16 cells into a frame. A queue that is full sheds the circuit whose cell has waited longest,
whole: a circuit that lost one cell could not go on anyway (`docs/overlay.md` section 2).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

import aiohttp
from aiohttp import web

from network.cell import split_frame
from network.errors import DecodeError
from network.events import CellArrived, CellsShed, Event, HandoverArrived
from network.geometry import CELLS_PER_FRAME, GEOMETRY, LINK_ID, TOKEN

log = logging.getLogger(__name__)

MAX_QUEUED_CELLS = 4096
MAX_QUEUED_BYTES = 8 * 1024 * 1024
CELL_FRAME_LIMIT = CELLS_PER_FRAME * GEOMETRY.cell + 1
HANDOVER_LIMIT = GEOMETRY.max_clove + 1 + TOKEN + 1
CELL_PATH = "/link"
CLOVE_PATH = "/cloves"

Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse

OnEvent = Callable[[Event], None]


class FrameQueue(Protocol):
    """What waits to be written, frame by frame."""

    def next_frame(self) -> bytes | None:
        """The next frame, or None while nothing waits."""


class CellQueue:
    """Cells that wait for their link."""

    __slots__ = ("_cells",)

    def __init__(self) -> None:
        self._cells: deque[bytes] = deque()

    def put(self, cell: bytes) -> bytes | None:
        """Queue a cell. When the queue is full: the link id of the circuit that was thrown out to make room."""
        victim = None
        if len(self._cells) >= MAX_QUEUED_CELLS:
            victim = self._cells[0][:LINK_ID]
            self._cells = deque(held for held in self._cells if held[:LINK_ID] != victim)
        if cell[:LINK_ID] != victim:
            self._cells.append(cell)
        return victim

    def next_frame(self) -> bytes | None:
        """Up to 16 cells in one frame."""
        if not self._cells:
            return None
        return b"".join(self._cells.popleft() for _ in range(min(CELLS_PER_FRAME, len(self._cells))))


class MessageQueue:
    """Hand-over messages that wait for their link."""

    __slots__ = ("_bytes", "_messages")

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._bytes = 0

    def put(self, raw: bytes) -> bool:
        """Queue a message. False when the other end reads so slowly that the link should be given up."""
        self._messages.append(raw)
        self._bytes += len(raw)
        return self._bytes <= MAX_QUEUED_BYTES

    def next_frame(self) -> bytes | None:
        """The next message."""
        if not self._messages:
            return None
        raw = self._messages.popleft()
        self._bytes -= len(raw)
        return raw


class LinkWriter:
    """Writes a queue to a socket as fast as the other end reads; sleeps while there is nothing."""

    __slots__ = ("_queue", "_wake")

    def __init__(self, queue: FrameQueue) -> None:
        self._queue = queue
        self._wake = asyncio.Event()

    def flush(self) -> None:
        """Something was queued."""
        self._wake.set()

    async def run(self, socket: Socket) -> None:
        """Until the socket fails."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (frame := self._queue.next_frame()) is not None:
                await socket.send_bytes(frame)


class CellLink:
    """One link that carries cells."""

    __slots__ = ("_link", "_on_event", "_queue", "writer")

    def __init__(self, link: int, on_event: OnEvent) -> None:
        self._link = link
        self._on_event = on_event
        self._queue = CellQueue()
        self.writer = LinkWriter(self._queue)

    def send(self, cell: bytes) -> None:
        """Queue one cell."""
        victim = self._queue.put(cell)
        self.writer.flush()
        if victim is not None:
            # Later, not now: the core is in the middle of an event.
            asyncio.get_running_loop().call_soon(self._on_event, CellsShed(self._link, victim))

    def on_frame(self, frame: bytes) -> None:
        """Hand on the cells of one frame."""
        for cell in cells_of(frame):
            self._on_event(CellArrived(self._link, cell))


class HandoverLink:
    """One link between a proxy and a model node."""

    __slots__ = ("_give_up", "_link", "_on_event", "_queue", "writer")

    def __init__(self, link: int, on_event: OnEvent, give_up: Callable[[int], None]) -> None:
        self._link = link
        self._on_event = on_event
        self._give_up = give_up
        self._queue = MessageQueue()
        self.writer = LinkWriter(self._queue)

    def send(self, raw: bytes) -> None:
        """Queue one message; give the link up when the other end does not read."""
        fits = self._queue.put(raw)
        self.writer.flush()
        if not fits:
            self._give_up(self._link)

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
            if isinstance(error, Exception) and not isinstance(error, (aiohttp.ClientError, ConnectionError)):
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
    return web.WebSocketResponse(compress=False, max_msg_size=limit, autoping=False)
