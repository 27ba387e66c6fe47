"""Queues are bounded and shed whole circuits; writers pack, flush at once and survive a broken socket."""

import asyncio
from typing import Any

import aiohttp
import pytest

from network.aio import links
from network.aio.links import CellLink, CellQueue, HandoverLink, LinkWriter, MessageQueue, cells_of
from network.cell import destroy_cell
from network.events import CellArrived, CellsShed, HandoverArrived


def cell(name: bytes, number: int = 0) -> bytes:
    return destroy_cell(name.ljust(8, b"."))[:-1] + bytes([number])


def test_cells_leave_in_order_sixteen_to_a_frame() -> None:
    queue = CellQueue()
    cells = [cell(b"a", number) for number in range(20)]
    assert [queue.put(each) for each in cells] == [None] * 20
    assert queue.next_frame() == b"".join(cells[:16])
    assert queue.next_frame() == b"".join(cells[16:])
    assert queue.next_frame() is None


def test_a_full_queue_sheds_the_circuit_that_waits_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_QUEUED_CELLS", 4)
    queue = CellQueue()
    for name in (b"old", b"new", b"old", b"new"):
        assert queue.put(cell(name)) is None
    assert queue.put(cell(b"new", 9)) == b"old....."
    assert queue.next_frame() == cell(b"new") * 2 + cell(b"new", 9)
    for number in range(4):
        queue.put(cell(b"only", number))
    assert queue.put(cell(b"only", 9)) == b"only....", "a circuit alone on a stuck link is shed itself"
    assert queue.next_frame() is None


def test_messages_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_QUEUED_BYTES", 10)
    queue = MessageQueue()
    assert queue.put(b"12345") and queue.put(b"67890")
    assert queue.next_frame() == b"12345"
    assert queue.put(b"12345") and not queue.put(b"x")


def test_a_frame_that_is_not_whole_cells_is_handed_on_whole() -> None:
    assert cells_of(cell(b"a") * 2) == [cell(b"a")] * 2
    assert cells_of(b"garbage") == [b"garbage"]


class FakeSocket:
    """A socket that remembers what was written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.fail = False

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
    link.send(cell(b"a", 1))
    socket = FakeSocket()
    running = asyncio.create_task(links.carry(socket, link.writer, link.on_frame))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    link.send(cell(b"a", 2))
    await socket.messages.put(aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, cell(b"b"), None))
    await asyncio.sleep(0.01)
    assert b"".join(socket.written) == cell(b"a", 1) + cell(b"a", 2)
    assert heard == [CellArrived(3, cell(b"b"))]
    await socket.messages.put(aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, "text", None))
    async with asyncio.timeout(5):
        await running


async def test_a_socket_that_breaks_while_writing_ends_the_link() -> None:
    link, socket = CellLink(3, lambda event: None), FakeSocket()
    socket.fail = True
    link.send(cell(b"a"))
    async with asyncio.timeout(5):
        await links.carry(socket, link.writer, link.on_frame)  # type: ignore[arg-type]


async def test_a_bug_in_a_core_surfaces() -> None:
    def broken(frame: bytes) -> None:
        raise AssertionError("a bug")

    socket = FakeSocket()
    await socket.messages.put(aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, b"x", None))
    with pytest.raises(AssertionError):
        await links.carry(socket, LinkWriter(CellQueue()), broken)  # type: ignore[arg-type]


async def test_shedding_is_reported_after_the_event_that_caused_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_QUEUED_CELLS", 1)
    heard: list[Any] = []
    link = CellLink(3, heard.append)
    link.send(cell(b"a"))
    link.send(cell(b"b"))
    assert heard == []
    await asyncio.sleep(0)
    assert heard == [CellsShed(3, b"a.......")]


async def test_a_hand_over_link_gives_up_on_a_reader_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_QUEUED_BYTES", 5)
    heard: list[Any] = []
    given_up: list[int] = []
    link = HandoverLink(7, heard.append, given_up.append)
    link.on_frame(b"raw")
    link.send(b"12345")
    assert given_up == []
    link.send(b"6")
    assert given_up == [7] and heard == [HandoverArrived(7, b"raw")]
