"""An encrypted cell link from outside: whoever taps it sees records whose lengths count cells, also while nobody speaks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from network.aio.dialer import UNREACHABLE, Dialer
from network.aio.links import CELL_FRAME_LIMIT, CellLink, accept_socket, carry
from network.aio.listening import PublicPort
from network.cell import CellKind, encode_cell
from network.chain_records import DirectoryEntry
from network.config import Address, NodeConfig
from network.crypto import SigningKey
from network.events import FrameArrived
from network.geometry import GEOMETRY
from network.inference import FrameKind, ReplyFrame
from network.link_limits import LinkLimits

KEY = SigningKey(bytes(range(32)))
APPLICATION_DATA = 23
# Record header 5, WebSocket header 4, mask 4 from the client, content type 1, tag 16.
FROM_CLIENT, FROM_SERVER = 5 + 4 + 4 + 1 + 16, 5 + 4 + 1 + 16
QUICK = LinkLimits(pad_least_ms=40, pad_most_ms=90)


class Tap:
    """Carries TCP on to a port and keeps what passes, by direction."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.up, self.down = bytearray(), bytearray()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._pass(reader, far_writer, self.up), self._pass(far_reader, writer, self.down))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                kept += data
                writer.write(data)
        writer.close()


def records(raw: bytes) -> list[tuple[int, int]]:
    """(content type, whole length) of the TLS records in a direction."""
    found, at = [], 0
    while at + 5 <= len(raw):
        length = 5 + int.from_bytes(raw[at + 3 : at + 5], "big")
        found.append((raw[at], length))
        at += length
    return found


@pytest.fixture
async def tapped(unused_tcp_port_factory: Callable[[], int]) -> AsyncIterator[Any]:
    """Two ends of an encrypted cell link, what each heard, and the tap between them."""
    heard: list[Any] = []
    far = CellLink(2, lambda event: None, QUICK)

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = accept_socket(CELL_FRAME_LIMIT)
        await socket.prepare(request)
        await carry(socket, far.writer, lambda frame: heard.append(frame))
        return socket

    local = Address("127.0.0.1", unused_tcp_port_factory())
    config = NodeConfig("n", "c", local, local, "", (), Path(), Path(), "info", tls="always")
    port = PublicPort(config, KEY, [web.get("/link", serve)])
    await port.start()
    tap = Tap(local.port)
    node = DirectoryEntry(signing_key=KEY.public, address=f"127.0.0.1:{await tap.start()}")
    near = CellLink(1, heard.append, QUICK)
    async with aclosing(Dialer(always_tls=True)) as dialer:
        socket = await dialer.open_socket(node, "/link", CELL_FRAME_LIMIT)
        running = asyncio.create_task(carry(socket, near.writer, near.on_frame))
        yield near, far, heard, tap
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await socket.close()
    await port.close()


async def test_records_show_how_many_cells_and_nothing_else(tapped: Any) -> None:
    near, far, _, tap = tapped
    await asyncio.sleep(0.02)
    before = len(records(tap.up)), len(records(tap.down))
    for burst in (1, 3, 15, 16, 40):
        for kind in (CellKind.CREATE, CellKind.FORWARD, CellKind.DESTROY):
            for _ in range(burst):
                near.send([encode_cell(b"secret..", kind, bytes(GEOMETRY.cell_body))])
                far.send([encode_cell(b"secret..", kind, bytes(GEOMETRY.cell_body))])
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    for raw, at, framing in ((tap.up, before[0], FROM_CLIENT), (tap.down, before[1], FROM_SERVER)):
        seen = records(raw)[at:]
        assert {kind for kind, _ in seen} == {APPLICATION_DATA}
        assert {(length - framing) % GEOMETRY.cell for _, length in seen} == {0}
        assert max(length for _, length in seen) == 15 * GEOMETRY.cell + framing
        assert b"secret" not in raw


async def test_silence_is_padded_both_ways_and_busy_links_are_not(tapped: Any) -> None:
    near, _, heard, tap = tapped
    await asyncio.sleep(0.02)
    before = len(records(tap.up)), len(records(tap.down))
    async with asyncio.timeout(20):
        while len(records(tap.up)) < before[0] + 5 or len(records(tap.down)) < before[1] + 5:
            await asyncio.sleep(0.01)
    assert {length for _, length in records(tap.up)[before[0] :]} == {GEOMETRY.cell + FROM_CLIENT}
    assert {length for _, length in records(tap.down)[before[1] :]} == {GEOMETRY.cell + FROM_SERVER}
    pads = [each.frame if isinstance(each, FrameArrived) else each for each in heard]
    assert all(cell[8] == CellKind.PAD and cell[:8] == bytes(8) for cell in pads)
    assert len(set(pads)) == len(pads)
    heard.clear()
    for _ in range(30):
        near.send([encode_cell(b"busy....", CellKind.FORWARD, bytes(GEOMETRY.cell_body))])
        await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        while sum(frame.count(b"busy....") for frame in heard if isinstance(frame, bytes)) < 30:
            await asyncio.sleep(0.01)
    padded = [frame for frame in heard if isinstance(frame, bytes) and frame[8] == CellKind.PAD]
    assert len(padded) < 15, "a busy link was padded"  # a machine that stands still for 40 ms is idle


async def test_a_question_travels_through_an_overlay_that_speaks_tls_throughout(encrypted_overlay: Any) -> None:
    async def echo(request: bytes, stream: Any) -> None:
        stream.send(ReplyFrame(kind=FrameKind.ACCEPTED))
        stream.send(ReplyFrame(kind=FrameKind.FINAL, payload=request))

    _, model = await encrypted_overlay.add_model_node(echo)
    user = await encrypted_overlay.add_user(path_sets=1)
    request = bytes(range(256)) * 20
    assert [frame.payload async for frame in user.ask(request, model)] == [b"", request]
    async with aclosing(Dialer()) as plain:
        for node in encrypted_overlay.entries:
            with pytest.raises(UNREACHABLE):
                await plain.open_socket(node, "/link", CELL_FRAME_LIMIT)
