"""Brings a network up: in stages, each shown while it waits, until the gateway has circuits and everybody is listed.

Validators come first, because everybody registers on their chain; then relays in small groups and engines one by one,
so that two cores are never asked to import forty interpreters' worth of modules at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TextIO

from localnet.aio.home import Home
from localnet.aio.probe import Probe
from localnet.errors import LocalnetError
from localnet.plan import PlannedNode
from localnet.setup.aio.stages import Stage

POLL_SECONDS = 0.25
GROUP_SIZE = 4
GROUP_PAUSE = 0.5
PATIENCE_SECONDS = 180.0
FIRST_HEIGHT = 1


class Start:
    """One run of `localnet up` on one home. It appends to `started` the names of the nodes that it began."""

    def __init__(self, home: Home, probe: Probe, out: TextIO, started: list[str]) -> None:
        self._home, self._probe, self._out = home, probe, out
        self.started = started

    async def run(self, missing: Sequence[PlannedNode]) -> None:
        """Start these nodes and wait until the whole network serves. Raises LocalnetError."""
        by_role = {role: [node for node in missing if node.role == role] for role in ("validator", "relay", "model", "gateway")}
        with self._stage(f"committee: {len(self._home.plan.of('validator'))} validators") as stage:
            self._launch(by_role["validator"])
            await self._until(stage, self._committee)
        relays, models = len(self._home.plan.of("relay")), len(self._home.plan.of("model"))
        rest = [*by_role["model"], *by_role["relay"]]
        with self._stage(f"{relays} relays and {models} model nodes") as stage:
            for begin in range(0, len(rest), GROUP_SIZE):
                self._launch(rest[begin : begin + GROUP_SIZE])
                await asyncio.sleep(GROUP_PAUSE)
            self._launch(by_role["gateway"])
            await self._until(stage, self._roles)
        with self._stage("directory") as stage:
            await self._until(stage, self._listed)
        with self._stage("gateway") as stage:
            await self._until(stage, self._serving)

    def _stage(self, name: str) -> Stage:
        return Stage(name, self._home.path / "up.log", self._out)

    def _launch(self, nodes: Sequence[PlannedNode]) -> None:
        for node in nodes:
            self.started.append(node.name)
            self._home.herd.start(node.name, node.module)

    async def _until(self, stage: Stage, done: Callable[[], Awaitable[tuple[bool, str]]]) -> None:
        """Poll until `done`, showing its words; a node that dies, or a wait without end, is an error."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            finished, words = await done()
            if finished:
                stage.result = words
                return
            stage.detail(words)
            living = self._home.herd.living()
            dead = [name for name in self.started if name not in living]
            if dead:
                raise LocalnetError(f"{dead[0]} ended while it started. {last_words(self._home.path, dead[0])}", "")
            if time.monotonic() > deadline:
                raise LocalnetError(
                    f"still waiting after {PATIENCE_SECONDS:.0f} s: {words}",
                    f"read the logs: planetserve localnet logs NAME --home {self._home.path}",
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _committee(self) -> tuple[bool, str]:
        views = await asyncio.gather(*(self._probe.chain(rpc) for rpc in self._home.plan.rpc))
        heights = [view.height for view in views if view is not None and not view.catching_up]
        if any(view is not None and view.chain_id != self._home.plan.manifest.chain_id for view in views):
            raise LocalnetError("another chain answers on a validator's port", "use --port-base")
        ready = [height for height in heights if height >= FIRST_HEIGHT]
        return len(ready) == len(views), f"{len(ready)} of {len(views)} at height {max(heights, default=0)}"

    async def _roles(self) -> tuple[bool, str]:
        nodes = [*self._home.plan.of("relay"), *self._home.plan.of("model")]
        views = await asyncio.gather(*(self._probe.ops(node.metrics) for node in nodes))
        up = sum(view is not None for view in views)
        return up == len(nodes), f"{up} of {len(nodes)} up"

    async def _listed(self) -> tuple[bool, str]:
        record = await self._probe.directory(self._home.plan.rpc[0])
        names = {entry.name for entry in record.entries} if record else set()
        wanted = {node.name for node in (*self._home.plan.of("relay"), *self._home.plan.of("model"))}
        listed = len(wanted & names)
        height = f", written at height {record.height}" if record else ""
        return listed == len(wanted), f"{listed} of {len(wanted)} nodes listed{height}"

    async def _serving(self) -> tuple[bool, str]:
        view = await self._probe.ops(self._home.plan.gateway.metrics)
        if view is None:
            return False, "starting"
        return view.ready, view.reason or "circuits are built"


def last_words(home: Path, name: str) -> str:
    """The end of a node's log, for the message about its death."""
    try:
        rows = (home / name / "log").read_text(errors="replace").splitlines()
    except OSError:
        return "It wrote no log."
    tail = "\n".join(f"    {row[:300]}" for row in rows[-8:])
    return f"Its last words ({home / name / 'log'}):\n{tail}" if tail else "Its log is empty."
