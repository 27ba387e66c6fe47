"""What a node has itself seen of others: claims that prove empty weigh less, and the memory of it fades."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_node.experience import (
    FADE_HALF_LIFE_S,
    MAX_SLOWNESS,
    MIN_CONFIDENCE,
    Experience,
)


def test_a_stranger_is_believed() -> None:
    seen = Experience()
    assert (seen.confidence(b"a", 0.0), seen.slowness(b"a", 0.0)) == (1.0, 1.0)


def test_empty_claims_cost_confidence_and_it_comes_back() -> None:
    seen = Experience()
    for _ in range(30):
        seen.saw_cache(b"a", 1000, 0, 10.0)
    assert seen.confidence(b"a", 10.0) == pytest.approx(MIN_CONFIDENCE)
    assert seen.confidence(b"a", 10.0 + FADE_HALF_LIFE_S) == pytest.approx((1 + MIN_CONFIDENCE) / 2)
    for _ in range(10):
        seen.saw_cache(b"a", 1000, 1000, 10.0)
    assert seen.confidence(b"a", 10.0) > 0.9
    seen.forget(b"a")
    assert seen.confidence(b"a", 10.0) == 1.0


def test_late_first_tokens_make_a_node_slow_and_early_ones_no_faster_than_itself() -> None:
    seen = Experience()
    seen.saw_first_token(b"a", 1.0, 5.0, 0.0)
    assert seen.slowness(b"a", 0.0) == 5.0**0.25
    for _ in range(20):
        seen.saw_first_token(b"a", 1.0, 0.1, 0.0)
    assert seen.slowness(b"a", 0.0) == 1.0


def test_times_that_scatter_make_nobody_slow_nor_does_what_befalls_all() -> None:
    seen = Experience()
    for _ in range(50):
        seen.saw_first_token(b"a", 1.0, 4.0, 0.0)
        seen.saw_first_token(b"a", 1.0, 0.25, 0.0)
    assert seen.slowness(b"a", 0.0) < 1.3
    for _ in range(50):
        for node in (b"a", b"b", b"c"):
            seen.saw_first_token(node, 1.0, 3.0, 0.0)
        seen.saw_first_token(b"d", 1.0, 12.0, 0.0)
    assert [round(seen.slowness(node, 0.0), 1) for node in (b"a", b"b", b"c", b"d")] == [1.0, 1.0, 1.0, 4.0]


@given(st.lists(st.tuples(st.integers(-5, 5000), st.integers(0, 9000), st.floats(-1, 1e6), st.floats(-1, 1e6)), max_size=40))
def test_bounds_hold_whatever_is_seen(samples: list[tuple[int, int, float, float]]) -> None:
    seen = Experience()
    for now, (predicted, cached, expected_s, measured_s) in enumerate(samples):
        seen.saw_cache(b"a", predicted, cached, float(now))
        seen.saw_first_token(b"a", expected_s, measured_s, float(now))
        assert MIN_CONFIDENCE <= seen.confidence(b"a", float(now)) <= 1.0
        assert 1.0 <= seen.slowness(b"a", float(now)) <= MAX_SLOWNESS


def test_a_cache_that_forgets_is_no_liar() -> None:
    """Claims older than two minutes are gone, younger ones are there: old claims lose their worth, the node does not."""
    seen = Experience()
    for turn in range(300):
        age = float(turn * 37 % 600)
        seen.saw_cache(b"a", 1000, 1000 if age < 120 else 0, float(turn), age)
    assert seen.confidence(b"a", 300.0) > 0.9
    assert seen.survival(b"a", 10.0) > 0.9
    assert seen.survival(b"a", 400.0) < 0.2
    # A stranger's cache is taken to be like the others'.
    assert seen.survival(b"b", 400.0) < 0.3


def test_a_liar_teaches_nothing_about_caches() -> None:
    seen = Experience()
    for turn in range(100):
        seen.saw_cache(b"liar", 1000, 0, float(turn), 0.5)
    assert seen.confidence(b"liar", 100.0) < 2 * MIN_CONFIDENCE
    assert seen.survival(b"honest", 1.0) > 0.95


def test_one_look_tells_the_same() -> None:
    seen = Experience()
    assert seen.seen(b"a", 0.0, 10.0) == (1.0, 1.0, seen.survival(b"a", 10.0))
    seen.saw_cache(b"a", 1000, 0, 0.0, 3.0)
    seen.saw_first_token(b"a", 1.0, 4.0, 0.0)
    for now in (0.0, 100.0, 1e5):
        told = (seen.confidence(b"a", now), seen.slowness(b"a", now), seen.survival(b"a", 70.0))
        assert seen.seen(b"a", now, 70.0) == pytest.approx(told)
    for node in (b"b", b"c"):
        seen.saw_first_token(node, 1.0, 4.0, 1e5)
    for node in (b"a", b"b", b"c"):
        assert seen.seen(node, 1e5, 70.0)[1] == pytest.approx(seen.slowness(node, 1e5))
    seen.forget(b"b")
    assert seen.seen(b"c", 1e5, 70.0)[1] == pytest.approx(seen.slowness(b"c", 1e5))
    assert seen.slowness(b"c", 1e5) > 1
