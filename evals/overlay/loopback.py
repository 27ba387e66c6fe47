"""What the overlay adds to a request's time: twelve relays and a model node on real sockets, all in this process.

One event loop does everybody's work, one thing after another: with a processor for each, the software's share is smaller.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from zlib import crc32

import aiohttp
from aiohttp import web

from evals.overlay.messages import prompt_of
from evals.report import Row, row
from network.aio.circuits import CircuitPool
from network.aio.links import CLOVE_PATH
from network.aio.user_node import UserNode
from network.cell import hand_over_cells
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import decode, encode
from network.crypto import exchange_public
from network.directory import Directory, empty
from network.geometry import GEOMETRY, TOKEN
from network.handover import Handover, encode_handover
from network.handshake import OnionKey
from network.ids import Role
from network.inference import FrameKind, ReplyFrame
from network.modes import Mode
from relay.aio.server import RelayServer
from relay.core import RelayCore
from serving_node.aio.clove_server import CloveServer, Handler, ReplyStream

RELAYS = GEOMETRY.n * GEOMETRY.hops
PATIENCE = 60.0
DIRECT_PATH = "/direct"
CROSSINGS = 2 * GEOMETRY.hops  # a round trip on one circuit crosses every relay twice
WARM_UP = 2
ANSWER_MS = 2_000.0


@dataclass
class Network:
    """Who is there, once everybody listens."""

    entries: list[DirectoryEntry]
    http: aiohttp.ClientSession
    listed: Directory

    def directory(self) -> Directory:
        """As the chain would list them; made once, as a light client does for each height."""
        return self.listed

    def list_all(self) -> None:
        """Everybody has entered."""
        entries = tuple(sorted(self.entries, key=lambda each: each.node_id))
        self.listed = Directory(DirectoryRecord("bench", 1, 1, b"", entries), 1)

    @property
    def model(self) -> DirectoryEntry:
        """The model node."""
        return self.entries[-1]


@dataclass(frozen=True)
class Spent:
    """Seconds that passed, and seconds that this process worked: all roles together, whatever else the machine does."""

    wall: float
    cpu: float


class Watch:
    """Both clocks, from now on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.thread_time()

    def spent(self) -> Spent:
        """Since it was made."""
        return Spent(time.perf_counter() - self._wall, time.thread_time() - self._cpu)


def latency(draw: random.Random, asks: int, trips: int) -> list[Row]:
    """Rows of both experiments."""
    return asyncio.run(_measure(draw, asks, trips))


async def _measure(draw: random.Random, asks: int, trips: int) -> list[Row]:
    async with running(draw) as network:
        return [*await _first_frames(network, draw, asks), *await _hops(network, trips)]


def thinking(request: bytes) -> float:
    """Seconds before this request is answered: 20 to 120 ms, so that answers are ready anywhere between two ticks."""
    return 0.02 + crc32(request) % 1000 / 10_000


async def echo(request: bytes, stream: ReplyStream) -> None:
    """The model node that answers after the same wait in both ways of asking."""
    await asyncio.sleep(thinking(request))
    stream.send(ReplyFrame(kind=FrameKind.ACCEPTED, payload=request[:16]))
    stream.send(ReplyFrame(kind=FrameKind.FINAL))


async def direct(request: web.Request) -> web.WebSocketResponse:
    """The same handler without the overlay: one WebSocket, frames as they come."""
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        frames: list[ReplyFrame] = []
        await echo(message.data, ReplyStream(partial(_keep, frames)))
        for frame in frames:
            await socket.send_bytes(encode(frame))
    return socket


def _keep(kept: list[ReplyFrame], frames: list[ReplyFrame], end: bool) -> None:
    kept += frames


