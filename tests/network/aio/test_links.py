"""Writers pack, flush at once and survive a broken socket; who does not read loses the link, and a flood fills no memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from network.aio import links
from network.aio.links import CellLink, HandoverLink, LinkWriter, cells_of
from network.cell import destroy_cell
from network.events import CellsShed, FrameArrived, HandoverArrived
from network.link_limits import LinkLimits
from network.link_queue import CellQueue


def cell(name: bytes, number: int = 0) -> bytes:
    return destroy_cell(name.ljust(8, b"."))[:-1] + bytes([number])


def test_a_frame_that_is_not_whole_cells_is_handed_on_whole() -> None:
    assert cells_of(cell(b"a") * 2) == [cell(b"a")] * 2
    assert cells_of(b"garbage") == [b"garbage"]


class FakeSocket:
    """A socket that remembers what was written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.fail = False

    def get_extra_info(self, name: str) -> Any:
        return None

    async def send_bytes(self, raw: bytes) -> None:
        if self.fail:
            raise aiohttp.ClientConnectionResetError("gone")
        self.written.append(raw)

    def __aiter__(self) -> "FakeSocket":
        return self

    async def __anext__(self) -> Any:
        return await self.messages.get()


async def test_what_was_queued_before_the_link_stood_is_written_first() -> None:
    heard: list[Any] = []
    link = CellLink(3, heard.append)
    link.send([cell(b"a", 1)])
    socket = FakeSocket()
    running = asyncio.create_task(links.carry(socket, link.writer, link.on_frame))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    link.send([cell(b"a", 2)])
    await socket.messages.put(aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, cell(b"b"), None))
    await asyncio.sleep(0.01)
    assert b"".join(socket.written) == cell(b"a", 1) + cell(b"a", 2)
    assert heard == [FrameArrived(3, cell(b"b"))]
    await socket.messages.put(aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, "text", None))
    async with asyncio.timeout(5):
        await running


async def test_a_socket_that_breaks_while_writing_ends_the_link() -> None:
    link, socket = CellLink(3, lambda event: None), FakeSocket()
    socket.fail = True
    link.send([cell(b"a")])
    async with asyncio.timeout(5):
        await links.carry(socket, link.writer, link.on_frame)  # type: ignore[arg-type]


async def test_a_bug_in_a_core_surfaces() -> None:
    def broken(frame: bytes) -> None:
        raise AssertionError("a bug")

    socket = FakeSocket()
    await socket.messages.put(aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, b"x", None))
    with pytest.raises(AssertionError):
        await links.carry(socket, LinkWriter(CellQueue()), broken)  # type: ignore[arg-type]


async def test_shedding_is_reported_after_the_event_that_caused_it() -> None:
    heard: list[Any] = []
    link = CellLink(3, heard.append, LinkLimits(queued_cells=1))
    link.send([cell(b"a")])
    link.send([cell(b"b")])
    assert heard == []
    await asyncio.sleep(0)
    assert heard == [CellsShed(3, b"a.......")]


@asynccontextmanager
async def joined(answer: Callable[[web.WebSocketResponse], Coroutine[Any, Any, None]]) -> AsyncIterator[Any]:
    """A WebSocket whose other end is in the hands of `answer`."""
    answers: list[asyncio.Task[None]] = []

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = links.accept_socket(links.HANDOVER_LIMIT)
        await socket.prepare(request)
        answers.append(asyncio.create_task(answer(socket)))
        await asyncio.gather(*answers, return_exceptions=True)
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        yield await session.ws_connect("http://{}:{}".format(*runner.addresses[0][:2]), compress=0)
        for task in answers:
            task.cancel()
    await runner.cleanup()


async def sleeping(_socket: web.WebSocketResponse) -> None:
    """A neighbour that holds its connection and never reads."""
    await asyncio.sleep(60)


async def test_a_hand_over_link_gives_up_on_a_reader_that_does_not_read() -> None:
    heard: list[Any] = []
    link = HandoverLink(7, heard.append, LinkLimits(queued_bytes=1_000_000))
    link.on_frame(b"raw")
    assert heard == [HandoverArrived(7, b"raw")]
    async with joined(sleeping) as socket, asyncio.timeout(60):
        running = asyncio.create_task(links.carry(socket, link.writer, link.on_frame))
        while not running.done():
            link.send(bytes(500_000))
            await asyncio.sleep(0)
        await running


async def test_a_neighbour_that_sleeps_a_whole_period_loses_its_link() -> None:
    link = CellLink(3, lambda event: None, LinkLimits(stall_seconds=1))
    async with joined(sleeping) as socket, asyncio.timeout(60):
        running = asyncio.create_task(links.carry(socket, link.writer, link.on_frame))
        for number in range(12_000):  # more than all the buffers on the way
            link.send([cell(b"one")])
            if number % 1000 == 0:
                await asyncio.sleep(0.01)
        await running


async def test_a_slow_neighbour_keeps_its_link() -> None:
    async def slow(socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            await asyncio.sleep(0.002)

    link = CellLink(3, lambda event: None, LinkLimits(stall_seconds=1))
    async with joined(slow) as socket:
        running = asyncio.create_task(links.carry(socket, link.writer, link.on_frame))
        for _ in range(10):
            for number in range(300):
                link.send([cell(number.to_bytes(8, "big"))])
            await asyncio.sleep(0.15)
        assert not running.done()
        running.cancel()


async def test_what_a_reader_does_not_take_waits_at_the_sender() -> None:
    """The HTTP library's reading side is bounded: a flood fills buffers of fixed size, not memory."""
    async with joined(sleeping) as socket:
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 2**26:
                async with asyncio.timeout(0.3):
                    await socket.send_bytes(bytes(2**14))
                sent += 2**14
        assert sent < 2**25
