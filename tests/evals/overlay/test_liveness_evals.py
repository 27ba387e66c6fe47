"""The evals of liveness run, on small networks, and their goals hold there."""

import random

from evals.overlay.bench_gossip import exchanges, verification
from evals.overlay.detection import detection


def test_a_small_network_finds_its_dead_in_time_and_buries_nobody_alive() -> None:
    rows = {row.figure.id: row.figure for row in detection(10, random.Random(2))}
    assert rows["out_of_new_paths.10_nodes"].holds and rows["alive_but_out.10_nodes"].value == 0


def test_listening_costs_little() -> None:
    assert [row.figure.unit for row in (*verification(random.Random(1)), *exchanges(20, random.Random(1)))] == [
        "us",
        "%",
        "kB/s",
    ]
