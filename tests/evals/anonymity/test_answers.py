"""Recorded answers are scaled alike, and modelled ones follow from their seed."""

from statistics import median

import pytest

from evals.anonymity.answers import PIECE_SECONDS, TARGET, load, more_like


def test_recorded_answers_are_of_two_topics_and_at_one_pace() -> None:
    recorded = load()
    assert {answer.topic for answer in recorded} == {TARGET, "everyday"} and len(recorded) >= 40
    for answer in recorded:
        assert len(answer.moments) == len(answer.lengths) > 0 and all(length > 0 for length in answer.lengths)
        assert list(answer.moments) == sorted(answer.moments)
        gaps = [late - soon for soon, late in zip(answer.moments, answer.moments[1:], strict=False)]
        assert median(gaps or [PIECE_SECONDS]) == pytest.approx(PIECE_SECONDS)


def test_modelled_answers_follow_from_their_seed() -> None:
    recorded = load()
    made = more_like(recorded, 30, seed=4)
    assert made == more_like(recorded, 30, seed=4) != more_like(recorded, 30, seed=5)
    halved = more_like(recorded, 30, seed=4, shorter="everyday")
    assert sum(len(answer.lengths) for answer in halved) < sum(len(answer.lengths) for answer in made)
    counts = {len(answer.lengths) for answer in recorded}
    assert len(made) == 60 and {len(answer.lengths) for answer in made} <= counts
