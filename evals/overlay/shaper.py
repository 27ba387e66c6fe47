"""A long cable in user space: TCP carried on with delay, jitter, a rate, and connections that break, all by one seed.

    python -m evals.overlay.shaper --listen 127.0.0.1:7000 --target 127.0.0.1:8800 --delay-ms 20 --jitter-ms 5

Kernels without netem have no other. `Lane` decides when bytes arrive, and knows no clock; the rest moves them. Order is
kept, as TCP keeps it: a chunk that draws little jitter waits for the one before it.
"""

import argparse
import asyncio
import random
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

CHUNK = 16 * 1024
MOST_UNDER_WAY = 1 << 20  # bytes on the cable in one direction; who sends more waits, as for a full window


@dataclass(frozen=True, slots=True)
class Shape:
    """One cable. Jitter is exponential with this mean; `lost_per_s` is the rate at which connections break."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    lost_per_s: float = 0.0


class Lane:
    """One direction of one connection: when each chunk arrives at the far end."""

    __slots__ = ("_arrived", "_draw", "_free_at", "_shape")

    def __init__(self, shape: Shape, draw: random.Random) -> None:
        self._shape = shape
        self._draw = draw
        self._free_at = 0.0
        self._arrived = 0.0

    def arrival(self, size: int, now: float) -> float:
        """When a chunk that is sent now has arrived."""
        shape = self._shape
        sent = max(now, self._free_at)
        if shape.bytes_per_s:
            sent += size / shape.bytes_per_s
        self._free_at = sent
        jitter = self._draw.expovariate(1 / shape.jitter_s) if shape.jitter_s else 0.0
        self._arrived = max(self._arrived, sent + shape.delay_s + jitter)
        return self._arrived


class Shaper:
    """Listens on a loopback port and carries every connection on to `target` over a cable of this shape."""

    def __init__(self, target: tuple[str, int], shape: Shape, seed: str) -> None:
        self._target = target
        self._shape = shape
        self._seed = seed
        self._server: asyncio.Server | None = None
        self._joined = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Begin to listen; the address to use instead of the target's."""
        self._server = await asyncio.start_server(self._join, host, port, limit=CHUNK)
        return "{}:{}".format(*self._server.sockets[0].getsockname()[:2])

    async def close(self) -> None:
        """Break every connection and stop listening."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._joined += 1
        draw = random.Random(f"{self._seed}/{self._joined}")
        far: asyncio.StreamWriter | None = None
        try:
            back, far = await asyncio.open_connection(*self._target, limit=CHUNK)
            ways = (self._carry(reader, far, draw), self._carry(back, writer, draw))
            life = draw.expovariate(self._shape.lost_per_s) if self._shape.lost_per_s else None
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(life):
                    await asyncio.gather(*ways)
        except OSError:
            pass  # nobody listens there: the near end sees its connection close
        finally:
            self._tasks.discard(task)
            for each in (writer, far):
                if each is not None and isinstance(each.transport, asyncio.WriteTransport):
                    each.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, draw: random.Random) -> None:
        """One direction, until its end has arrived at the far end."""
        lane, clock = Lane(self._shape, random.Random(draw.random())), asyncio.get_running_loop().time
        under_way: deque[tuple[float, bytes]] = deque()
        changed = asyncio.Event()

        async def deliver() -> None:
            while True:
                while not under_way:
                    changed.clear()
                    await changed.wait()
                at, data = under_way[0]
                await asyncio.sleep(max(0.0, at - clock()))
                under_way.popleft()
                changed.set()
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        delivering = asyncio.create_task(deliver())
        try:
            data = b"-"
            while data:
                while sum(len(each) for _, each in under_way) >= MOST_UNDER_WAY:
                    changed.clear()
                    await changed.wait()
                data = await reader.read(CHUNK)
                under_way.append((lane.arrival(len(data), clock()), data))
                changed.set()
            await delivering
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)


def main() -> None:
    """Carry one port's connections until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m evals.overlay.shaper", description=__doc__.partition("\n")[0])
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--target", required=True, metavar="HOST:PORT")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--jitter-ms", type=float, default=0.0)
    parser.add_argument("--bytes-per-s", type=float, default=0.0)
    parser.add_argument("--lost-per-s", type=float, default=0.0, help="connections that break, per second and connection")
    parser.add_argument("--seed", default="1")
    arguments = parser.parse_args()
    shape = Shape(arguments.delay_ms / 1e3, arguments.jitter_ms / 1e3, arguments.bytes_per_s, arguments.lost_per_s)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(_split(arguments.listen), _split(arguments.target), shape, arguments.seed))


async def _serve(listen: tuple[str, int], target: tuple[str, int], shape: Shape, seed: str) -> None:
    shaper = Shaper(target, shape, seed)
    print(f"{await shaper.start(*listen)} -> {target[0]}:{target[1]}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await shaper.close()


def _split(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    main()
