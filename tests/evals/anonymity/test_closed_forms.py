"""The closed forms against the table of figures they were derived with, each other, and by enumeration."""

from itertools import product
from math import comb, log2

import pytest

from evals.anonymity import closed_forms as forms

N = 10_000
# f: C any hop l=3, l=4, l=6, C last hop; published d PS(4,4), GC(4,4), onion(1,5); PS, GC, onion at l=3; d one path, d linked.
TABLE = {
    0.01: (0.99990, 0.99976, 0.99923, 1.00000, 0.9935, 0.9754, 0.9906, 0.9929, 0.9727, 0.9872, 0.9910, 0.9676),
    0.05: (0.98964, 0.97802, 0.94041, 0.99952, 0.9655, 0.9026, 0.9544, 0.9625, 0.8849, 0.9349, 0.9547, 0.8453),
    0.10: (0.93657, 0.87927, 0.73312, 0.99630, 0.9290, 0.8478, 0.9114, 0.9212, 0.8090, 0.8674, 0.9091, 0.7084),
    0.20: (0.70528, 0.54132, 0.28237, 0.97280, 0.8562, 0.7856, 0.8287, 0.8319, 0.7124, 0.7282, 0.8165, 0.4826),
    0.30: (0.42459, 0.24513, 0.07060, 0.91630, 0.7819, 0.7338, 0.7424, 0.7324, 0.6349, 0.5881, 0.7221, 0.3129),
}


@pytest.mark.parametrize("f", TABLE)
def test_every_column_of_the_table(f: float) -> None:
    found = (
        *(forms.confidentiality(forms.seen_on_any_hop(f, hops), 4, 3) for hops in (3, 4, 6)),
        forms.confidentiality(f, 4, 3),
        forms.published_entropy(4, 4, f, N),
        forms.published_entropy_garlic_cast(4, 4, f, N),
        forms.published_entropy(1, 5, f, N),
        forms.published_entropy(4, 3, f, N),
        forms.published_entropy_garlic_cast(4, 3, f, N),
        forms.published_entropy(1, 3, f, N),
        forms.entropy_one_path(f, 3, N),
        forms.entropy_linked(4, 3, f, N),
    )
    for number, (value, digits) in enumerate(zip(TABLE[f], (5,) * 4 + (4,) * 8, strict=True)):
        assert found[number] == pytest.approx(value, abs=0.6 * 10**-digits), number


@pytest.mark.parametrize(("f", "figures"), [(0.001, (0.9994, 0.9974, 0.9991)), (0.5, (0.5963, 0.5802, 0.5314))])
def test_the_ends_of_the_published_curves(f: float, figures: tuple[float, float, float]) -> None:
    found = (
        forms.published_entropy(4, 4, f, N),
        forms.published_entropy_garlic_cast(4, 4, f, N),
        forms.published_entropy(1, 5, f, N),
    )
    assert found == pytest.approx(figures, abs=6e-5)


def test_confidentiality_written_out_and_without_replacement() -> None:
    for p in (0.0, 0.1, 0.5, 1.0):
        assert forms.confidentiality(p, 4, 3) == pytest.approx(forms.confidentiality_4_3(p))
    assert forms.confidentiality_distinct(100, 10, 1, 4, 3) == pytest.approx(0.99719, abs=6e-6)
    assert sum(forms.clean_paths(100, 10, 3, 4)) == pytest.approx(1.0)


def test_distinct_paths_by_enumeration() -> None:
    """Two paths of two hops out of seven nodes, three of them malicious: count all arrangements."""
    counts = [0, 0, 0]
    for bad in product((0, 1), repeat=7):
        if sum(bad) == 3:
            counts[(not bad[0] and not bad[1]) + (not bad[2] and not bad[3])] += 1
    assert forms.clean_paths(7, 3, 2, 2) == pytest.approx([count / comb(7, 3) for count in counts])


def test_single_observer_variant_by_enumeration() -> None:
    p, malicious = 0.3, 3
    failure = 0.0
    for seen_by in product(range(malicious + 1), repeat=4):
        weight = 1.0
        for who in seen_by:
            weight *= (1 - p) if who == malicious else p / malicious
        failure += weight * any(seen_by.count(who) >= 3 for who in range(malicious))
    assert forms.confidentiality_single_node(p, malicious) == pytest.approx(1 - failure)


def test_the_sound_posterior_has_the_right_limits() -> None:
    honest = 900.0
    assert forms.linked_entropy(0, 0, 0.3, honest) == pytest.approx(log2(honest))
    assert forms.entropy_linked(1, 3, 0.1, 1000) == pytest.approx(forms.entropy_one_path(0.1, 3, 1000), abs=1e-9)
    assert forms.entropy_one_path(0.1, 1, 1000) == pytest.approx(forms.entropy_position_known(0.1, 1000))
    for f in (0.01, 0.1, 0.3, 0.5):
        assert forms.entropy_linked(4, 3, f, N) < forms.entropy_one_path(f, 3, N) < forms.entropy_linked(1, 3, f, N) + 1e-9


def test_what_the_last_hop_knows() -> None:
    honest = 900.0
    bits = {bad: forms.pattern_entropy(bad, honest) for bad in product((False, True), repeat=3)}
    assert bits[False, False, False] == pytest.approx(log2(honest))
    assert bits[False, False, True] == pytest.approx(log2(honest - 1)) == bits[False, True, True]
    assert bits[True, False, True] == bits[True, True, False] == bits[True, True, True] == pytest.approx(0.0)
    assert bits[True, False, False] == bits[False, True, False] == pytest.approx(1 + 0.5 * log2(honest - 1))
    assert forms.entropy_position_known(0.1, N) < forms.entropy_last_hop_knows(0.1, 3, N) < 1.0


def test_guards_correlation_and_delivery() -> None:
    assert forms.some_first_hop_bad(0.01, 4, 100) == pytest.approx(0.982, abs=5e-4)
    assert forms.some_guard_bad(0.1, 4) == pytest.approx(0.344, abs=5e-4)
    assert forms.some_guard_bad(0.1, 2) == pytest.approx(0.19, abs=5e-4)
    assert forms.both_ends_bad(0.1, 4) == pytest.approx(0.039, abs=5e-4)
    assert forms.both_ends_bad(0.1, 4, 3) == pytest.approx(4.0e-6, rel=0.02)
    for phi, (four, one) in {0.01: (0.9949, 0.9703), 0.05: (0.8999, 0.8574), 0.10: (0.7024, 0.7290)}.items():
        s = forms.path_survival(phi, 3)
        assert (forms.delivery(s, 4, 3), s) == (pytest.approx(four, abs=6e-5), pytest.approx(one, abs=6e-5))
    assert forms.delivery(forms.CROSSOVER_4_3, 4, 3) == pytest.approx(forms.CROSSOVER_4_3)
    assert pytest.approx(0.7676, abs=5e-5) == forms.CROSSOVER_4_3


def test_guards_that_are_replaced() -> None:
    assert forms.some_guard_bad_by(0.1, 4, 0, 60, 120) == pytest.approx(forms.some_guard_bad(0.1, 4))
    assert forms.some_guard_bad_by(0.1, 4, 59, 60, 120) == pytest.approx(forms.some_guard_bad(0.1, 4))
    year = forms.some_guard_bad_by(0.1, 4, 365, 60, 120)
    assert forms.some_guard_bad(0.1, 4 * 4) < year < forms.some_guard_bad(0.1, 4 * 7)
