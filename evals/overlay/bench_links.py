"""What a link costs both its ends: CPU of one process that holds them, plain and encrypted, on either event loop.

    python -m evals.overlay.bench_links --output json

Cells go one way over a real socket on loopback, one to a frame (each written before the next is queued) or as many as fit.
The baseline of each row is the same with asyncio and without TLS.
"""

import argparse
import asyncio
import sys
import time
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from socket import create_server

from aiohttp import web

from evals.report import Row, row, show
from network.aio.dialer import Dialer
from network.aio.event_loop import run
from network.aio.links import CELL_FRAME_LIMIT, CELL_PATH, CellLink, accept_socket, carry
from network.aio.listening import PublicPort
from network.cell import CellKind, encode_cell
from network.chain_records import DirectoryEntry
from network.config import Address, NodeConfig
from network.crypto import SigningKey
from network.geometry import GEOMETRY

KEY = SigningKey(bytes(range(32)))
CELL = encode_cell(b"bench...", CellKind.FORWARD, bytes(GEOMETRY.cell_body))
AHEAD = 256  # cells under way when frames are to be full


async def cost(cells: int, *, encrypted: bool, full: bool) -> float:
    """CPU microseconds of both ends for a cell."""
    arrived, changed = 0, asyncio.Event()

    def count(frame: bytes) -> None:
        nonlocal arrived
        arrived += len(frame) // GEOMETRY.cell
        changed.set()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = accept_socket(CELL_FRAME_LIMIT)
        await socket.prepare(request)
        await carry(socket, CellLink(2, lambda event: None).writer, count)
        return socket

    with create_server(("127.0.0.1", 0)) as probe:
        local = Address("127.0.0.1", probe.getsockname()[1])
    rule = "always" if encrypted else "off-loopback"
    config = NodeConfig("bench", "bench", local, local, "", (), Path(), Path(), "error", tls=rule)
    port = PublicPort(config, KEY, [web.get(CELL_PATH, serve)])
    await port.start()
    async with aclosing(Dialer(always_tls=encrypted)) as dialer:
        node = DirectoryEntry(signing_key=KEY.public, address=str(local))
        socket = await dialer.open_socket(node, CELL_PATH, CELL_FRAME_LIMIT)
        link = CellLink(1, lambda event: None)
        running = asyncio.create_task(carry(socket, link.writer, link.on_frame))
        began, sent = time.process_time(), 0
        while arrived < cells:
            room = AHEAD - (sent - arrived) if full else 1 - (sent - arrived)
            link.send([CELL] * room)
            sent += room
            changed.clear()
            await changed.wait()
        spent = time.process_time() - began
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await socket.close()
    await port.close()
    return spent / arrived * 1e6


def rows(cells: int, repeat: int) -> list[Row]:
    """Every combination beside the plainest."""
    loops = ["asyncio", *(["uvloop"] if find_spec("uvloop") else [])]
    found = []
    for full in (True, False):
        size = "full_frames" if full else "single_cells"
        base = 0.0
        for loop in loops:
            for encrypted in (False, True):
                count = cells if full else cells // 10
                samples = [run(cost(count, encrypted=encrypted, full=full), loop) for _ in range(repeat)]
                middle = sorted(samples)[len(samples) // 2]
                base = base or middle
                name = f"link_{size}.{loop}{'.tls' if encrypted else ''}"
                found.append(row(name, middle, "us", baseline="asyncio, plain", baseline_value=base, samples=samples))
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m evals.overlay.bench_links", description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=40_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    show("links", rows(arguments.cells, arguments.repeat), arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
