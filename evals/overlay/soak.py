"""An hour of an overlay of real processes: users who ask, leave and give up, relays that die, a neighbour that sends rubbish.

    python -m evals.overlay.soak --minutes 60 --json soak.json        # --minutes 3 for a look; --ports 20600

Afterwards everybody leaves, and every table must come back to zero; from half-time on, no process may grow by more than
1 MB an hour. Relays that are killed and started again are not judged by growth. The document is rewritten every minute.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import sys
import time
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean, linear_regression
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from evals.overlay.processes import Member, ProcessOverlay
from evals.report import machine
from network.aio.user_node import UserNode
from network.cell import CellKind, encode_cell
from network.errors import PlanetServeError
from network.geometry import GEOMETRY
from network.ids import Role
from network.inference import FrameKind

MB = 1024 * 1024
SAMPLE_S = 15.0
COURSE_S = 600
CHURN_S = 120.0
DOWN_S = 20.0
REST_S = 260.0  # links close after two idle minutes, looked at twice a minute; gossip needs none
MOST_GROWTH_MB_H = 1.0
BALLAST = (200, 2_000, 8_000, 32_000, 120_000)


@dataclass
class Soak:
    """What happened so far."""

    overlay: ProcessOverlay
    draw: random.Random
    outcomes: Counter[str] = field(default_factory=Counter)
    memory: "dict[str, tuple[array[float], array[float]]]" = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    restarts: int = 0
    rubbish: int = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    async def ask_on(self, user: UserNode, pause_s: float) -> None:
        """One user: questions of all sizes, short and long answers, some given up in the middle."""
        while True:
            await asyncio.sleep(self.draw.expovariate(1 / pause_s))
            model = self.draw.choice(self.overlay.models).entry
            words = self.draw.choice((b"echo", b"count 3 100", b"count 20 50", b"count 100 20"))
            request = words + b"\n" + self.draw.randbytes(self.draw.choice(BALLAST))
            give_up = self.draw.random() < 0.15
            try:
                async with asyncio.timeout(60), aclosing(user.ask(request, model)) as frames:
                    async for frame in frames:
                        if give_up and frame.kind == FrameKind.DELTA:
                            self.outcomes["given_up"] += 1
                            break
                        if frame.kind == FrameKind.FINAL:
                            self.outcomes["answered"] += 1
            except TimeoutError:
                self.outcomes["timeout"] += 1
            except PlanetServeError as error:
                self.outcomes[getattr(error, "code", type(error).__name__)] += 1

    async def churn(self, members: list[Member]) -> None:
        """One relay after the other dies without a word and comes back."""
        while True:
            for member in members:
                await asyncio.sleep(CHURN_S)
                await member.kill()
                await asyncio.sleep(DOWN_S)
                await self.overlay.restart(member)
                self.restarts += 1

    async def pester(self) -> None:
        """A neighbour that sends cells of every kind for circuits that are none, and set-ups that open for nobody."""
        async with aiohttp.ClientSession() as session:
            while True:
                await asyncio.sleep(self.draw.expovariate(1.0))
                relay = self.draw.choice(self.overlay.relays).entry
                with suppress(aiohttp.ClientError, OSError):
                    socket = await session.ws_connect(f"ws://{relay.address}/link", compress=0)
                    for _ in range(self.draw.randrange(1, 40)):
                        body, link_id = self.draw.randbytes(GEOMETRY.cell_body), self.draw.randbytes(8)
                        cell = encode_cell(link_id, self.draw.choice(tuple(CellKind)), body)
                        await socket.send_bytes(cell[: self.draw.choice((1024, 1024, 1024, 700))])
                        self.rubbish += 1
                    if self.draw.random() < 0.5:
                        await socket.close()
                    else:
                        socket.get_extra_info("socket").shutdown(2)

    async def watch(self, path: Path | None) -> None:
        """Take everybody's size now and then, and keep the document up to date."""
        written = 0.0
        while True:
            await self.sample()
            if path is not None and self.elapsed - written >= 60:
                written = self.elapsed
                path.write_text(json.dumps(self.document(None)) + "\n")
                print(f"{self.elapsed / 60:.0f} min {dict(self.outcomes)}", file=sys.stderr, flush=True)
            await asyncio.sleep(SAMPLE_S)

    async def sample(self) -> None:
        """Everybody's resident memory, this process (the users) too."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self._keep("users", pages * resource.getpagesize())
        for member in (*self.overlay.relays, *self.overlay.models):
            if member.process.returncode is None:
                with suppress(OSError, TimeoutError, ValueError):
                    self._keep(member.entry.name, (await member.status())["rss_bytes"])

    def _keep(self, name: str, size: int) -> None:
        # Packed: the users are this process, and their memory is judged too.
        times, sizes = self.memory.setdefault(name, (array("d"), array("d")))
        times.append(self.elapsed)
        sizes.append(size / MB)

    def growth(self) -> dict[str, float]:
        """MB an hour by process: the slope of least squares through the samples of the second half."""
        found = {}
        for name, (times, sizes) in self.memory.items():
            late = bisect_left(times, self.elapsed / 2)
            if len(times) - late > 2:
                slope = linear_regression([at / 3600 for at in times[late:]], sizes[late:]).slope
                found[name] = round(slope, 3)
        return found

    def course(self) -> dict[str, list[float]]:
        """The mean memory of every ten minutes, MB by process."""
        found = {}
        for name, (times, sizes) in self.memory.items():
            cuts = [bisect_left(times, at) for at in range(0, int(self.elapsed) + COURSE_S, COURSE_S)]
            found[name] = [round(fmean(sizes[low:high]), 2) for low, high in pairwise(cuts) if high > low]
        return found

    def document(self, tables: dict[str, Any] | None, judged: float = 0.0) -> dict[str, Any]:
        """All figures; `tables` once everybody has left."""
        return {
            "name": "overlay_soak",
            "machine": machine(),
            "minutes": round((judged or self.elapsed) / 60, 1),
            "finished": tables is not None,
            "outcomes": dict(self.outcomes),
            "restarts": self.restarts,
            "rubbish_cells": self.rubbish,
            "growth_mb_per_h": self.growth(),
            "rss_mb_by_ten_minutes": self.course(),
            "tables": tables,
        }


@asynccontextmanager
async def overlay_at(first_port: int, relays: int) -> AsyncIterator[ProcessOverlay]:
    """Relays and two model nodes on ports of their own: one that the system gives out may be taken while a relay is down."""
    with TemporaryDirectory() as folder:
        overlay = ProcessOverlay(Path(folder))
        try:
            for number in range(relays + 2):
                role, name = (Role.RELAY, f"relay-{number}") if number < relays else (Role.MODEL, f"model-{number - relays}")
                await overlay.add(role, name, addresses=[f"127.0.0.1:{first_port + number}"])
            await overlay.publish()
            yield overlay
        finally:
            await overlay.close()


async def soak(minutes: float, relays: int, users: int, seed: int, first_port: int, path: Path | None) -> dict[str, Any]:
    """The whole run; the document at its end."""
    async with overlay_at(first_port, relays) as overlay:
        run = Soak(overlay, random.Random(seed))
        asking = [UserNode(overlay.directory, os.urandom, path_sets=1) for _ in range(users)]
        for user in asking:
            await user.start()
        work = [run.ask_on(user, pause_s=users * 1.0) for user in asking]
        tasks = [asyncio.create_task(each) for each in (*work, run.churn(overlay.relays[-2:]), run.pester(), run.watch(path))]
        done, _ = await asyncio.wait(tasks, timeout=minutes * 60, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()
        judged = run.elapsed
        grown = run.document({}, judged)
        for user in asking:
            await user.close()
        for member in overlay.relays[-2:]:
            if member.process.returncode is not None:
                await overlay.restart(member)
        return {**grown, **verdict(grown, await at_rest(overlay), {each.entry.name for each in overlay.relays[-2:]})}


async def at_rest(overlay: ProcessOverlay) -> dict[str, Any]:
    """What every table holds once it holds nothing, or after long enough."""
    until = time.monotonic() + REST_S
    while True:
        tables = {}
        for member in (*overlay.relays, *overlay.models):
            status = await member.status()
            wanted = ("circuits", "links") if member.entry.role is Role.RELAY else ("sessions",)
            tables[member.entry.name] = {name: status[name] for name in wanted}
        if time.monotonic() > until or not any(count for held in tables.values() for count in held.values()):
            return tables
        await asyncio.sleep(5)


def verdict(document: dict[str, Any], tables: dict[str, Any], killed: set[str]) -> dict[str, Any]:
    """Whether the goals hold."""
    growth = {name: slope for name, slope in document["growth_mb_per_h"].items() if name not in killed}
    return {
        "tables": tables,
        "tables_at_zero": not any(count for held in tables.values() for count in held.values()),
        "most_growth_mb_per_h": max(growth.values(), default=0.0),
        "growth_holds": max(growth.values(), default=0.0) < MOST_GROWTH_MB_H,
    }


def main() -> int:
    """Run, print, and say by the exit code whether the goals hold."""
    parser = argparse.ArgumentParser(prog="python -m evals.overlay.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--relays", type=int, default=16)
    parser.add_argument("--users", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ports", type=int, default=28_600, help="the first of the ports to listen on")
    parser.add_argument("--json", type=Path, help="where the document goes; without it, to standard output at the end")
    arguments = parser.parse_args()
    document = asyncio.run(
        soak(arguments.minutes, arguments.relays, arguments.users, arguments.seed, arguments.ports, arguments.json)
    )
    text = json.dumps(document, indent=2)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")
    print(text)
    return 0 if document["tables_at_zero"] and document["growth_holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
