"""Times the overlay against its limits, in one process and in turns: `python -m evals.overlay.bench_overlay [--output json]`.

Claims: the goals of the overlay (`README.md` beside this file). Work is CPU time of one thread, waiting is wall time; a
missed goal is printed, not an error, since a shared machine misses some by itself.
"""

import argparse
import random
import sys

from evals.overlay.flood import flood
from evals.overlay.goals import show_goals
from evals.overlay.loopback import latency
from evals.overlay.messages import SIZES, dispersal, requests, sealed_requests, seals, wire
from evals.overlay.relays import cores, creates, layers, path_sets
from evals.overlay.soundness import soundness
from evals.report import Row, show


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m evals.overlay.bench_overlay")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument("--repeat", type=int, default=40, help="rounds per figure; the median counts")
    options = parser.parse_args()
    rows = measure(random.Random(7), options.repeat)
    show("overlay", rows, options.output)
    if options.output == "table":
        show_goals(rows)
    return 0


def measure(draw: random.Random, repeat: int) -> list[Row]:
    """Every row, from the message to the sockets."""
    return [
        *(figure for label in SIZES for figure in dispersal(label, draw, repeat)),
        *seals(draw, repeat),
        *requests(draw, repeat),
        *sealed_requests(draw, repeat),
        *wire(draw),
        *soundness(draw),
        *layers(draw, repeat),
        *cores(draw, repeat),
        *creates(draw, repeat),
        *flood(draw),
        *path_sets(draw, repeat),
        *latency(draw, asks=2 * repeat, trips=10 * repeat),
    ]


if __name__ == "__main__":
    sys.exit(main())
