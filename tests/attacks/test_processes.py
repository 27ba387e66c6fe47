"""Two floods against real relay processes over real sockets: set-ups without end, and a user who stops reading."""

import asyncio
import os
import time
from typing import Any

import aiohttp
import pytest

from evals.overlay.processes import Member, ProcessOverlay, overlay_of
from network.aio.circuits import CircuitPool
from network.aio.dialer import Dialer
from network.aio.links import CELL_FRAME_LIMIT, CELL_PATH
from network.aio.user_node import UserNode
from network.cell import CellKind, encode_cell
from network.chain_records import DirectoryEntry
from network.geometry import CELLS_PER_FRAME, GEOMETRY, LINK_ID
from network.modes import Mode

pytestmark = pytest.mark.slow
MEBI = 1024 * 1024
FLOOD_SECONDS, FLOOD_LINKS, HONEST = 15.0, 16, 40


def _creates() -> bytes:
    """One frame full of set-ups that nobody can open."""
    cells = (encode_cell(os.urandom(LINK_ID), CellKind.CREATE, os.urandom(GEOMETRY.cell_body)) for _ in range(CELLS_PER_FRAME))
    return b"".join(cells)


async def _flood(dialer: Dialer, relay: DirectoryEntry, until: float) -> int:
    """As many set-ups as one link takes; what comes back is read and thrown away."""
    socket = await dialer.open_socket(relay, CELL_PATH, CELL_FRAME_LIMIT)
    reading = asyncio.create_task(_drain(socket))
    sent = 0
    try:
        while time.monotonic() < until and not socket.closed:
            await socket.send_bytes(_creates())
            sent += CELLS_PER_FRAME
            await asyncio.sleep(0)
    except (aiohttp.ClientError, OSError):
        pass
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await socket.close()
    return sent


async def _drain(socket: Any) -> None:
    async for _ in socket:
        pass


async def _builds(overlay: ProcessOverlay) -> int:
    """How many of forty users build a circuit through the flooded relay."""
    path, built = [member.entry for member in overlay.relays[:3]], 0
    for _ in range(HONEST):
        pool = CircuitPool(os.urandom, time.time, overlay.directory)
        circuit = await pool.build(path, lambda lost: None)
        built += circuit is not None and circuit.is_open
        await pool.close()
    return built


async def test_users_get_through_a_flood_of_set_ups() -> None:
    async with overlay_of(3, ()) as overlay:
        flooded, dialer = overlay.relays[0], Dialer()
        assert await _builds(overlay) == HONEST
        before = await flooded.status()
        until = time.monotonic() + FLOOD_SECONDS
        floods = [asyncio.create_task(_flood(dialer, flooded.entry, until)) for _ in range(FLOOD_LINKS)]
        await asyncio.sleep(1.0)
        built = await _builds(overlay)
        sent = sum(await asyncio.gather(*floods))
        await dialer.aclose()
        after = await flooded.status()
        refused, opened = (after["counts"].get(f"dropped_{why}", 0) for why in ("unsolved_puzzle", "bad_create"))
        grown = (after["rss_bytes"] - before["rss_bytes"]) / MEBI
        print(f"sent {sent}, refused {refused}, opened {opened}; users {built} of {HONEST}; relay grew by {grown:.1f} MiB")
        assert built >= 0.95 * HONEST
        assert refused > 10 * opened and opened < FLOOD_LINKS * (100 + 20 * (FLOOD_SECONDS + 5))
        assert grown < 64


class _Deaf:
    """A socket whose owner stops reading when told to."""

    def __init__(self, socket: Any, deaf: asyncio.Event) -> None:
        self._socket = socket
        self._deaf = deaf

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def __aiter__(self) -> "_Deaf":
        return self

    async def __anext__(self) -> Any:
        if self._deaf.is_set():
            await asyncio.Event().wait()
        return await self._socket.__anext__()


class _DeafDialer(Dialer):
    """Opens such sockets."""

    def __init__(self, deaf: asyncio.Event) -> None:
        super().__init__()
        self._deaf = deaf

    async def open_socket(self, node: DirectoryEntry, path: str, limit: int) -> Any:
        return _Deaf(await super().open_socket(node, path, limit), self._deaf)


async def _memory(members: list[Member]) -> list[float]:
    return [(await member.status())["rss_bytes"] / MEBI for member in members]


async def test_a_user_who_stops_reading_costs_little_and_not_for_long() -> None:
    async with overlay_of(GEOMETRY.n * GEOMETRY.hops) as overlay:
        deaf, model = asyncio.Event(), overlay.models[0]
        user = UserNode(overlay.directory, os.urandom, dialer=_DeafDialer(deaf), path_sets=1)
        await user.start()
        assert await user.wait_ready(30)
        before = await _memory(overlay.relays)
        asking = asyncio.create_task(_ask(user, model.entry, deaf))
        most = list(before)
        async with asyncio.timeout(90):
            await asyncio.sleep(5)
            while (await model.status())["sessions"]:
                most = [max(pair) for pair in zip(most, await _memory(overlay.relays), strict=True)]
                await asyncio.sleep(1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await user.close()
        grown = max(now - then for now, then in zip(most, before, strict=True))
        print(f"the relay that grew most grew by {grown:.1f} MiB")
        assert grown < 16, "a proxy may hold 512 cells for it, every other relay 128"
        async with asyncio.timeout(60):
            while any([(await member.status())["circuits"] for member in overlay.relays]):
                await asyncio.sleep(1)


async def _ask(user: UserNode, model: DirectoryEntry, deaf: asyncio.Event) -> None:
    async for frame in user.ask(b"count 200000 0", model, mode=Mode.SPEEDY):
        if frame.sequence == 3:
            deaf.set()
