"""F25: many blocks, constant memory. `python -m evals.ledger.simulator.soak` says how long and prints what it saw."""

import gc
import random
import tracemalloc
from pathlib import Path

import pytest

from evals.ledger.simulator.build import build
from evals.ledger.simulator.soak import Sample, figures, slope, soak
from evals.ledger.simulator.town import Town
from evals.ledger.simulator.world import Genesis


def test_slopes_are_least_squares() -> None:
    assert slope([1.0, 2.0, 3.0], [10.0, 12.0, 14.0]) == 2.0
    assert slope([1.0], [5.0]) == 0.0 == slope([], [])


def test_the_first_four_fifths_are_warm_up() -> None:
    samples = [Sample(height, 1000 + (500 if height <= 80 else 0), 9, 4, height) for height in range(10, 101, 10)]
    found = figures(samples)
    assert found["rss_kib_per_1000_blocks"] == 0 and found["rss_kib"] == [1000, 1000]
    assert found["disk_kib_per_1000_blocks"] == 1000.0


@pytest.mark.slow
def test_a_hundred_thousand_blocks_leave_memory_and_descriptors_as_they_were(tmp_path: Path) -> None:
    """The bounded memories of ADR 0071 are still filling up at the end; what they may come to is in the limits."""
    found = soak(100_000, 1, tmp_path, "", lambda _line: None)
    growth, descriptors, files, memory = (
        found[name] for name in ("rss_kib_per_1000_blocks", "descriptors", "files", "rss_kib")
    )
    assert isinstance(growth, float) and isinstance(descriptors, list) and isinstance(files, list) and isinstance(memory, list)
    assert growth < 250 and memory[1] < 256 * 1024
    # LevelDB holds as many tables open as it has, within its bound of 64.
    assert descriptors[1] < 100 and files[1] < 200


@pytest.mark.slow
def test_with_small_memories_nothing_grows_from_block_to_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python holds on to, byte by byte, at two heights far apart."""
    monkeypatch.setattr("abci_app.application.REMEMBERED_BYTES", 20_000)
    monkeypatch.setattr("abci_app.aio.storage.REMEMBERED", 300)
    monkeypatch.setattr("abci_app.state.state.DECODED_RECORDS", 50)
    genesis = Genesis((40, 1, 1, 1))
    town = Town(genesis, build(genesis, [tmp_path / "r0"]), random.Random(1), people=12, leaving=0.0)

    def held_after(blocks: int) -> int:
        """The bytes that Python holds after so many blocks more."""
        for _ in range(blocks):
            for raw in town.public.some(1):
                town.sim.submit(raw, 0)
            town.sim.step()
            town.sim.forget(20)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        held_after(800)
        before = held_after(0)
        growth = held_after(1_200) - before
    finally:
        tracemalloc.stop()
    assert growth < 60_000, f"{growth} bytes more after 1,200 blocks"
