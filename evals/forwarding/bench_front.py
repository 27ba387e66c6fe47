"""CPU per request of fronts as processes: `python -m evals.forwarding.bench_front [--port-base 23600] [--output json]`.

Fake engines that take no time, a closed loop over kept connections, prompts that share 20 beginnings, answers of one event.
`alone`: one front beside one engine. `pair`: two, entered by turns, so that half of the prompts move to the other. CPU is the
kernel's clock of the fronts' processes, all of them together; the baseline is the same load straight to an engine.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from evals.forwarding.load import Ask, Entry, Outcome
from evals.forwarding.ours import ours
from evals.forwarding.prompt_plans import words
from evals.forwarding.router_processes import Running, running
from evals.report import Row, missed, row, show

SIZES = (400, 8_192, 32_768)
PREFIXES = 20
GOAL_US = 500.0
SEED = 7
WORD_BYTES = 4


def bodies(size: int, count: int) -> list[bytes]:
    """Chats of `size` characters, three quarters of them one of 20 beginnings."""
    rng = random.Random(f"{SEED} {size}")
    begin = [words(rng, size * 3 // 4 // WORD_BYTES) for _ in range(PREFIXES)]
    asked = [{"role": "user", "content": rng.choice(begin) + words(rng, size // 4 // WORD_BYTES)} for _ in range(count)]
    return [json.dumps({"model": "fake", "messages": [each], "stream": True, "max_tokens": 1}).encode() for each in asked]


async def closed_loop(urls: Sequence[str], asked: Sequence[bytes], at_once: int) -> list[Outcome]:
    """Every caller asks again as soon as it is answered; callers are spread over the entries."""
    entries = [Entry(url, {}) for url in urls]
    loop, waiting, found = asyncio.get_running_loop(), iter(asked), list[Outcome]()

    async def caller(entry: Entry) -> None:
        for body in waiting:
            found.append(await entry.ask(Ask(0.0, 0, body), loop.time()))

    await asyncio.gather(*(caller(entries[number % len(entries)]) for number in range(at_once)))
    for entry in entries:
        entry.close()
    return found


async def measured(running_: Running | None, urls: Sequence[str], size: int, requests: int) -> tuple[float, float, float]:
    """(CPU us per request, p50 us with one caller, requests a second with 16). Raises when an answer is not whole."""
    await closed_loop(urls, bodies(size, 60), 4)
    single = await closed_loop(urls, bodies(size, max(20, requests // 8)), 1)
    before, started = running_.cpu_s() if running_ else 0.0, time.perf_counter()
    many = await closed_loop(urls, bodies(size, requests), 16)
    spent, wall = (running_.cpu_s() if running_ else 0.0) - before, time.perf_counter() - started
    broken = [outcome for outcome in (*single, *many) if not outcome.whole]
    if broken:
        raise SystemExit(f"{len(broken)} of {len(single) + len(many)} answers were not whole: {broken[0].reason}")
    return spent / requests * 1e6, statistics.median(each.total_s for each in single) * 1e6, requests / wall


async def rows(port_base: int, requests: int) -> list[Row]:
    """Every size, beside the engines themselves."""
    ports = [port_base + number for number in range(2)]
    words_ = ("-m", "evals.forwarding.fake_engine", "--ports", *map(str, ports), "--token-us", "0", "--step-ms", "0")
    engines = [f"http://127.0.0.1:{port}" for port in ports]
    found: list[Row] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        quiet = asyncio.subprocess.PIPE
        fake = await asyncio.create_subprocess_exec(sys.executable, *words_, "--answer-ms", "0", stdout=quiet)
        stack.callback(fake.terminate)
        assert fake.stdout is not None
        await fake.stdout.readline()
        for name, count in (("alone", 1), ("pair", 2)):
            (folder / name).mkdir()
            at = range(port_base + 10 * count, port_base + 10 * count + 2 * count)
            async with running(ours(count)[0], at, engines[:count], folder / name) as fronts:
                for size in SIZES:
                    _, direct_us, _ = await measured(None, engines[:count], size, requests)
                    cpu_us, p50_us, rate = await measured(fronts, fronts.entries, size, requests)
                    goal = GOAL_US if size <= 32_768 else None
                    found.append(row(f"cpu_us.{name}.{size}", cpu_us, "us", at_most=goal))
                    found.append(
                        row(f"p50_us.{name}.{size}", p50_us, "us", baseline="the engine itself", baseline_value=direct_us)
                    )
                    found.append(row(f"rate.{name}.{size}", rate, "1/s"))
    return found


def main() -> int:
    """Measures, prints, and fails when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.bench_front")
    parser.add_argument("--port-base", type=int, default=23600)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    found = asyncio.run(rows(options.port_base, options.requests))
    show("front", found, options.output)
    return 1 if missed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
