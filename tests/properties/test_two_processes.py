"""The same blocks in two processes that share nothing but the code: every answer to FinalizeBlock is equal [APP-DET-2]."""

from pathlib import Path

import pytest

from evals.ledger.simulator.__main__ import run


def test_hash_seed_locale_time_zone_and_cores_do_not_matter(tmp_path: Path) -> None:
    found = run(3_000, 50, seed=5, folder=tmp_path)
    codes = found["codes"]
    assert isinstance(codes, dict) and codes["0"] > 1_000 and len(codes) >= 3, "the run must reach the rules it is about"


@pytest.mark.slow
def test_nor_over_a_hundred_thousand_transactions(tmp_path: Path) -> None:
    assert run(100_000, 100, seed=6, folder=tmp_path)["heights"] == 1_000
