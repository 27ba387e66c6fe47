"""Under misfortune every prompt ends, no answer is wrong, and nothing is left when all have gone."""

import pytest

from evals.adversary.chaos import run


def test_a_minute_of_misfortune() -> None:
    found = run(seed=1, minutes=1.0)
    assert not found.faults and found.outcomes["answered"] > 5 and found.misfortunes.total() > 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_five_minutes_of_misfortune(seed: int) -> None:
    found = run(seed, minutes=5.0)
    assert not found.faults and len(found.misfortunes) == 5
