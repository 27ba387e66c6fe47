"""The reply stream's measure over real sockets: recorded answers through real relays, clocked where a user node reads.

Twelve relays and a model node listen on loopback in this process; a dozen user nodes ask at once. What is clocked is every
WebSocket frame that a user node reads, circuits that are built ahead included. `plain` are server-sent events over HTTP.
"""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp
import numpy as np
from aiohttp import web

from evals.anonymity.answers import Answer, load
from evals.anonymity.present import Table, emit, figure, judged, options
from evals.anonymity.reply_stream import MODES, Trace, score
from evals.overlay.loopback import Network, running
from network.aio.dialer import Dialer
from network.aio.user_node import UserNode
from network.chain_records import DirectoryEntry
from network.inference import FrameKind, ReplyFrame
from network.modes import PACES, Mode
from serving_node.aio.clove_server import ReplyStream

AT_ONCE = 12
QUIET_TICKS = 4  # so long nothing comes once a reply has run to its bucket's end
PATIENCE = 60.0
CHUNK = (
    'data: {"id":"chatcmpl-0123456789","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
)


class _Tap:
    """A socket whose incoming messages are clocked."""

    def __init__(self, socket: Any, seen: list[tuple[float, int]]) -> None:
        self._socket = socket
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        message = await self._socket.__anext__()
        self._seen.append((asyncio.get_running_loop().time(), len(message.data or b"")))
        return message


class _TappingDialer(Dialer):
    """The product's dialer, with a tap on every link."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[float, int]] = []

    async def open_socket(self, node: DirectoryEntry, path: str, limit: int) -> Any:
        """A link that is clocked."""
        return _Tap(await super().open_socket(node, path, limit), self.seen)


async def play(answer: Answer, stream: ReplyStream) -> None:
    """The engine: pieces of text when the recording says."""
    started = asyncio.get_running_loop().time()
    stream.send(ReplyFrame(kind=FrameKind.ACCEPTED))
    for moment, length in zip(answer.moments, answer.lengths, strict=True):
        await asyncio.sleep(started + moment - asyncio.get_running_loop().time())
        stream.send(ReplyFrame(kind=FrameKind.DELTA, payload=bytes(length)))
    stream.send(ReplyFrame(kind=FrameKind.FINAL))


async def overlay_traces(answers: list[Answer], mode: Mode, seed: int) -> dict[int, Trace]:
    """Every answer through the overlay, by its place in the list."""

    async def handler(request: bytes, stream: ReplyStream) -> None:
        await play(answers[int.from_bytes(request, "big")], stream)

    found: dict[int, Trace] = {}
    todo = iter(range(len(answers)))
    async with running(random.Random(seed), handler) as network:
        await asyncio.gather(*(_user(network, mode, todo, found) for _ in range(AT_ONCE)))
    return found


async def _user(network: Network, mode: Mode, todo: Any, found: dict[int, Trace]) -> None:
    dialer = _TappingDialer()
    user = UserNode(network.directory, os.urandom, path_sets=1, mode=mode, dialer=dialer)
    await user.start()
    loop = asyncio.get_running_loop()
    try:
        for number in todo:
            assert await user.wait_ready(PATIENCE), "no path set in time"
            dialer.seen.clear()
            begun = loop.time()
            async with aclosing(user.ask(number.to_bytes(2, "big"), network.model)) as frames:
                assert [frame.kind async for frame in frames][-1] == FrameKind.FINAL
            await _quiet(dialer, PACES[mode].tick_s * QUIET_TICKS)
            moments = np.array([moment - begun for moment, _ in dialer.seen])
            found[number] = moments, np.array([size for _, size in dialer.seen], float)
    finally:
        await user.close()


async def _quiet(dialer: _TappingDialer, seconds: float) -> None:
    """Until nothing has come for so long."""
    loop = asyncio.get_running_loop()
    while (wait := dialer.seen[-1][0] + seconds - loop.time()) > 0:
        await asyncio.sleep(wait)


async def plain_traces(answers: list[Answer]) -> dict[int, Trace]:
    """Every answer as server-sent events."""

    async def serve(request: web.Request) -> web.StreamResponse:
        answer = answers[int(request.query["number"])]
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        started = asyncio.get_running_loop().time()
        for moment, length in zip(answer.moments, answer.lengths, strict=True):
            await asyncio.sleep(started + moment - asyncio.get_running_loop().time())
            await response.write((CHUNK % ("x" * length)).encode())
        return response

    app = web.Application()
    app.add_routes([web.get("/plain", serve)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}/plain".format(*runner.addresses[0][:2])
    found: dict[int, Trace] = {}
    todo = iter(range(len(answers)))

    async def client(session: aiohttp.ClientSession) -> None:
        loop = asyncio.get_running_loop()
        for number in todo:
            begun = loop.time()
            async with session.get(url, params={"number": number}) as response:
                seen = [(loop.time() - begun, len(chunk)) async for chunk, _ in response.content.iter_chunks() if chunk]
            found[number] = np.array([moment for moment, _ in seen]), np.array([size for _, size in seen], float)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(AT_ONCE)))
    await runner.cleanup()
    return found


def main() -> int:
    parser = options(__doc__ or "")
    parser.add_argument("--most", type=int, default=0, help="answers per topic (default: all that are recorded)")
    args = parser.parse_args()
    answers = load()
    if args.most:
        answers = [answer for answer in answers if answer.number < args.most]
    ways = {"plain": asyncio.run(plain_traces(answers))}
    ways |= {mode.name.lower(): asyncio.run(overlay_traces(answers, mode, args.seed)) for mode in MODES}
    rows, figures = [], []
    for name, traces in ways.items():
        area, error = score([traces[number] for number in range(len(answers))], answers, args.seed)
        sizes = np.mean([trace[1].sum() for trace in traces.values()]) / 1024
        rows.append(
            [name, f"{area:.3f}", f"{error:.3f}", f"{np.mean([len(t[0]) for t in traces.values()]):.0f}", f"{sizes:.0f}"]
        )
        limit = 0.5 + 3 * error
        goal = f"<= {limit:.2f}, three errors above guessing"
        identity = f"socket_streams.{name}"
        figures.append(
            judged(identity, area, "AUC", goal, area <= limit) if name == "strict" else figure(identity, area, "AUC")
        )
    head = ["way", "AUC", "error under guessing", "frames", "KiB"]
    table = Table(
        "Topic of an answer by its rhythm, over sockets", head, rows, f"{len(answers)} recorded answers, {AT_ONCE} at once"
    )
    return emit("anonymity.socket_streams", [table], figures, args.output)


if __name__ == "__main__":
    sys.exit(main())
