"""What the exchange costs one member of a large group: `python -m evals.forwarding.bench_sync [--members 64] [--output json]`.

One member hears from all others and tells all others, by real posts, on a virtual clock; only its own work is timed, without
HTTP. Each member serves conversations that grow by a few chunks a turn. Baseline: verifying one Ed25519 signature for every
post, as an exchange that signs each must at least do.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from evals.report import Row, missed, row, show
from network.crypto import SigningKey, verify
from network.hrtree.delta import ChangeKind, LoadReport
from network.hrtree.index import HRIndex
from network.hrtree.sync import Sync
from network.ids import node_id
from serving_node.aio.exchange import flush_period

WALL_MS = 1_800_000_000_000
T = TypeVar("T")


class Clocked:
    """Adds up the CPU time of one member's work."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = 0

    def __call__(self, work: Callable[[], T]) -> T:
        """Runs one piece of it."""
        started = time.process_time()
        result = work()
        self.seconds += time.process_time() - started
        self.calls += 1
        return result


def main() -> int:
    """Measures, prints, fails when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.bench_sync")
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120.0, help="of virtual time")
    parser.add_argument("--rate", type=float, default=1.0, help="requests a second at each member")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    rows = measure(options.members, options.seconds, options.rate)
    show("forwarding-sync", rows, options.output)
    return 1 if missed(rows) else 0


def measure(members: int, seconds: float, rate: float) -> list[Row]:
    """One member's CPU, by what it does."""
    draw = random.Random(64)
    keys = [SigningKey((number + 1).to_bytes(32, "big")) for number in range(members)]
    ids = [node_id(key.public) for key in keys]
    syncs = [Sync(own, key, HRIndex("bench", "m"), 1) for own, key in zip(ids, keys, strict=True)]
    for number, sync in enumerate(syncs):
        sync.set_members({ids[other]: keys[other].public for other in range(members) if other != number})
    one, hearing, telling = syncs[0], Clocked(), Clocked()
    talks = [[draw.randbytes(draw.randrange(10, 60)) for _ in range(40)] for _ in range(members)]
    period, now, received_bytes = flush_period(members), 0.0, 0
    while now < seconds:
        now += period
        wall = int(WALL_MS + now * 1000)
        for sync, paths in zip(syncs, talks, strict=True):
            serve(sync, paths, draw, round(period * rate), now)
        telling(one.journal.flush)
        for other in syncs[1:]:
            other.journal.flush()
            raw = other.post_for(one.own, wall)
            received_bytes += len(raw)
            heard = hearing(partial(one.on_post, raw, now, wall))
            other.on_ack(one.own, heard.ack, now)
            said = telling(partial(one.post_for, other.own, wall))
            answer = other.on_post(said, now, wall)
            telling(partial(one.on_ack, other.own, answer.ack, now))
    assert not one.counts["diverged"] and not one.counts["gaps"]
    posts = (members - 1) * round(seconds / period)
    message, signature = raw, keys[1].sign(raw)
    base = Clocked()
    for _ in range(500):
        base(partial(verify, keys[1].public, message, signature))
    return [
        row("cpu_share", (hearing.seconds + telling.seconds) / now * 100, "%", at_most=5),
        row(
            "take_a_post",
            hearing.seconds / posts * 1e6,
            "us",
            baseline="verifying one signature",
            baseline_value=base.seconds / 500 * 1e6,
        ),
        row("make_a_post_and_take_its_answer", telling.seconds / posts * 1e6, "us"),
        row("received", received_bytes / now, "B/s"),
        row("tree_nodes", len(one.index), "1"),
    ]


def serve(sync: Sync, paths: list[bytes], draw: random.Random, requests: int, now: float) -> None:
    """A member's engine answers: mostly a conversation goes on, sometimes another begins."""
    tree = sync.index.tree(0)
    for _ in range(requests):
        at = draw.randrange(len(paths))
        paths[at] = paths[at] + draw.randbytes(draw.randrange(1, 8)) if draw.random() < 0.8 else draw.randbytes(40)
        tree.insert(paths[at], sync.own, now)
        sync.journal.record(0, ChangeKind.HOLD, paths[at])
    sync.journal.report(LoadReport(running=draw.randrange(9), queued_tokens=draw.randrange(9_000), slots=8, latency_us=10**6))


if __name__ == "__main__":
    sys.exit(main())
