"""Path-bias levels are said once and only with enough tries; patience follows what builds take; pauses jitter within bounds."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.path_scores import LEAST_BUILDS, LEAST_TRIES, MOST_TRIES, Backoff, BuildTimes, Level, PathScores, Score, Stage


def _scored(share: float, tries: int) -> tuple[Score, list[Level]]:
    score, said, owed = Score(), [], 0.0
    for _ in range(tries):
        owed += share
        succeeded = owed >= 1.0
        owed -= succeeded
        level = score.record(succeeded)
        if level is not None:
            said.append(level)
    return score, said


@pytest.mark.parametrize(
    ("share", "levels"),
    [(0.9, []), (0.65, [Level.NOTICE]), (0.45, [Level.WARNING]), (0.1, [Level.EXTREME])],
)
def test_each_threshold_is_said_once_and_not_before_enough_tries(share: float, levels: list[Level]) -> None:
    assert _scored(share, LEAST_TRIES - 1)[1] == []
    assert _scored(share, 4 * MOST_TRIES)[1] == levels


@given(st.lists(st.booleans(), max_size=900))
def test_counts_fade_and_stay_consistent(outcomes: list[bool]) -> None:
    score = Score()
    for outcome in outcomes:
        score.record(outcome)
    assert 0 <= score.successes <= score.tries < MOST_TRIES and 0.0 <= score.recent <= 1.0


def test_a_poor_relay_is_forgiven_when_it_recovers() -> None:
    scores, relay = PathScores(), b"r" * 20
    assert not scores.is_poor(relay)
    for _ in range(LEAST_TRIES):
        scores.record(relay, Stage.USE, False)
    assert scores.is_poor(relay)
    for _ in range(24):
        scores.record(relay, Stage.USE, True)
    assert not scores.is_poor(relay), "the moving average has recovered, the counts have not yet"
    scores.keep_only([])
    assert scores.record(relay, Stage.USE, False) is None


def test_idle_circuits_do_not_hide_what_happens_to_used_ones() -> None:
    scores, relay = PathScores(), b"r" * 20
    said = []
    for _ in range(LEAST_TRIES):
        for _ in range(20):
            scores.record(relay, Stage.SET_UP, True)
        said.append(scores.record(relay, Stage.USE, False))
    assert said[-1] is Level.EXTREME and scores.is_poor(relay)


def test_patience_is_learned_and_bounded() -> None:
    times = BuildTimes(1.0, 5.0)
    assert times.patience is None
    for _ in range(LEAST_BUILDS):
        times.took(0.9)
    assert times.patience == pytest.approx(1.8)
    for _ in range(300):
        times.took(0.01)
    assert times.patience == 1.0
    for _ in range(300):
        times.took(times.patience or 0.0)
    assert times.patience == 5.0, "what is given up too early raises the limit again, by doubling"


def test_pauses_are_decorrelated_and_bounded() -> None:
    backoff, rng = Backoff(0.1, 10.0), random.Random(1).randbytes
    last = 0.1
    for _ in range(500):
        pause = backoff.pause(rng)
        assert 0.1 <= pause <= min(10.0, 3 * last)
        last = pause
    backoff.reset()
    assert backoff.pause(rng) <= 0.3


def test_pauses_of_two_users_differ(draw: Callable[[int], bytes]) -> None:
    one, other = Backoff(0.1, 10.0), Backoff(0.1, 10.0)
    assert [one.pause(draw) for _ in range(5)] != [other.pause(draw) for _ in range(5)]
