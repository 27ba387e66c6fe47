"""The engines of a side by side, as processes: fakes with a block cache, or llama.cpp servers with a real model.

Both tell what they read and what of it was cached; nothing about hits is taken from a router. `reset` makes a fleet as cold
as it can be: fakes forget everything, llama.cpp's slots are erased (its memory of lost prefixes is off here).
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from evals.forwarding.fake_engine import MODEL, EngineSpeed

START_S = 120.0


class FleetFailed(Exception):
    """Engines could not be started; the message quotes them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one engine has read: all tokens of its prompts, and those that it did not have to compute."""

    prompt_tokens: int = 0
    cached_tokens: int = 0


@dataclass(slots=True)
class Fleet:
    """Engines that run. `kind` is `fake` or `embedded`."""

    kind: str
    urls: list[str]
    model: str
    client: aiohttp.ClientSession
    slots: int = 1

    async def reset(self, speed: EngineSpeed | None = None) -> None:
        """Cold caches; fakes take new settings."""
        for url in self.urls:
            if self.kind == "fake":
                async with self.client.post(f"{url}/fake/reset", json=asdict(speed or EngineSpeed())) as answer:
                    answer.raise_for_status()
                continue
            for slot in range(self.slots):
                async with self.client.post(f"{url}/slots/{slot}?action=erase") as answer:
                    answer.raise_for_status()

    async def seen(self) -> list[Seen]:
        """What each has answered so far."""
        return [await (self._fake(url) if self.kind == "fake" else self._llama(url)) for url in self.urls]

    async def _fake(self, url: str) -> Seen:
        async with self.client.get(f"{url}/fake/stats") as answer:
            said = await answer.json()
        return Seen(said["prompt_tokens"], said["cached_tokens"])

    async def _llama(self, url: str) -> Seen:
        """llama.cpp counts the tokens that it computed and those that it did not have to, and no requests."""
        async with self.client.get(f"{url}/metrics") as answer:
            text = await answer.text()
        rows = {row.name: row.value for family in text_string_to_metric_families(text) for row in family.samples}
        computed, cached = (int(rows[f"llamacpp:prompt_tokens_{name}"]) for name in ("total", "cached_total"))
        return Seen(computed + cached, cached)


@asynccontextmanager
async def fake_fleet(ports: Sequence[int]) -> AsyncIterator[Fleet]:
    """Fake engines on these ports, all in one process."""
    argv = ["evals.forwarding.fake_engine", "--ports", *map(str, ports)]
    async with _children([argv]) as _, _client() as client:
        yield Fleet("fake", [f"http://127.0.0.1:{port}" for port in ports], MODEL, client)


@asynccontextmanager
async def embedded_fleet(ports: Sequence[int], model: Path, slots: int, context: int) -> AsyncIterator[Fleet]:
    """llama.cpp servers on these ports, a process each, one thread each."""
    shape = ["--model", str(model), "--slots", str(slots), "--context", str(context)]
    argvs = [["evals.forwarding.embedded_engine", "--port", str(port), *shape] for port in ports]
    async with _children(argvs) as _, _client() as client:
        yield Fleet("embedded", [f"http://127.0.0.1:{port}" for port in ports], model.stem, client, slots)


@asynccontextmanager
async def _client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30.0)) as client:
        yield client


@asynccontextmanager
async def _children(argvs: list[list[str]]) -> AsyncIterator[None]:
    """Processes of our own modules, each of which says one line of JSON once it listens."""
    processes = []
    try:
        for argv in argvs:
            start = asyncio.create_subprocess_exec(sys.executable, "-m", *argv, stdout=asyncio.subprocess.PIPE)
            processes.append(await start)
        for argv, process in zip(argvs, processes, strict=True):
            assert process.stdout is not None
            said = await asyncio.wait_for(process.stdout.readline(), START_S)
            if not said or "listening" not in json.loads(said):
                raise FleetFailed(f"{' '.join(argv)} did not start: {said.decode(errors='replace').strip() or 'see above'}")
        yield
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
