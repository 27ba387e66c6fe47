"""Published reputation vectors, and invariants over any history of credits."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abci_app.state.params import DEFAULT
from abci_app.state.reputation import RETURN_EPOCHS, accumulate, punishment, updated
from network.chain_records import UNIT, NodeRecord
from network.ids import Role


def history(credits: list[float], *, start: int = 500_000_000) -> list[NodeRecord]:
    """The node's record after each epoch."""
    node = NodeRecord(role=Role.MODEL, reputation=start, trusted=True)
    found = []
    for credit in credits:
        node = updated(node, round(credit * UNIT), DEFAULT)
        found.append(node)
    return found


def rounded(nodes: list[NodeRecord]) -> list[float]:
    return [round(node.reputation / UNIT, 3) for node in nodes]


@pytest.mark.parametrize(
    ("gamma_inverse", "factors"),
    [
        (1, [0.600, 0.600, 0.600, 0.545, 0.500]),
        (3, [0.600, 0.462, 0.375, 0.316, 0.273]),
        (5, [0.500, 0.353, 0.273, 0.222, 0.188]),
    ],
)
def test_punishment_factors(gamma_inverse: int, factors: list[float]) -> None:
    """`research` table of f(c) for c = 1..5, with the factor never above beta."""
    params = DEFAULT.__class__(**{**_fields(), "gamma_inverse": gamma_inverse})
    assert [round(punishment(count, params) / UNIT, 3) for count in range(1, 6)] == factors


def _fields() -> dict[str, object]:
    return {name: getattr(DEFAULT, name) for name in DEFAULT.__slots__}


def test_a_good_node_rises_to_its_credit() -> None:
    assert rounded(history([0.9] * 5)) == [0.740, 0.836, 0.874, 0.890, 0.896]
    assert rounded(history([0.9] * 40))[-1] == 0.900


def test_one_bad_epoch_of_five_is_not_punished_and_two_are() -> None:
    assert rounded(history([0.9] * 5 + [0.1, 0.9, 0.9]))[5:] == [0.418, 0.707, 0.823]
    # The published code counts before it trims and so punishes one epoch more (0.521, then 0.748).
    assert rounded(history([0.9] * 5 + [0.1, 0.1, 0.9, 0.9, 0.9, 0.9]))[5:] == [0.418, 0.203, 0.399, 0.477, 0.508, 0.743]


@pytest.mark.parametrize(("credit", "epochs"), [(0.39, 2), (0.35, 2), (0.30, 1), (0.0, 1)])
def test_epochs_until_a_bad_node_is_untrusted(credit: float, epochs: int) -> None:
    trusted = [node.trusted for node in history([credit] * 5)]
    assert trusted == [True] * (epochs - 1) + [False] * (6 - epochs)


def test_steady_state_of_a_punished_node() -> None:
    assert history([0.2] * 60)[-1].reputation / UNIT == pytest.approx(0.3125 * 0.2, abs=1e-8)


def test_an_untrusted_node_returns_after_clean_epochs_in_a_row() -> None:
    nodes = history([0.0, 0.9, 0.9, 0.0, *[0.9] * 6])
    assert [node.trusted for node in nodes[:4]] == [False] * 4
    returned = next(index for index, node in enumerate(nodes) if node.trusted)
    assert returned - 3 >= RETURN_EPOCHS
    assert nodes[returned].reputation >= DEFAULT.threshold


@given(st.lists(st.integers(0, UNIT), max_size=30), st.integers(0, UNIT))
def test_invariants(credits: list[int], start: int) -> None:
    node = NodeRecord(role=Role.MODEL, reputation=start, trusted=start >= DEFAULT.threshold)
    for credit in credits:
        after = updated(node, credit, DEFAULT)
        assert 0 <= after.reputation <= max(node.reputation, credit)
        assert len(after.credits) <= DEFAULT.window
        assert not after.trusted or after.reputation >= DEFAULT.threshold
        better = updated(node, min(UNIT, credit + UNIT // 10), DEFAULT)
        assert better.reputation >= after.reputation
        node = after


@given(st.lists(st.integers(-(10**6), 10**6), max_size=50))
def test_suspicion_is_the_largest_sum_of_any_run_that_ends_now(evidence: list[int]) -> None:
    """max(0, s + x) in turn is the maximum over all suffixes: nothing good done long ago pays for what is done now."""
    endless = replace(DEFAULT, suspicion_limit=10**9)
    suspicion = 0
    for number, value in enumerate(evidence, 1):
        suspicion, reached = accumulate(suspicion, value, endless)
        assert not reached and suspicion == max(sum(evidence[start:number]) for start in range(number + 1))


def test_suspicion_begins_anew_at_its_limit_and_can_be_switched_off() -> None:
    assert accumulate(18_000, 420, DEFAULT) == (18_420, False)
    assert accumulate(18_000, 421, DEFAULT) == (0, True)
    assert accumulate(18_000, 10**9, replace(DEFAULT, suspicion_limit=0)) == (0, False)
