"""One prompt among dying relays: what stands decides what arrives, exactly."""

import pytest

from evals.anonymity import closed_forms as forms
from evals.anonymity.delivery import Deaths, Point, crossover, exchange
from evals.anonymity.simulation import Estimate
from network.geometry import GEOMETRY


@pytest.mark.parametrize("failing", [0.0, 0.1, 0.25])
def test_as_many_cloves_arrive_as_paths_stand_and_k_suffice(failing: float) -> None:
    for seed in range(6):
        found = exchange(seed, failing)
        assert found.cloves == found.standing
        assert found.whole == (found.standing >= GEOMETRY.k)


def test_deaths_in_mid_answer_cost_what_deaths_before_cost() -> None:
    for seed in range(6):
        found = exchange(seed, 0.15, Deaths.ANSWERING)
        assert found.whole == (found.standing >= GEOMETRY.k)


def test_fresh_circuits_finish_an_answer_whatever_died() -> None:
    found = [exchange(seed, 0.12, Deaths.RESUMED) for seed in range(8)]
    assert min(each.standing for each in found) < GEOMETRY.k and all(each.whole for each in found)


def test_the_crossing_is_found_among_the_points_near_it() -> None:
    def point(s: float) -> Point:
        exact = Estimate(forms.delivery(s, 4, 3), 0.01)
        return Point(s, exact, Estimate(s, 0.01), exact, Estimate(1.0, 0.01))

    points = [point(s) for s in (0.65, 0.7, 0.7676, 0.8, 0.85)]
    crossing = crossover(points)
    assert crossing is not None and crossing.mean == pytest.approx(forms.CROSSOVER_4_3, abs=1e-3)
    assert 0.0 < crossing.error < 0.02
    assert crossover(points[:2]) is None
    assert all(figure.holds is not False for each in points for figure in each.figures())
