"""Routers as processes: started, waited for, measured from outside (CPU, bytes on their mesh), ended.

CPU is the kernel's clock of each process, threads included; bytes between routers are those of their TCP sockets, by `ss`.
"""

import asyncio
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from evals.forwarding.routers import Launch, Router

START_S, ASK_S, END_S, MEET_S = 30.0, 5.0, 3.0, 10.0
SENT = ("planetserve_group_bytes_sent_total",)


class RouterFailed(Exception):
    """A router did not start; the message quotes its last words."""


@dataclass(slots=True)
class Running:
    """Router processes that take requests."""

    launches: list[Launch]
    processes: list[asyncio.subprocess.Process]

    @property
    def entries(self) -> list[str]:
        """Where users enter."""
        return [f"http://127.0.0.1:{launch.entry}" for launch in self.launches]

    def cpu_s(self) -> float:
        """CPU seconds of all processes so far."""
        return sum(cpu_seconds(process.pid) for process in self.processes)

    async def bytes_between(self, client: aiohttp.ClientSession) -> int | None:
        """Bytes that the routers have sent one another so far, where they talk at all; None where `ss` is missing."""
        pages = [launch.counters for launch in self.launches if launch.counters]
        ports = [port for launch in self.launches for port in launch.mesh]
        if not ports:
            return sum([await _counted(client, page) for page in pages])
        return socket_bytes(ports)


def cpu_seconds(pid: int) -> float:
    """What a process and its threads have used (clock_getcpuclockid(3): the clock's number follows from the process's)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def socket_bytes(ports: Sequence[int]) -> int | None:
    """Bytes sent over all established connections that end at one of these ports, both ways."""
    wanted = " or ".join(f"sport = :{port} or dport = :{port}" for port in ports)
    try:
        said = subprocess.run(["ss", "-tinHO", wanted], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return sum(int(number) for number in re.findall(r"bytes_sent:(\d+)", said))


async def _counted(client: aiohttp.ClientSession, page: str) -> int:
    """Bytes that a front of ours has sent to others of its group: its posts, and its answers to theirs."""
    async with client.get(page) as answer:
        text = await answer.text()
    rows = {row.name: row.value for family in text_string_to_metric_families(text) for row in family.samples}
    return int(sum(rows.get(name, 0.0) for name in SENT))


@asynccontextmanager
async def running(router: Router, ports: Sequence[int], engines: Sequence[str], folder: Path) -> AsyncIterator[Running]:
    """A router in front of these engines, once it takes requests and knows them all. Raises RouterFailed."""
    launches, log = router.launches(ports, engines, folder), folder / "log"
    environment = {**os.environ, **router.environment}
    processes: list[asyncio.subprocess.Process] = []
    with log.open("ab") as said:
        try:
            for launch in launches:
                start = asyncio.create_subprocess_exec(*launch.argv, stdout=said, stderr=said, env=environment)
                processes.append(await start)
            found = Running(launches, processes)
            await _wait_ready(found, len(engines), log)
            yield found
        finally:
            await _end(processes)


async def _wait_ready(found: Running, engines: int, log: Path) -> None:
    until = time.monotonic() + START_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ASK_S)) as client:
        for launch, process in zip(found.launches, found.processes, strict=True):
            while not await _knows_all(client, launch.ready, engines):
                if process.returncode is not None or time.monotonic() > until:
                    words = log.read_text(errors="replace")[-600:].strip()
                    ended = "" if process.returncode is None else f" and ended with {process.returncode}"
                    raise RouterFailed(f"did not take requests within {START_S:.0f} s{ended}; it said: {words or 'nothing'}")
                await asyncio.sleep(0.1)
        until = time.monotonic() + MEET_S
        while await found.bytes_between(client) == 0 and _meets(found) and time.monotonic() < until:
            await asyncio.sleep(0.1)


def _meets(found: Running) -> bool:
    """Whether these routers have sockets of their own to one another."""
    return any(launch.mesh for launch in found.launches)


async def _knows_all(client: aiohttp.ClientSession, url: str, engines: int) -> bool:
    """Whether this readiness page says yes; where it counts workers, whether it has counted them all."""
    try:
        async with client.get(url) as answer:
            if answer.status != 200:
                return False
            said = await answer.json(content_type=None)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return False
    if not isinstance(said, dict):
        return True
    fellows = said.get("fellows", {})
    return said.get("healthy_workers", engines) == engines and said.get("ready", True) is True and all(fellows.values())


async def _end(processes: Sequence[asyncio.subprocess.Process]) -> None:
    """Ask to end, then insist; only those that were started here."""
    alive = [process for process in processes if process.returncode is None]
    for process in alive:
        process.terminate()
    for process in alive:
        try:
            await asyncio.wait_for(process.wait(), END_S)
        except TimeoutError:
            process.kill()
            await process.wait()