@asynccontextmanager
async def running(draw: random.Random, handler: Handler = echo) -> AsyncIterator[Network]:
    """Twelve relays of twelve families and a model node that listen; all ends with the context."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        network = Network([], http, empty("bench"))
        for number in range(RELAYS):
            private = draw.randbytes(32)
            name, onion_keys = draw.randbytes(20), [OnionKey(private, exchange_public(private))]
            server = RelayServer(RelayCore(name, onion_keys, network.directory, os.urandom))
            address = await _listen(stack, server.routes())
            stack.push_async_callback(server.close)
            network.entries.append(replace(_entry(draw, Role.RELAY, f"relay-{number}", address, private), node_id=name))
        private = draw.randbytes(32)
        cloves = CloveServer(private, handler, os.urandom)
        address = await _listen(stack, [*cloves.routes(), web.get(DIRECT_PATH, direct)])
        stack.push_async_callback(cloves.close)
        network.entries.append(_entry(draw, Role.MODEL, "model", address, private))
        network.list_all()
        yield network


async def _listen(stack: AsyncExitStack, routes: list[web.RouteDef]) -> str:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return "{}:{}".format(*runner.addresses[0][:2])


def _entry(draw: random.Random, role: Role, name: str, address: str, private: bytes) -> DirectoryEntry:
    public = exchange_public(private)
    return DirectoryEntry(draw.randbytes(20), draw.randbytes(32), public, role, name, address, f"family-{name}", trusted=True)


async def _first_frames(network: Network, draw: random.Random, asks: int) -> list[Row]:
    """From asking to the first frame, through the overlay in every mode and over one WebSocket in turns."""
    speedy = await _first_frames_in(Mode.SPEEDY, network, draw, asks)
    default = await _first_frames_in(Mode.DEFAULT, network, draw, max(2, asks // 6))
    strict = await _first_frames_in(Mode.STRICT, network, draw, max(2, asks // 12))
    text = "the same echo over one WebSocket"
    mine, theirs = speedy.wall
    middle = at(speedy.added, 0.5)
    return [
        row("first_frame.p50", at(mine, 0.5), "ms", baseline=text, baseline_value=at(theirs, 0.5), samples=mine),
        row("first_frame.p90", at(mine, 0.9), "ms", baseline=text, baseline_value=at(theirs, 0.9)),
        row("first_frame_added.p50", middle, "ms", at_most=60.0, samples=speedy.added),
        row("first_frame_share_of_2s", 100 * middle / ANSWER_MS, "%", at_most=3.0),
        row("first_frame_added.default.p50", at(default.added, 0.5), "ms", at_most=80.0, samples=default.added),
        row("first_frame_added.strict.p50", at(strict.added, 0.5), "ms", samples=strict.added),
        row("first_frame_cpu", at(speedy.cpu[0], 0.5), "ms", baseline=text, baseline_value=at(speedy.cpu[1], 0.5)),
    ]


@dataclass(frozen=True)
class Asked:
    """Milliseconds of (ours, one WebSocket), request by request."""

    wall: tuple[list[float], list[float]]
    cpu: tuple[list[float], list[float]]

    @property
    def added(self) -> list[float]:
        """What the overlay took beyond the WebSocket."""
        return [one - other for one, other in zip(*self.wall, strict=True)]


async def _first_frames_in(mode: Mode, network: Network, draw: random.Random, asks: int) -> Asked:
    ours: list[Spent] = []
    base: list[Spent] = []
    user = UserNode(network.directory, os.urandom, path_sets=1, mode=mode)
    await user.start()
    try:
        async with network.http.ws_connect(f"ws://{network.model.address}{DIRECT_PATH}", compress=0) as socket:
            for _ in range(asks + WARM_UP):
                request = prompt_of(1024, draw)
                assert await user.wait_ready(PATIENCE), "no path set in time"
                ours.append(await _ask(user, request, network.model))
                base.append(await _ask_directly(socket, request))
    finally:
        await user.close()
    kept = ours[WARM_UP:], base[WARM_UP:]
    wall, cpu = ([[1e3 * part(spent) for spent in side] for side in kept] for part in (lambda s: s.wall, lambda s: s.cpu))
    return Asked((wall[0], wall[1]), (cpu[0], cpu[1]))


async def _ask(user: UserNode, request: bytes, entry: DirectoryEntry) -> Spent:
    watch = Watch()
    async with aclosing(user.ask(request, entry)) as frames:
        await anext(frames)
        first = watch.spent()
        assert [frame.kind async for frame in frames] == [FrameKind.FINAL]
    return first


async def _ask_directly(socket: aiohttp.ClientWebSocketResponse, request: bytes) -> Spent:
    watch = Watch()
    await socket.send_bytes(request)
    decode(ReplyFrame, await socket.receive_bytes(timeout=PATIENCE))
    first = watch.spent()
    assert decode(ReplyFrame, await socket.receive_bytes(timeout=PATIENCE)).kind == FrameKind.FINAL
    return first


async def _hops(network: Network, trips: int) -> list[Row]:
    """One circuit against none: the shortest exchange there is, a clove that the model node cannot open and refuses."""
    clove = os.urandom(GEOMETRY.sealed_clove(1))
    pool = CircuitPool(os.urandom, time.time, network.directory)
    data: asyncio.Queue[bytes] = asyncio.Queue()
    ours: list[Spent] = []
    base: list[Spent] = []
    try:
        circuit = await pool.build(network.entries[: GEOMETRY.hops], lambda _: None)
        assert circuit is not None, "no circuit in time"
        circuit.attach(data.put_nowait, lambda: None)
        async with network.http.ws_connect(f"ws://{network.model.address}{CLOVE_PATH}", compress=0) as socket:
            for _ in range(trips + WARM_UP):
                token = os.urandom(TOKEN)
                watch = Watch()
                for each in hand_over_cells(network.model.node_id, token, clove):
                    circuit.send(each)
                async with asyncio.timeout(PATIENCE):
                    await data.get()
                ours.append(watch.spent())
                watch = Watch()
                await socket.send_bytes(encode_handover(Handover.CLOVE, token, clove))
                await socket.receive_bytes(timeout=PATIENCE)
                base.append(watch.spent())
    finally:
        await pool.close()
    text = "the same refusal on a clove link to the model node"
    mine, theirs = [spent.wall * 1e6 for spent in ours[WARM_UP:]], [spent.wall * 1e6 for spent in base[WARM_UP:]]
    added = [(one - other) / CROSSINGS for one, other in zip(mine, theirs, strict=True)]
    cpu = [(one.cpu - other.cpu) / CROSSINGS * 1e6 for one, other in zip(ours[WARM_UP:], base[WARM_UP:], strict=True)]
    return [
        row("circuit_round_trip", at(mine, 0.5), "us", baseline=text, baseline_value=at(theirs, 0.5), samples=mine),
        row("hop_added.p50", at(added, 0.5), "us", at_most=100.0, samples=added),
        row("hop_added.p99", at(added, 0.99), "us", at_most=1000.0),
        row("hop_cpu", at(cpu, 0.5), "us", samples=cpu),
    ]


def at(values: list[float], share: float) -> float:
    """The value below which this share of them lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
