"""Loads as small numbers: close, monotone, stable, and refused when absurd."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.hrtree.delta import LoadReport, Refused
from network.hrtree.load import load_codes, load_of, rounded

figures = st.integers(0, 2**50)


@settings(deadline=None)
@given(figures, figures)
def test_codes_are_close_and_keep_the_order(one: int, two: int) -> None:
    (*_, first), (*_, second) = (load_codes(LoadReport(latency_us=value)) for value in (one, two))
    assert (first <= second) if one <= two else (first >= second)
    seen = rounded(LoadReport(latency_us=min(one, 2**49))).latency_us
    assert abs(seen - min(one, 2**49)) <= max(0, min(one, 2**49) // 64)


@settings(deadline=None)
@given(figures)
def test_what_is_rounded_stays(value: int) -> None:
    report = LoadReport(running=3, capacity_milli=value // 2)
    assert rounded(rounded(report)) == rounded(report)


def test_small_numbers_are_exact_and_an_idle_node_says_so() -> None:
    report = LoadReport(running=2, waiting=63, slots=4)
    assert load_of(load_codes(report)) == report
    assert load_codes(LoadReport()) == (0,)
    assert load_of((0,)) == LoadReport()


@pytest.mark.parametrize("codes", [(0,) * 17, (2**16,), (0, 0, 0, 0, 0, 2**16 - 1), (800,)])
def test_absurd_loads_are_refused(codes: tuple[int, ...]) -> None:
    with pytest.raises(Refused) as refused:
        load_of(codes)
    assert refused.value.reason == "garbage"
