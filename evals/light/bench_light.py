"""What following the ledger without trust costs: `python -m evals.light.bench_light [--output json] [--seconds N]`.

Claim: a relay proves what it routes by for a few milliseconds of CPU and some kilobytes each time, however long it was
away. First alone: one header checked, a long absence caught up by skipping, beside checking every header. Then over a
real chain of 4 validators: the light client as a role runs it, its witnesses included. Exit codes: 0 every goal holds,
1 one is missed, 3 cannot run.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence

from evals.ledger.chain import REPOSITORY, BenchError, Chain
from evals.light.blocks import BLOCK_S, CHAIN_ID, History
from evals.report import Row, missed, row, show
from localnet.setup.aio import comet
from localnet.setup.pins import layout
from network.aio.chain_client import ChainClient
from network.chain_records import PARAMS_KEY
from network.light import Trusted, check_step, skip, trusted
from network.light_json import genesis_trust

AWAY = 100_000  # blocks; more than a day of a block a second
CHURN = 1_000  # blocks after which one of the four is another
PERIOD = 10.0 * AWAY * BLOCK_S
REPEAT = 30


def median(samples: Sequence[float]) -> float:
    """The middle sample."""
    return sorted(samples)[len(samples) // 2]


def clocked(run: Callable[[], object]) -> float:
    """Milliseconds of CPU of one run."""
    began = time.process_time()
    run()
    return (time.process_time() - began) * 1e3


def one_header(members: int) -> Row:
    """One header checked from its neighbour: hashes, sign bytes, and as many signatures as 2/3 need."""
    history = History(members, CHURN)
    base, block = trusted(history.block(1)), history.block(2)
    samples = [clocked(lambda: step(base, history, 2)) for _ in range(REPEAT)]
    assert block.height == 2
    return row(f"header_{members}_validators_cpu", median(samples), "ms", samples=samples)


def step(base: Trusted, history: History, height: int) -> Trusted:
    """Check one block from another state."""
    check_step(CHAIN_ID, base, history.block(height), now=history.now, trusting_period=PERIOD)
    return trusted(history.block(height))


def long_absence() -> list[Row]:
    """A day's blocks with a committee that changes a member every thousand, skipped over; beside every header checked."""
    history = History(4, CHURN)
    fetched = [AWAY]
    for height in (1, AWAY):
        history.block(height)
    base = trusted(history.block(1))
    walk = skip(CHAIN_ID, base, history.block(AWAY), now=history.now, trusting_period=PERIOD)
    spent = 0.0
    try:
        began = time.process_time()
        wanted = next(walk)
        while True:
            spent += time.process_time() - began
            fetched.append(wanted)
            block = history.block(wanted)  # signing it is not the client's work
            began = time.process_time()
            wanted = walk.send(block)
    except StopIteration as done:
        spent += time.process_time() - began
        verified = len(done.value)
    every = AWAY * median([clocked(lambda: step(base, history, 2)) for _ in range(REPEAT)])
    baseline = f"every one of {AWAY:,} headers checked (one measured, times {AWAY:,})"
    return [
        row("away_headers_fetched", len(fetched), "", baseline=baseline, baseline_value=AWAY, at_most=AWAY / 100),
        row("away_headers_verified", verified, ""),
        row("away_cpu", spent * 1e3, "ms", baseline=baseline, baseline_value=every, ratio_at_most=0.01),
    ]


async def following(chain: Chain, seconds: float) -> list[Row]:
    """Proven reads over a real chain, one a second, from four addresses."""
    genesis = genesis_trust(chain.genesis.read_bytes())
    client = ChainClient([validator.rpc for validator in chain.validators], genesis)
    await client.start()
    cpu: list[float] = []
    wall: list[float] = []
    try:
        await client.read(PARAMS_KEY)
        before, counts = client.bytes_read, dict(client.light.counts)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            await asyncio.sleep(1.0)
            began, used = time.perf_counter(), time.process_time()
            await client.read(PARAMS_KEY)
            cpu.append((time.process_time() - used) * 1e3)
            wall.append((time.perf_counter() - began) * 1e3)
        reads = len(cpu)
        verified = client.light.counts["verified"] - counts["verified"]
        confirmed = client.light.counts["confirmed"] - counts.get("confirmed", 0)
        return [
            row("read_cpu", median(cpu), "ms", at_most=20.0, samples=cpu),
            row("read_latency", median(wall), "ms", samples=wall),
            row("read_bytes", (client.bytes_read - before) / reads, "B"),
            row("read_headers_verified", verified / reads, ""),
            row("read_confirmed", confirmed / reads, "", at_least=0.9),
        ]
    finally:
        await client.close()


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m evals.light.bench_light", description=__doc__.partition("\n")[0])
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the real chain is followed; 0: not at all")
    parser.add_argument("--port-base", type=int, default=21_800, help="the real chain's first port")
    arguments = parser.parse_args()
    binary = comet.find(layout(REPOSITORY, os.environ))
    if binary is None and arguments.seconds:
        print("the bench needs CometBFT: make setup", file=sys.stderr)
        return 3
    rows = [one_header(4), one_header(100), *long_absence()]
    try:
        if binary is not None and arguments.seconds:
            with Chain(binary, True, arguments.port_base) as chain:
                rows += asyncio.run(following(chain, arguments.seconds))
    except BenchError as error:
        print(f"the bench stopped: {error}", file=sys.stderr)
        return 3
    show("light", rows, arguments.output)
    return int(missed(rows))


if __name__ == "__main__":
    sys.exit(main())
