"""Rounding and the median, against simple twins."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from abci_app.state.fixed import lower_median, mean, ratio, weighted
from network.chain_records import UNIT

amounts = st.integers(0, UNIT)


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_ratio_rounds_down(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator) * UNIT
    assert 0 <= exact - ratio(numerator, denominator) < 1


@given(st.lists(st.tuples(amounts, amounts), max_size=5))
def test_weighted_rounds_once_and_clamps(terms: list[tuple[int, int]]) -> None:
    exact = sum((Fraction(weight * value, UNIT) for weight, value in terms), Fraction(0))
    assert weighted(*terms) == min(UNIT, exact.__floor__())


@given(st.lists(amounts, min_size=1))
def test_mean_rounds_down(values: list[int]) -> None:
    assert mean(values) == Fraction(sum(values), len(values)).__floor__()


@given(st.lists(amounts, min_size=1))
def test_median_of_equal_powers_is_the_lower_one(values: list[int]) -> None:
    assert lower_median([(value, 7) for value in values]) == sorted(values)[(len(values) - 1) // 2]


@given(st.lists(amounts, min_size=5, max_size=20), st.lists(st.one_of(st.just(0), st.just(UNIT)), max_size=4))
def test_a_minority_of_liars_cannot_leave_the_honest_range(honest: list[int], lies: list[int]) -> None:
    votes = [(value, 1) for value in honest + lies]
    assert min(honest) <= lower_median(votes) <= max(honest)
