"""How long a dead relay stays in new paths: gossip cores and users on a virtual clock, real signatures, seeded.

`python -m evals.overlay.detection --output json`: after a minute one relay dies without a word; measured is the time until
a user, who pulls from two living guards, has it out. Wires take no time here, so this is what the protocol alone costs.
"""

import argparse
import heapq
import random
import sys
from collections.abc import Callable
from statistics import median

from evals.report import Row, missed, row, show
from network.aio.gossip import PULL_PERIODS
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.crypto import SigningKey
from network.directory import Directory
from network.gossip import Gossip
from network.ids import Role, node_id
from network.liveness import Liveness

CHAIN = "bench"
BEGIN = 1_800_000_000.0
SETTLE, LONGEST, STEP, WATCHED = 30.0, 60.0, 0.1, 30
USERS = 8
DEATHS = 4  # at most a fifth: when more than a third are silent, gossip is doubted
SIZES = (20, 60)
GOAL_S = 20.0


class Clockwork:
    """What is due next."""

    def __init__(self) -> None:
        self.now = BEGIN
        self._due: list[tuple[float, int, Callable[[], float]]] = []

    def repeat(self, first: float, work: Callable[[], float]) -> None:
        """Do `work` at `first`, and again as many seconds later as it says each time."""
        heapq.heappush(self._due, (first, len(self._due), work))

    def run_until(self, end: float) -> None:
        """Let time pass."""
        while self._due and self._due[0][0] <= end:
            self.now, number, work = heapq.heappop(self._due)
            heapq.heappush(self._due, (self.now + work(), number, work))
        self.now = end


class Town:
    """`size` relays that gossip, and users who pull from two of them."""

    def __init__(self, size: int, draw: random.Random) -> None:
        self._draw = draw
        self.clock = Clockwork()
        keys = [SigningKey(draw.randbytes(32)) for _ in range(size)]
        entries = [_entry(key, number) for number, key in enumerate(keys)]
        record = DirectoryRecord(CHAIN, 1, 1, b"", tuple(sorted(entries, key=lambda each: each.node_id)))
        self.listed = Directory(record, 1)
        self.nodes: dict[bytes, Gossip] = {}
        self._liveness: dict[bytes, Liveness] = {}
        for number, key in enumerate(keys):
            name = node_id(key.public)
            self.nodes[name], self._liveness[name] = self._core(key=key, address=f"node-{number}")
            self.clock.repeat(BEGIN + draw.random() * 2.0, lambda name=name: self._round(name))
        self.users: list[tuple[Liveness, list[bytes]]] = []
        for _ in range(USERS):
            core, liveness = self._core()
            guards = draw.sample(sorted(self.nodes), 2)
            self.users.append((liveness, guards))
            self.clock.repeat(BEGIN + draw.random() * 3.0, lambda core=core, guards=guards: self._pull(core, guards))
        self.dead: set[bytes] = set()

    def _core(self, **options: object) -> tuple[Gossip, Liveness]:
        liveness = Liveness(lambda: self.listed)
        return Gossip(CHAIN, lambda: self.listed, liveness, self._draw.randbytes, **options), liveness  # type: ignore[arg-type]

    def _round(self, name: bytes) -> float:
        if name in self.dead:
            return LONGEST
        node, now = self.nodes[name], self.clock.now
        for peer in node.peers(now):
            if peer.node_id in self.dead:
                node.failed(peer.node_id, now)
                continue
            for _ in node.on_answer(self.nodes[peer.node_id].on_question(node.question(now), now), now):
                pass
        return node.period() * self._jitter()

    def _pull(self, user: Gossip, guards: list[bytes]) -> float:
        now = self.clock.now
        for guard in guards:
            if guard not in self.dead:
                for _ in user.on_answer(self.nodes[guard].everything(now), now):
                    pass
        return PULL_PERIODS * user.period() * self._jitter()

    def _jitter(self) -> float:
        return 0.75 + self._draw.random() / 2

    def dies(self) -> list[float]:
        """One relay dies: seconds until each user who does not enter there has it out."""
        name = self._draw.choice(sorted(self.nodes.keys() - self.dead))
        entry = self.listed.get(name)
        assert entry is not None
        self.dead.add(name)
        died, found = self.clock.now, list[float]()
        waiting = [liveness for liveness, guards in self.users if name not in guards]
        while waiting:
            self.clock.run_until(self.clock.now + STEP)
            assert self.clock.now < died + LONGEST, "a dead relay is taken for alive"
            still = [liveness for liveness in waiting if liveness.usable(entry, self.clock.now)]
            found += [self.clock.now - died] * (len(waiting) - len(still))
            waiting = still
        return found

    def wrongly_out(self) -> int:
        """How often a user takes a living relay for dead, looked at once a second for half a minute."""
        count = 0
        for _ in range(WATCHED):
            self.clock.run_until(self.clock.now + 1.0)
            count += sum(
                not liveness.usable(each, self.clock.now) for liveness, _ in self.users for each in self.listed.relays()
            )
        return count


def _entry(key: SigningKey, number: int) -> DirectoryEntry:
    name = f"node-{number}"
    return DirectoryEntry(node_id(key.public), key.public, bytes(32), Role.RELAY, name, name, name)


def detection(size: int, draw: random.Random) -> list[Row]:
    """Several deaths, one after the other, among so many nodes."""
    town = Town(size, draw)
    town.clock.run_until(BEGIN + SETTLE)
    wrongly = town.wrongly_out()
    times = [seconds for _ in range(min(DEATHS, size // 5)) for seconds in town.dies()]
    return [
        row(f"out_of_new_paths.{size}_nodes", median(times), "s", at_most=GOAL_S, samples=times),
        row(f"alive_but_out.{size}_nodes", wrongly, "", at_most=0.0),
    ]


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    found = [each for size in SIZES for each in detection(size, random.Random(arguments.seed))]
    show("detection", found, arguments.output)
    return int(missed(found))


if __name__ == "__main__":
    sys.exit(main())
