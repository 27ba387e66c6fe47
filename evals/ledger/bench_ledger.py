"""The ledger's speed beside CometBFT's own kvstore: `python -m evals.ledger.bench_ledger [--output json] [--seconds N]`.

Claim: signatures, proofs and durability in Python cost less than half of what consensus can carry. In one run, one after
the other: 4 validators of ours, 4 validators of CometBFT's in-process kvstore (in memory, no signatures, no proofs) with the
same settings and transactions of the same length; then one replica's application alone. Exit codes: 0 every goal holds,
1 one is missed, 3 cannot run, 130 interrupted.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.ledger import inprocess
from evals.ledger.chain import REPOSITORY, BenchError, Chain
from evals.ledger.figures import (
    CHAIN_ID,
    block_rate,
    document,
    figure,
    pair_like,
    percentile,
    registration,
    renewal,
    signers,
    table,
    wire,
)
from evals.ledger.load import Outcome, client
from evals.report import Figure, commit, machine
from localnet.setup.aio import comet
from localnet.setup.pins import layout

IN_FLIGHT = 2_000
SIGNERS = 2_500  # more than may be in flight, since each has one under way at most
MOST_PER_SECOND = 2_500  # what is prepared for each second of the saturated phase; it ends earlier where that runs out
RAMP_S = 2.0
BASELINE = "4 validators of CometBFT's in-process kvstore, same settings, same length"


@dataclass
class Prepared:
    """Three phases' transactions: a registration each, then renewals, by signer in nonce order."""

    registrations: list[bytes]
    saturated: list[list[bytes]]
    offered: list[list[bytes]]

    def lanes(self, part: list[list[bytes]], ours: bool) -> list[deque[str]]:
        """One phase's transactions as they are sent: ours, or the kvstore's of the same length."""
        return [deque(wire(raw if ours else pair_like(raw)) for raw in lane) for lane in part]


@dataclass
class Run:
    """What one chain did."""

    joined: Outcome
    full: Outcome
    offered: Outcome
    cpu: dict[str, float]
    refused: int
    restart_s: float

    def rate(self, outcome: Outcome, ramp: float) -> float:
        """Transactions finalised per second once the pipeline is full, until the last block."""
        return block_rate([block for block in outcome.blocks if block[1]], outcome.began + ramp, float("inf"))

    def cpu_us(self, *kinds: str) -> float:
        """Microseconds of CPU, over all four validators, per transaction of the saturated phase."""
        return sum(self.cpu.get(kind, 0.0) for kind in kinds) / max(1, len(self.full.latencies)) * 1e6


