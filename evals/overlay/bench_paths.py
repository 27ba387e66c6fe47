"""What choosing a path set costs, and what the rules of the choice buy; cores only, no sockets.

`python -m evals.overlay.bench_paths --output json`: CPU time by the size of the directory; how often twelve relays are found in
a crowded one (families in few networks) by matching and by taking what still fits; how often an operator of half of all
relays is drawn first.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence
from statistics import median

from evals.report import Row, missed, row, show
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.directory import Directory
from network.geometry import GEOMETRY
from network.guards import GuardRules, GuardSet
from network.ids import Role
from network.path_chooser import PathChooser
from network.relay_draw import OPERATOR_SHARE, draw_disjoint, share_nothing

NOW = 1_800_000_000.0
SIZES = (16, 100, 1000, 4000)
HOPS = GEOMETRY.n * GEOMETRY.hops
CROWDED = (30, 16, 13)  # relays, families, networks


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m evals.overlay.bench_paths", description=__doc__)
    parser.add_argument("--repeat", type=int, default=30, help="path sets that are timed for each size")
    parser.add_argument("--draws", type=int, default=2000, help="draws of each count")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    chosen = parser.parse_args(arguments)
    rows = measure(chosen.repeat, chosen.draws)
    show("bench-paths", rows, chosen.output)
    return missed(rows)


def measure(repeat: int, draws: int) -> list[Row]:
    """All rows."""
    rows = []
    for size in SIZES:
        spent = _spent(size, repeat)
        goal = 1.0 if size <= 100 else None
        rows.append(row(f"path_choice.{size}", 1e3 * median(spent), "ms", at_most=goal, samples=[1e3 * each for each in spent]))
    matched, greedy = _crowded(draws)
    rows.append(
        row("crowded.found", matched, "share", baseline="taking what still fits", baseline_value=greedy, at_least=greedy)
    )
    rows.append(row("operator.first", _operator(draws), "share", baseline="its share of relays", baseline_value=0.5))
    rows.append(row("operator.cap", OPERATOR_SHARE, "share"))
    return rows


def directory_of(families: Sequence[str], addresses: Sequence[str], dice: random.Random) -> Directory:
    """That many trusted relays."""
    entries = [
        DirectoryEntry(
            dice.randbytes(20), dice.randbytes(32), dice.randbytes(32), Role.RELAY, str(at), address, family, trusted=True
        )
        for at, (family, address) in enumerate(zip(families, addresses, strict=True))
    ]
    return Directory(DirectoryRecord("bench", 1, 1, b"", tuple(sorted(entries, key=lambda each: each.node_id))), 1)


def _spent(size: int, repeat: int) -> list[float]:
    dice = random.Random(size)
    families = [f"family-{at}" for at in range(size)]
    directory = directory_of(families, [f"{11 + at // 200}.{at % 200}.0.1:1" for at in range(size)], dice)
    chooser = PathChooser(GuardSet(GuardRules()), os.urandom)
    chooser.choose(directory, NOW)
    spent = []
    for at in range(repeat):
        started = time.thread_time()
        chooser.choose(directory, NOW + at)
        spent.append(time.thread_time() - started)
    return spent


def _crowded(draws: int) -> tuple[float, float]:
    """The shares of random crowded directories in which twelve relays are found, by matching and greedily."""
    relays, families, networks = CROWDED
    matched = greedy = 0
    for seed in range(draws):
        dice = random.Random(seed)
        names = [f"family-{dice.randrange(families)}" for _ in range(relays)]
        listed = directory_of(names, [f"45.{dice.randrange(networks)}.0.1:{at + 1}" for at in range(relays)], dice).relays()
        matched += len(draw_disjoint(listed, HOPS, dice.randbytes)) == HOPS
        greedy += len(_what_fits(listed, dice)) == HOPS
    return matched / draws, greedy / draws


def _what_fits(listed: Sequence[DirectoryEntry], dice: random.Random) -> list[DirectoryEntry]:
    taken: list[DirectoryEntry] = []
    for relay in dice.sample(listed, len(listed)):
        if len(taken) < HOPS and share_nothing(relay, taken):
            taken.append(relay)
    return taken


def _operator(draws: int) -> float:
    """How often the first relay drawn is of the operator that lists half of them."""
    dice = random.Random(7)
    families = ["many"] * 100 + [f"family-{at}" for at in range(100)]
    listed = directory_of(families, [f"{11 + at}.0.0.1:1" for at in range(200)], dice).relays()
    return sum(draw_disjoint(listed, 1, dice.randbytes)[0].family == "many" for _ in range(draws)) / draws


if __name__ == "__main__":
    sys.exit(main())
