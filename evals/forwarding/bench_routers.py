"""Ours beside the central routers, over the same engines, in turns: `make bench-forwarding`.

    python -m evals.forwarding.routers install                    # once: the others, in an environment of their own
    python -m evals.forwarding.bench_routers [--quick] [--output json]
    python -m evals.forwarding.bench_routers --state run.jsonl --slice 280    # in pieces; exit code 5 = more to do

Every cell is one router, started afresh, in front of engines with cold caches, under one plan of arrivals; a round is all
cells once, the order turned by one each round. Times are the user's, hits the engines', CPU the kernel's, bytes between routers
those of their sockets (ours: of their counters). The first two fifths of a cell warm up and do not count. Ours has one
front per engine and each request enters at a random one; `none` is the same fronts answering where a request enters.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

import aiohttp

from evals.forwarding.fleets import Fleet, FleetFailed, embedded_fleet, fake_fleet
from evals.forwarding.load import drive, summary
from evals.forwarding.ours import ours
from evals.forwarding.prompt_plans import SCENARIOS, WARM_UP, Scenario, plan
from evals.forwarding.router_figures import Cell, Reading, rows, show_table
from evals.forwarding.router_processes import RouterFailed, Running, running
from evals.forwarding.routers import ROUTERS, Router, missing, production_stack
from evals.report import document
from serving_node.models.catalogue import PUBLISHED, models_folder

PORTS_OF_ENGINES, PORTS_OF_ROUTERS = 8, 24
SLOTS, SLOT_CONTEXT = 2, 1024
EMBEDDED_TIMES = 3
SETTLE_S = 1.0


class Side:
    """What a side by side is made of."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.seconds: float = options.seconds
        self.rounds: int = options.rounds
        self.scenarios = [SCENARIOS[name] for name in options.scenarios]
        self.left_out: dict[str, str] = {}
        self.routers: list[Router] = []
        offered = [*ours(4), *ROUTERS, *([production_stack(options.production_stack)] if options.production_stack else [])]
        for router in offered:
            if options.only and router.name not in options.only:
                continue
            reason = missing(router.package) if router.package else ""
            if reason:
                self.left_out[router.name] = reason
            else:
                self.routers.append(router)
        if not options.production_stack:
            self.left_out["production-stack"] = "no package index carries it; --production-stack PYTHON names one that has it"
        self.base: int = options.port_base
        self.model: Path = options.model or models_folder(os.environ, Path.home()) / PUBLISHED.name

    def cells(self) -> list[tuple[int, Scenario, Router]]:
        """Every cell in the order in which it is run."""
        found = []
        for turn in range(self.rounds):
            order = self.routers[turn % len(self.routers) :] + self.routers[: turn % len(self.routers)]
            found += [(turn, scenario, router) for scenario in self.scenarios for router in order]
        return found

    def lasts(self, scenario: Scenario) -> float:
        """How long requests arrive in a cell; real engines on a processor are given longer."""
        return self.seconds * (EMBEDDED_TIMES if scenario.fleet == "embedded" else 1)

    def router_ports(self, number: int) -> list[int]:
        """Ports that the cell before did not use."""
        first = self.base + PORTS_OF_ENGINES + number % 4 * PORTS_OF_ROUTERS
        return list(range(first, first + PORTS_OF_ROUTERS))


async def measure(side: Side, fleet: Fleet, turn: int, scenario: Scenario, router: Router, number: int, folder: Path) -> Cell:
    """One cell."""
    await fleet.reset(scenario.speed)
    ports = side.router_ports(number)[: router.ports]
    try:
        async with running(router, ports, fleet.urls, folder) as found:
            await asyncio.sleep(SETTLE_S)
            quiet = await _reading(fleet, found)
            await asyncio.sleep(SETTLE_S)
            quiet = (await _reading(fleet, found)).since(quiet)
            return await _drive(side, fleet, Cell(scenario.name, router.name, turn, quiet=quiet), scenario, found)
    except RouterFailed as error:
        return Cell(scenario.name, router.name, turn, error=str(error))


async def _drive(side: Side, fleet: Fleet, cell: Cell, scenario: Scenario, found: Running) -> Cell:
    seconds = side.lasts(scenario)
    asked = plan(scenario, seconds, len(found.entries), cell.turn, fleet.model)
    watch = asyncio.create_task(_at_warm(WARM_UP * seconds, fleet, found))
    outcomes = await drive(asked, found.entries)
    cell.summary, cell.counted = summary(outcomes), (await _reading(fleet, found)).since(await watch)
    return cell