def main() -> int:
    """Measures, prints, and fails when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m evals.ledger.bench_ledger")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each of the four load phases")
    parser.add_argument("--rate", type=float, default=800.0, help="transactions offered per second in the latency phase")
    parser.add_argument("--port-base", type=int, default=24000, help="the first port to try; 12 free ones are taken")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    described = f"{machine()}, load average {os.getloadavg()[0]:.1f} before the run"
    try:
        figures = measure(options.seconds, options.rate, options.port_base)
    except BenchError as error:
        print(f"bench_ledger: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("bench_ledger: interrupted; its processes have ended", file=sys.stderr)
        return 130
    show = document if options.output == "json" else table
    print(show(commit(), described, figures))
    return 0 if all(row.holds is not False for row in figures) else 1


def measure(seconds: float, rate: float, port_base: int) -> list[Figure]:
    """Everything, in a fixed order. Raises BenchError."""
    binary = comet.find(layout(REPOSITORY, os.environ))
    if binary is None:
        raise BenchError("no CometBFT of the pinned version; `python3 -m localnet.setup --only cometbft` builds it")
    prepared = prepare(seconds, rate)
    runs = []
    for ours in (True, False):
        with Chain(binary, ours, port_base) as chain:
            say(f"{chain.name}: running on {chain.validators[0].rpc}")
            runs.append(asyncio.run(drive(chain, prepared, ours, seconds, rate)))
            say(f"{chain.name}: killing and restarting one validator")
            runs[-1].restart_s = chain.restart()
    with tempfile.TemporaryDirectory(prefix="ps-bench-") as folder:
        return [*of_chains(runs[0], runs[1], rate), *inprocess.measure(Path(folder), say)]


def prepare(seconds: float, rate: float) -> Prepared:
    """Sign everything before any clock starts."""
    keys = signers(SIGNERS)
    full = int(seconds * MOST_PER_SECOND / SIGNERS) + 1
    offered = int(seconds * rate / SIGNERS) + 2
    say(f"signing {SIGNERS * (1 + full + offered)} transactions of {SIGNERS} signers")
    return Prepared(
        [registration(number, key, CHAIN_ID) for number, key in enumerate(keys)],
        [[renewal(key, turn, CHAIN_ID) for turn in range(1, full + 1)] for key in keys],
        [[renewal(key, turn, CHAIN_ID) for turn in range(full + 1, full + offered + 1)] for key in keys],
    )


async def drive(chain: Chain, prepared: Prepared, ours: bool, seconds: float, rate: float) -> Run:
    """The three load phases on a running chain."""
    joining = prepared.lanes([[raw] for raw in prepared.registrations], ours)
    renewing, offering = prepared.lanes(prepared.saturated, ours), prepared.lanes(prepared.offered, ours)
    async with client([validator.rpc for validator in chain.validators]) as (load, watching):
        joined = await phase(load.saturate(joining, IN_FLIGHT, 60.0), watching)
        say(f"{chain.name}: {IN_FLIGHT} in flight for {seconds:g} s")
        before = chain.cpu_seconds()
        full = await phase(load.saturate(renewing, IN_FLIGHT, seconds), watching)
        cpu = {kind: used - before.get(kind, 0.0) for kind, used in chain.cpu_seconds().items()}
        say(f"{chain.name}: {len(full.latencies)} finalised; {rate:g}/s offered for {seconds:g} s")
        offered = await phase(load.offer(offering, rate, seconds), watching)
        return Run(joined, full, offered, cpu, await load.refused(), 0.0)


async def phase(work: Coroutine[Any, Any, Outcome], watching: "asyncio.Task[None]") -> Outcome:
    """A phase's outcome, or what ended the watching that it depends on."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait((task, watching), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            watching.result()
        outcome = await task
    finally:
        task.cancel()
    if not outcome.latencies:
        raise BenchError(f"none of {outcome.sent} transactions was finalised; is the machine busy with something else?")
    return outcome


def of_chains(ours: Run, base: Run, rate: float) -> list[Figure]:
    """The figures of the two chains, side by side."""
    ms = 1e3
    rows = [
        figure(
            f"finalised_{IN_FLIGHT}_in_flight",
            ours.rate(ours.full, RAMP_S),
            "tx/s",
            BASELINE,
            base.rate(base.full, RAMP_S),
            least=1_800,
            least_ratio=0.65,
        ),
        figure("registrations_finalised", ours.rate(ours.joined, 0.0), "tx/s", BASELINE, base.rate(base.joined, 0.0)),
    ]
    for name, mine, theirs in (
        (f"{IN_FLIGHT}_in_flight", ours.full.latencies, base.full.latencies),
        (f"{rate:g}_offered", ours.offered.latencies, base.offered.latencies),
    ):
        for share in (0.5, 0.95):
            most = 1.3 if share == 0.95 and mine is ours.offered.latencies else None
            own, other = percentile(mine, share) * ms, percentile(theirs, share) * ms
            rows.append(figure(f"latency_{name}_p{share * 100:.0f}", own, "ms", BASELINE, other, most_ratio=most))
    lost = [run.joined.missing + run.full.missing + run.offered.missing for run in (ours, base)]
    return [
        *rows,
        figure(f"finalised_{rate:g}_offered", ours.rate(ours.offered, 0.0), "tx/s", BASELINE, base.rate(base.offered, 0.0)),
        figure("cpu_per_tx_4_validators", ours.cpu_us("comet", "app"), "us", BASELINE, base.cpu_us("comet", "app")),
        figure("cpu_per_tx_4_applications", ours.cpu_us("app"), "us"),
        figure("lost_or_refused", lost[0] + ours.refused, "tx", BASELINE, lost[1] + base.refused, most=0),
        figure(
            "restart_to_level",
            ours.restart_s,
            "s",
            "the same of the kvstore, which replays every block",
            base.restart_s,
            most=2,
        ),
    ]


def say(what: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
