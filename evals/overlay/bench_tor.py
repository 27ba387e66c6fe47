"""Ours beside Tor on the same machine: `python -m evals.overlay.bench_tor [--output json] [--repeat N]`; `make bench-tor`.

Both have twelve relays as processes on loopback and three hops a circuit, circuits built beforehand. A request of 1 KB,
and one of 700 KB, go to a server that answers at once; ours goes as four sealed cloves over four circuits (4/3 of the
bytes, a path set of its own each), Tor's as one stream over one circuit, plain TCP over none. `first_byte` is `speedy`,
whose first piece waits 10 ms on purpose; `default` adds jitter and a longer tick. CPU is that of all relays.
Exit codes: 0 measured, 3 `tor` is not installed (Debian: the package `tor`).
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path

from evals.overlay.processes import ProcessOverlay, overlay_of
from evals.overlay.tor_network import Tor, TorFailed, installed, tor_network
from evals.report import Row, row, show
from network.aio.user_node import UserNode
from network.geometry import GEOMETRY
from network.modes import Mode

RELAYS = GEOMETRY.n * GEOMETRY.hops
SIZES = {"1KB": 1_000, "700KB": 700_000}
AT_ONCE = 6
PATIENCE = 60.0
Ask = Callable[[int], Awaitable[None]]


class Timed:
    """Milliseconds to the first byte back, by name."""

    def __init__(self) -> None:
        self.samples: dict[str, list[float]] = {}
        self.cpu: dict[str, float] = {}

    async def take(self, name: str, ask: Ask, size: int, repeat: int) -> None:
        """`repeat` requests one after the other; the first is not counted."""
        kept = self.samples[name] = []
        for number in range(repeat + 1):
            began = time.perf_counter()
            await asyncio.wait_for(ask(size), PATIENCE)
            if number:
                kept.append((time.perf_counter() - began) * 1e3)
            await asyncio.sleep(0.2)  # whoever builds circuits ahead does it now

    async def together(self, name: str, ask: Ask, size: int, relays_cpu: Callable[[], float]) -> None:
        """Several at once: megabytes of requests a second, and the relays' CPU for one megabyte."""
        before, began = relays_cpu(), time.perf_counter()
        await asyncio.wait_for(asyncio.gather(*(ask(size) for _ in range(AT_ONCE))), PATIENCE)
        megabytes = AT_ONCE * size / 1e6
        self.samples[name] = [megabytes / (time.perf_counter() - began)]
        self.cpu[name] = (relays_cpu() - before) / megabytes * 1e3


async def serve() -> asyncio.Server:
    """A server that reads `length\\n` and that many bytes, then answers one byte."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int(await reader.readline()))
        writer.write(b"!")
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0, limit=2**20)


async def over_tcp(port: int, size: int, socks: int | None = None) -> None:
    """One request over plain TCP, or through Tor's client (SOCKS 5, RFC 1928, no authentication)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", socks or port)
    if socks is not None:
        writer.write(b"\x05\x01\x00" + b"\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big"))
        await reader.readexactly(2)
        if (await reader.readexactly(10))[1]:
            raise TorFailed("Tor's client could not reach the server on loopback")
    writer.write(f"{size}\n".encode() + bytes(size))
    await reader.readexactly(1)
    writer.close()


async def over_ours(user: UserNode, overlay: ProcessOverlay, size: int, mode: Mode = Mode.SPEEDY) -> None:
    """One request through the overlay, up to the reply's first frame."""
    request = b"echo\n".ljust(size, b"x")
    async with aclosing(user.ask(request, overlay.models[0].entry, mode=mode)) as frames:
        await anext(frames)


def cpu_of(pids: list[int]) -> float:
    """CPU seconds that these processes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def measure(repeat: int) -> tuple[Timed, str]:
    """All three, one after the other."""
    timed = Timed()
    server = await serve()
    port = server.sockets[0].getsockname()[1]
    async with server:
        for name, size in SIZES.items():
            await timed.take(f"tcp.{name}", partial(over_tcp, port), size, repeat)
        async with overlay_of(RELAYS) as overlay:
            user = UserNode(overlay.directory, os.urandom, path_sets=AT_ONCE)
            await user.start()
            try:
                assert await user.wait_ready(PATIENCE)
                await asyncio.sleep(3.0)
                for mode in (Mode.SPEEDY, Mode.DEFAULT):
                    for name, size in SIZES.items():
                        ask_in_mode = partial(over_ours, user, overlay, mode=mode)
                        await timed.take(f"{mode.name.lower()}.{name}", ask_in_mode, size, repeat)
                await asyncio.sleep(3.0)
                pids = [member.process.pid for member in overlay.relays]
                await timed.together("ours.rate", partial(over_ours, user, overlay), SIZES["700KB"], lambda: cpu_of(pids))
            finally:
                await user.close()
        with tempfile.TemporaryDirectory() as folder:
            async with tor_network(Path(folder), RELAYS) as tor:
                await _measure_tor(timed, tor, port, repeat)
                return timed, tor.release


async def _measure_tor(timed: Timed, tor: Tor, port: int, repeat: int) -> None:
    def ask(size: int) -> Awaitable[None]:
        return over_tcp(port, size, tor.socks)

    for name, size in SIZES.items():
        await timed.take(f"tor.{name}", ask, size, repeat)
    await timed.together("tor.rate", ask, SIZES["700KB"], lambda: cpu_of(tor.relays))


def rows(timed: Timed, release: str) -> list[Row]:
    """Ours over Tor, and the bare connection for scale."""
    found = []
    text = f"{release} through three relays"
    for name in SIZES:
        theirs = statistics.median(timed.samples[f"tor.{name}"])
        for label, mode in (("first_byte", "speedy"), ("first_byte.default", "default")):
            ours = timed.samples[f"{mode}.{name}"]
            middle = statistics.median(ours)
            found.append(row(f"{label}.{name}", middle, "ms", baseline=text, baseline_value=theirs, samples=ours))
        found.append(row(f"first_byte.tcp.{name}", statistics.median(timed.samples[f"tcp.{name}"]), "ms"))
    (mine,), (theirs_rate,) = timed.samples["ours.rate"], timed.samples["tor.rate"]
    many = f"the same {AT_ONCE} requests of 700 KB through Tor"
    found.append(row("upload_rate", mine, "MB/s", baseline=many, baseline_value=theirs_rate))
    found.append(row("relays_cpu_per_MB", timed.cpu["ours.rate"], "ms", baseline=many, baseline_value=timed.cpu["tor.rate"]))
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m evals.overlay.bench_tor", description="The overlay beside Tor.")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--repeat", type=int, default=15, help="requests of each kind (15)")
    options = parser.parse_args()
    if not installed():
        print("bench-tor: `tor` and `tor-gencert` are not installed; on Debian: apt-get install tor", file=sys.stderr)
        return 3
    timed, release = asyncio.run(measure(options.repeat))
    show("overlay-tor", rows(timed, release), options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
