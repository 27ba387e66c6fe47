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
    assert seen.slowness(b"a", 0.0) == 2.0
    for _ in range(20):
        seen.saw_first_token(b"a", 1.0, 0.1, 0.0)
    assert seen.slowness(b"a", 0.0) == 1.0


@given(st.lists(st.tuples(st.integers(-5, 5000), st.integers(0, 9000), st.floats(-1, 1e6), st.floats(-1, 1e6)), max_size=40))
def test_bounds_hold_whatever_is_seen(samples: list[tuple[int, int, float, float]]) -> None:
    seen = Experience()
    for now, (predicted, cached, expected_s, measured_s) in enumerate(samples):
        seen.saw_cache(b"a", predicted, cached, float(now))
        seen.saw_first_token(b"a", expected_s, measured_s, float(now))
        assert MIN_CONFIDENCE <= seen.confidence(b"a", float(now)) <= 1.0
        assert 1.0 <= seen.slowness(b"a", float(now)) <= MAX_SLOWNESS
