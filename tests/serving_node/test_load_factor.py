"""F = L * Q / C, the learned price of a token, and what a load report says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.hrtree.delta import LoadReport
from serving_node.load_factor import EngineLoad, Ewma, PrefillPrice, Shortest, load_factor, load_report, slot_wait


def test_a_way_is_as_long_as_the_shortest_of_its_last_exchanges() -> None:
    way = Shortest()
    assert way.value is None
    for seconds in (0.7, 0.02, 0.5):
        way.add(seconds)
    assert way.value == 0.02
    for _ in range(8):
        way.add(0.3)
    assert way.value == 0.3


def test_ewma_is_seven_eighths_old() -> None:
    mean = Ewma()
    assert mean.value is None
    mean.add(8.0)
    mean.add(16.0)
    assert mean.value == 9.0


def test_the_price_of_a_token_weighs_long_prompts_more() -> None:
    price = PrefillPrice()
    assert price.token_s is None
    price.add(3, 99.0)
    price.add(1000, 0.0)
    assert price.token_s is None
    price.add(100, 1.0)
    price.add(1000, 5.0)
    assert price.token_s == pytest.approx((0.875 + 5) / (87.5 + 1000))


@given(st.floats(0.0001, 0.1), st.lists(st.integers(16, 5000), min_size=1, max_size=50))
def test_a_steady_engine_is_learned_exactly(token_s: float, prompts: list[int]) -> None:
    price = PrefillPrice()
    for tokens in prompts:
        price.add(tokens, tokens * token_s)
    assert price.token_s == pytest.approx(token_s)


def test_load_factor() -> None:
    assert load_factor(2.0, 300, 150.0) == 4.0
    assert load_factor(2.0, 300, 0.0) == 0.0


@pytest.mark.parametrize(
    ("running", "waiting", "slots", "expected"),
    [(0, 0, 2, 0.0), (1, 0, 2, 0.0), (2, 0, 2, 1.5), (2, 3, 2, 6.0), (5, 5, 0, 0.0)],
)
def test_the_wait_for_a_slot(running: int, waiting: int, slots: int, expected: float) -> None:
    assert slot_wait(LoadReport(running=running, waiting=waiting, slots=slots), 3.0) == expected


def test_a_report_rounds_what_no_peer_could_act_on() -> None:
    one = load_report(EngineLoad(1, 2, 345, 151.04, 2), 1.23456, 0.0065004)
    two = load_report(EngineLoad(1, 2, 345, 151.01, 2), 1.23411, 0.0065009)
    assert one == two == LoadReport(1, 2, 2, 345, 151_000, 1_230_000, 6_500_000)


def test_capacity_falls_back_on_the_learned_price() -> None:
    assert load_report(EngineLoad(), None, 0.005).capacity_milli == 200_000
    assert load_report(EngineLoad(-1, -1, -1), None, None) == LoadReport()
