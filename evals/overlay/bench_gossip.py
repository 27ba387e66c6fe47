"""What listening to everybody costs a node: CPU time and bytes per second by the size of the network; cores only, no sockets.

`python -m evals.overlay.bench_gossip --output json`: in every period each node has beaten anew, as when all are alive, which
is the dearest case. A node asks twice a period, and is asked twice.
"""

import argparse
import os
import random
import sys
import time
from statistics import median

from evals.report import Row, missed, row, show
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import encode
from network.crypto import SigningKey
from network.directory import Directory
from network.gossip import Gossip, GossipMessage
from network.heartbeat import Heartbeat, is_authentic, make_heartbeat
from network.ids import Role, node_id
from network.liveness import Liveness

CHAIN = "bench"
NOW = 1_800_000_000.0
SIZES = (20, 200, 1000, 4000)
PERIODS = 5
VERIFIED = 400


class Town:
    """That many listed nodes; two are cores that talk, the others beat by script."""

    def __init__(self, size: int, draw: random.Random) -> None:
        self._keys = [SigningKey(draw.randbytes(32)) for _ in range(size)]
        entries = [_entry(key, number) for number, key in enumerate(self._keys)]
        record = DirectoryRecord(CHAIN, 1, 1, b"", tuple(sorted(entries, key=lambda each: each.node_id)))
        self._listed = Directory(record, 1)
        self.one, self.other = self._core(0), self._core(1)

    def beats(self, now: float) -> bytes:
        """Everybody else's heartbeats, as an answer."""
        beats = [make_heartbeat(key, CHAIN, now, f"node-{number}", 1) for number, key in enumerate(self._keys) if number > 1]
        return encode(GossipMessage((), tuple(beats)))

    def period(self, now: float) -> tuple[float, int]:
        """CPU seconds of one node, and the bytes that it read and wrote."""
        for _ in self.other.on_answer(self.beats(now), now):
            pass
        started = time.thread_time()
        question = self.one.question(now)
        spent = time.thread_time() - started
        answer = self.other.on_question(question, now)
        started = time.thread_time()
        for _ in self.one.on_answer(answer, now):
            pass
        again = self.one.question(now)
        spent += time.thread_time() - started
        short = self.other.on_question(again, now)
        started = time.thread_time()
        for _ in self.one.on_answer(short, now):
            pass
        asked = [self.one.on_question(again, now), self.one.on_question(encode(GossipMessage()), now)]
        spent += time.thread_time() - started
        return spent, sum(map(len, (question, answer, again, short, again, *asked)))

    def _core(self, number: int) -> Gossip:
        liveness = Liveness(lambda: self._listed)
        return Gossip(CHAIN, lambda: self._listed, liveness, os.urandom, key=self._keys[number], address=f"node-{number}")


def _entry(key: SigningKey, number: int) -> DirectoryEntry:
    name = f"node-{number}"
    return DirectoryEntry(node_id(key.public), key.public, bytes(32), Role.RELAY, name, name, name)


def exchanges(size: int, draw: random.Random) -> list[Row]:
    """Periods of one node among so many."""
    town = Town(size, draw)
    seconds = town.one.period()
    found = [town.period(NOW + 100 * seconds * number) for number in range(PERIODS)]
    shares = [100 * spent / seconds for spent, _ in found]
    rates = [length / seconds / 1e3 for _, length in found]
    return [
        row(f"cpu_of_a_core.{size}_nodes", median(shares), "%", at_most=10.0, samples=shares),
        row(f"traffic.{size}_nodes", median(rates), "kB/s", samples=rates),
    ]


def verification(draw: random.Random) -> list[Row]:
    """One heartbeat."""
    key = SigningKey(draw.randbytes(32))
    beats = [make_heartbeat(key, CHAIN, NOW + number, "127.0.0.1:8800", 1) for number in range(VERIFIED)]
    times = [_timed(beat) for beat in beats]
    return [row("heartbeat_verified", median(times), "us", at_most=100.0)]


def _timed(beat: Heartbeat) -> float:
    started = time.thread_time()
    assert is_authentic(beat, CHAIN)
    return (time.thread_time() - started) * 1e6


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    draw = random.Random(1)
    found = [*verification(draw), *(each for size in SIZES for each in exchanges(size, draw))]
    show("gossip", found, arguments.output)
    return int(missed(found))


if __name__ == "__main__":
    sys.exit(main())
