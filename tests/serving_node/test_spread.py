"""Water finds its level, draws follow shares, and all entry points name the same replicas."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_node.spread import draw, pour, rendezvous


def test_without_work_the_lowest_takes_all() -> None:
    assert pour([3.0, 1.0, 2.0], 0.0) == [0.0, 1.0, 0.0]


def test_work_fills_what_lies_below_one_level() -> None:
    assert pour([1.0, 2.0, 9.0], 3.0) == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert pour([1.0, 1.0, 1.0], 0.3) == pytest.approx([1 / 3] * 3)
    assert pour([0.0, 1.0], 1e9) == pytest.approx([0.5, 0.5])


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=20), st.floats(0, 1e5))
def test_shares_are_probabilities_and_lower_scores_get_more(scores: list[float], work: float) -> None:
    shares = pour(scores, work)
    assert sum(shares) == pytest.approx(1.0) and min(shares) >= 0
    ranked = [share for _, share in sorted(zip(scores, shares, strict=True), key=lambda row: row[0])]
    if work:
        assert all(one >= two - 1e-9 for one, two in pairwise(ranked))


def test_draws_follow_the_shares() -> None:
    drawn = Counter(draw([0.5, 0.0, 0.25, 0.25], bytes([at])) for at in range(256))
    assert drawn == {0: 128, 2: 64, 3: 64}
    assert draw([0.0, 1.0], b"\xff" * 8) == 1


def test_rendezvous_is_the_same_everywhere_and_even() -> None:
    nodes = [bytes([at]) * 20 for at in range(8)]
    assert rendezvous(b"key", nodes) == rendezvous(b"key", reversed(nodes))
    firsts = Counter(rendezvous(at.to_bytes(8, "big"), nodes)[0] for at in range(1600))
    assert set(firsts) == set(nodes) and max(firsts.values()) < 300
    # One that leaves moves only what it held.
    for at in range(100):
        key = at.to_bytes(8, "big")
        with_all, without = rendezvous(key, nodes), rendezvous(key, nodes[1:])
        assert [node for node in with_all if node != nodes[0]] == without