async def _at_warm(after: float, fleet: Fleet, found: Running) -> Reading:
    """What all counters say when counting begins."""
    await asyncio.sleep(after)
    return await _reading(fleet, found)


async def _reading(fleet: Fleet, found: Running) -> Reading:
    engines = await fleet.seen()
    return Reading(
        time.monotonic(),
        found.cpu_s(),
        await found.bytes_between(fleet.client),
        [engine.prompt_tokens for engine in engines],
        sum(engine.cached_tokens for engine in engines),
    )


def load_state(path: Path | None) -> list[Cell]:
    """The cells that an earlier slice has left."""
    if path is None or not path.exists():
        return []
    return [Cell.from_json(json.loads(line)) for line in path.read_text().splitlines()]


async def run(side: Side, done: list[Cell], state: Path | None, stop_after: float) -> bool:
    """Measure what is missing into `done`; false when the slice's time is up first."""
    known = {(cell.turn, cell.scenario, cell.router) for cell in done}
    todo = [(number, *cell) for number, cell in enumerate(side.cells()) if (cell[0], cell[1].name, cell[2].name) not in known]
    until = time.monotonic() + stop_after
    async with AsyncExitStack() as stack:
        fleets = await _fleets(side, {(scenario.fleet, scenario.engines) for _, _, scenario, _ in todo}, stack)
        for number, turn, scenario, router in todo:
            if time.monotonic() + side.lasts(scenario) > until:
                return False
            fleet = fleets[scenario.fleet]
            with tempfile.TemporaryDirectory() as folder:
                cell = await measure(side, fleet, turn, scenario, router, number, Path(folder))
            done.append(cell)
            print(cell.line(), file=sys.stderr, flush=True)
            if state is not None:
                with state.open("a") as kept:
                    kept.write(json.dumps(asdict(cell)) + "\n")
    return True


async def _fleets(side: Side, wanted: set[tuple[str, int]], stack: AsyncExitStack) -> dict[str, Fleet]:
    """The engines that these cells ask for."""
    found = {}
    for kind, engines in wanted:
        first = side.base + (PORTS_OF_ENGINES // 2 if kind == "embedded" else 0)
        ports = list(range(first, first + engines))
        real = kind == "embedded"
        started = embedded_fleet(ports, side.model, SLOTS, SLOT_CONTEXT * SLOTS) if real else fake_fleet(ports)
        found[kind] = await stack.enter_async_context(started)
    return found


def main() -> int:
    """Measure and print."""
    options = _options()
    # Whoever ends us ends what we started, too: children go as the run unwinds.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    side = Side(options)
    done = load_state(options.state)
    whole = True
    try:
        whole = options.report or asyncio.run(run(side, done, options.state, options.slice))
    except KeyboardInterrupt:
        return 130
    except FleetFailed as error:
        print(f"bench_routers: {error}", file=sys.stderr)
        return 1
    except (OSError, aiohttp.ClientError) as error:
        print(
            f"bench_routers: {error}; are ports {side.base} to {side.base + 128} free? --port-base moves them", file=sys.stderr
        )
        return 1
    if not whole:
        print(f"{len(done)} of {len(side.cells())} cells are in {options.state}; run the same command again", file=sys.stderr)
        return 5
    if options.output == "json":
        print(json.dumps(document("forwarding-routers", rows(done)), indent=2))
    else:
        show_table(done, side.left_out)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.bench_routers", description="Ours beside other routers.")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of all cells (5; 2 with --quick)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of arrivals in a cell (10)")
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--scenarios", nargs="+", choices=sorted(SCENARIOS), default=list(SCENARIOS))
    parser.add_argument("--only", nargs="+", help="these routers")
    parser.add_argument("--production-stack", metavar="PYTHON", help="an interpreter that has production-stack's router")
    parser.add_argument("--state", type=Path, help="keep cells here, and do not repeat those that are there")
    parser.add_argument("--slice", type=float, default=float("inf"), help="stop after so many seconds; needs --state")
    parser.add_argument("--report", action="store_true", help="print what --state holds, and measure nothing")
    parser.add_argument("--model", type=Path, help="the GGUF file of the embedded engines (SmolLM2)")
    parser.add_argument("--port-base", type=int, default=24200)
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 5)
    if options.slice != float("inf") and options.state is None:
        parser.error("--slice needs --state, where the next slice finds what this one measured")
    if options.report and options.state is None:
        parser.error("--report needs --state")
    return options


if __name__ == "__main__":
    sys.exit(main())
