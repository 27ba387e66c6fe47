"""F25: many blocks, constant memory. `python -m evals.ledger.simulator.soak` says how long and prints what it saw."""

from pathlib import Path

import pytest

from evals.ledger.simulator.soak import Sample, figures, slope, soak


def test_slopes_are_least_squares() -> None:
    assert slope([1.0, 2.0, 3.0], [10.0, 12.0, 14.0]) == 2.0
    assert slope([1.0], [5.0]) == 0.0 == slope([], [])


def test_the_first_half_is_warm_up() -> None:
    samples = [Sample(height, 1000 + (500 if height <= 50 else 0), 9, 4, height) for height in range(10, 101, 10)]
    found = figures(samples)
    assert found["rss_kib_per_1000_blocks"] == 0 and found["rss_kib"] == [1000, 1000]
    assert found["disk_kib_per_1000_blocks"] == 1000.0


@pytest.mark.slow
def test_a_hundred_thousand_blocks_leave_memory_and_descriptors_as_they_were(tmp_path: Path) -> None:
    found = soak(100_000, 1, tmp_path, "", lambda _line: None)
    slope_of_memory, descriptors, files = found["rss_kib_per_1000_blocks"], found["descriptors"], found["files"]
    assert isinstance(slope_of_memory, float) and isinstance(descriptors, list) and isinstance(files, list)
    assert abs(slope_of_memory) < 40, "less than 4 MiB in 100,000 blocks"
    # LevelDB holds as many tables open as it has, within its bound of 64.
    assert descriptors[1] < 100 and files[1] < 200
