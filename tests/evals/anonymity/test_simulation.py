"""The simulation's pieces on cases that can be told by hand, and simulation and real selector against the closed forms."""

import random
from math import log2

import pytest

from evals.anonymity import closed_forms as forms
from evals.anonymity.entropy import draw_real, one_operator, published, select, simulate
from evals.anonymity.selector import distinct_everywhere, make_directory, real_paths
from evals.anonymity.simulation import USER, Estimate, estimate, independent_paths, play, share, view_of


def test_an_attacker_notes_the_node_before_its_first_hop() -> None:
    view = view_of([(3, 50, 60), (50, 4, 5), (50, 60, 70), (80, 90, 1)], lambda node: node < 10)
    assert view.predecessors == (USER, 50, 90)


def test_the_posterior_is_bayes_rule() -> None:
    nobody = view_of([(50, 60, 70)], lambda node: node < 10).posterior(0.5, 90)
    assert nobody.entropy == pytest.approx(log2(90)) and nobody.best == pytest.approx(1 / 90)
    one = view_of([(3, 50, 60)], lambda node: node < 10).posterior(0.4, 90)
    assert one.seen == {USER: pytest.approx(0.4)} and one.each == pytest.approx(0.6 / 89) and one.best == pytest.approx(0.4)
    twice = view_of([(3, 50, 60), (4, 70, 80)], lambda node: node < 10).posterior(0.4, 90)
    assert twice.best > 0.95, "one predecessor on two linked paths is hardly a stranger"
    assert sum(twice.seen.values()) + twice.each * twice.unseen == pytest.approx(1.0)


def test_a_guess_is_right_as_often_as_it_claims() -> None:
    """The posterior is calibrated: the best node's chance is how often it is the user."""
    rng = random.Random(9)
    q = forms.first_is_bad(0.2, 3)
    tally = play((independent_paths(4, 3, 20, 100, rng) for _ in range(3_000)), lambda node: node < 20, q, 80)
    claimed, right = estimate(tally.guesses), estimate(tally.right)
    assert abs(claimed.mean - right.mean) < 3 * (claimed.error**2 + right.error**2) ** 0.5
    unseen = view_of([(50, 60, 70)], lambda node: node < 10).posterior(0.5, 90)
    assert unseen.right == pytest.approx(1 / 90)
    assert view_of([(3, 50, 60)], lambda node: node < 10).posterior(0.5, 90).right == 1.0
    assert view_of([(50, 3, 60)], lambda node: node < 10).posterior(0.5, 90).right == 0.0


def test_estimates_know_their_error() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0 and found.error == pytest.approx(1 / 3**0.5)
    assert found.holds(2.5) and not found.holds(4.0)
    assert share(100, 100).error > 0.0, "a frequency of one is not certain"
    assert Estimate(1.0, 0.0).sigmas(1.0) == 0.0 and Estimate(1.0, 0.0).sigmas(1.1) == float("inf")


def test_malicious_hops_are_drawn_as_often_as_asked() -> None:
    paths = independent_paths(400, 3, 30, 100, random.Random(1))
    assert share(sum(node < 30 for path in paths for node in path), 1200).holds(0.3)


@pytest.mark.parametrize("f", [0.05, 0.3])
def test_the_simulation_meets_the_closed_forms(f: float) -> None:
    assert all(check.found.holds(check.closed) for check in simulate(f, 1_000, 1_500, seed=3))
    assert all(check.found.holds(check.closed) for check in published(f, 1_500, seed=3))


def test_the_real_path_selector_meets_the_closed_forms() -> None:
    checks, most = select(draw_real(150, 640, seed=3), 0.2, 150, seed=3)
    assert [check.name for check in checks if not check.found.holds(check.closed)] == [] and most == 1
    assert one_operator(0.3, 100, 20, seed=3).mean == 1.0


def test_a_biased_selector_would_be_found_out() -> None:
    """One that prefers the adversary's relays for hop 1 gives it more than the closed form of a fair one."""
    directory, numbers = make_directory([f"family-{relay}" for relay in range(60)], 1)
    assert distinct_everywhere(next(real_paths(directory, numbers, 1, 1)))
    assert not distinct_everywhere([(1, 2, 3)] * 4)
    q = forms.first_is_bad_distinct(60, 12, 3)
    fair = [paths for paths in real_paths(directory, numbers, 300, 1)]
    biased = [[sorted(path) for path in paths] for paths in fair]
    expected = forms.entropy_linked_distinct(61, 12, 3, 4) * log2(61)
    found = [estimate(play(draws, lambda node: node < 12, q, 49).linked) for draws in (fair, biased)]
    assert found[0].holds(expected) and not found[1].holds(expected)
