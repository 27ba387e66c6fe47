"""Does a relay carry 200 circuits within 512 MiB? One relay process that may not have more, its circuits, and their traffic.

    python -m evals.overlay.capacity                       # OUTPUT: --output json; --circuits 2000 for the limit of a link

The kernel holds the relay to that much address space (prlimit), which is more than what is resident. It is the first, the
middle and the last hop of a third of the circuits each, the others being two relays and a model node without a limit.
Every circuit is open at once and carries one clove of `--cells` cells a round, all at the same time; the model node
refuses them, which comes back over the circuit.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.overlay.processes import ProcessOverlay
from evals.report import Row, missed, row, show
from network.aio.circuits import CircuitPool, OpenCircuit
from network.cell import hand_over_cells
from network.geometry import CELL_BUCKETS, GEOMETRY, TOKEN
from network.ids import Role

MB = 1024 * 1024
MEMORY = 512 * MB
PATIENCE = 90.0
AT_ONCE = 20
USERS = 8  # links of their own to the first relays, whose set-ups are taken at a bounded rate by link


@dataclass
class Carried:
    """What was measured."""

    circuits: int
    idle_rss: int
    open_rss: int
    busy_rss: int
    cells: int
    seconds: float
    left: int


async def measure(circuits: int, rounds: int, cells: int) -> Carried:
    """Open the circuits, send over all of them at once, close them."""
    with tempfile.TemporaryDirectory() as folder:
        overlay = ProcessOverlay(Path(folder))
        pools = [CircuitPool(os.urandom, time.time, overlay.directory) for _ in range(USERS)]
        try:
            limited = await overlay.add(Role.RELAY, "limited", where=["prlimit", f"--as={MEMORY}"])
            for number in range(2):
                await overlay.add(Role.RELAY, f"relay-{number}")
            model = await overlay.add(Role.MODEL, "model")
            await overlay.publish()
            idle = await limited.status()
            held = await opened(pools, overlay, circuits)
            full = await limited.status()
            assert full["circuits"] >= circuits, f"the relay carries {full['circuits']} circuits"
            peak, began = full["rss_bytes"], time.monotonic()
            for _ in range(rounds):
                trips = asyncio.gather(*(trip(circuit, model.entry.node_id, cells) for circuit in held))
                while not trips.done():
                    await asyncio.wait([trips], timeout=0.5)
                    peak = max(peak, (await limited.status())["rss_bytes"])
                await trips
            seconds = time.monotonic() - began
            for circuit in held:
                circuit.close()
            left = await emptied(limited)
            return Carried(circuits, idle["rss_bytes"], full["rss_bytes"], peak, rounds * circuits * cells, seconds, left)
        finally:
            for pool in pools:
                await pool.close()
            await overlay.close()


async def opened(pools: list[CircuitPool], overlay: ProcessOverlay, circuits: int) -> list[OpenCircuit]:
    """That many open circuits, the limited relay in every position in turn."""
    first, *others = (member.entry for member in overlay.relays)
    held: list[OpenCircuit] = []
    until = time.monotonic() + PATIENCE + circuits / 10
    while len(held) < circuits:
        assert time.monotonic() < until, f"{len(held)} circuits opened in time"
        wanted = [[*others[:at], first, *others[at:]] for at in range(GEOMETRY.hops)]
        missing = min(AT_ONCE, circuits - len(held))
        numbers = range(len(held), len(held) + missing)
        tries = (pools[at % USERS].build(wanted[at % GEOMETRY.hops], lambda _: None, PATIENCE) for at in numbers)
        held += [circuit for circuit in await asyncio.gather(*tries) if circuit is not None]
    return held


async def trip(circuit: OpenCircuit, model: bytes, cells: int) -> None:
    """One clove there, and the model node's refusal back."""
    back = asyncio.get_running_loop().create_future()
    circuit.attach(lambda data: back.done() or back.set_result(data), lambda: back.done() or back.set_result(None))
    for data in hand_over_cells(model, os.urandom(TOKEN), os.urandom(GEOMETRY.sealed_clove(cells))):
        circuit.send(data)
    async with asyncio.timeout(PATIENCE):
        assert await back is not None, "a circuit ended instead of carrying"


async def emptied(relay: Any) -> int:
    """Circuits that the relay still holds a while after all were ended."""
    for _ in range(50):
        if not (left := (await relay.status())["circuits"]):
            return 0
        await asyncio.sleep(0.1)
    return int(left)


def rows(found: Carried) -> list[Row]:
    """The figures."""
    each = (found.open_rss - found.idle_rss) / found.circuits / 1024
    return [
        row("circuits_open_at_once", found.circuits, "", at_least=200.0),
        row("rss_idle", found.idle_rss / MB, "MiB"),
        row("rss_open", found.open_rss / MB, "MiB"),
        row("rss_busy", found.busy_rss / MB, "MiB", at_most=MEMORY / MB),
        row("rss_per_open_circuit", each, "KiB"),
        row("cells_per_s_forward", found.cells / found.seconds, "1/s"),
        row("circuits_left", found.left, "", at_most=0.0),
    ]


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m evals.overlay.capacity", description=__doc__.partition("\n")[0])
    parser.add_argument("--circuits", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cells", type=int, default=64, choices=CELL_BUCKETS)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    found = rows(asyncio.run(measure(arguments.circuits, arguments.rounds, arguments.cells)))
    show("relay_capacity", found, arguments.output)
    return 1 if missed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
