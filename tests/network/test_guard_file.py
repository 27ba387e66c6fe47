"""The text of the guards: what is kept comes back, another chain's is not used, and anything else is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.errors import DecodeError
from network.guard_file import guards_from_json, guards_to_json
from network.guards import Guard, GuardRules, GuardSet
from network.path_scores import RelayScore, Score

RULES = GuardRules()
seconds = st.integers(0, 2**33).map(float)
kept = st.builds(
    Guard,
    st.binary(min_size=20, max_size=20),
    seconds,
    seconds,
    confirmed=st.integers(0, 60),
    failures=st.integers(0, 1000),
    failed_at=seconds,
    tried_at=seconds,
    retry_at=seconds,
    unlisted_since=seconds,
    demoted=st.booleans(),
)


@given(st.lists(kept, max_size=12, unique_by=lambda guard: guard.node_id), st.integers(0, 100), st.integers(0, 99))
def test_what_is_kept_comes_back(guards: list[Guard], tries: int, failures: int) -> None:
    for guard in guards:
        successes = max(0, tries - failures)
        guard.score = RelayScore(use=Score(tries, successes, successes / tries if tries else 1.0))
    text = guards_to_json(GuardSet(RULES, guards), "chain")
    assert guards_from_json(text, "chain", RULES).guards == guards
    assert guards_from_json(text, "another chain", RULES).guards == []


ROW = {
    "node_id": "ab" * 20,
    "demoted": False,
    "set_up": [2, 3],
    "use": [0, 0],
    "sampled_at": 1,
    "expires_at": 2,
    "failed_at": 0,
    "tried_at": 0,
    "retry_at": 0,
    "unlisted_since": 0,
    "confirmed": 1,
    "failures": 0,
}


@pytest.mark.parametrize(
    "changes",
    [
        {"node_id": "ab"},
        {"node_id": "not hexadecimal"},
        {"demoted": 1},
        {"use": [2, 1]},
        {"use": [0]},
        {"use": None},
        {"set_up": ["0", 1]},
        {"expires_at": -1},
        {"expires_at": 2**50},
        {"expires_at": 1.5},
        {"confirmed": True},
        {"failures": None},
        {"set_up": [1, 10**6]},
    ],
)
def test_a_row_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    document = {"version": 1, "chain_id": "chain", "guards": [ROW]}
    assert len(guards_from_json(json.dumps(document), "chain", RULES).guards) == 1
    with pytest.raises(DecodeError, match="not a list of guards"):
        guards_from_json(json.dumps(document | {"guards": [ROW | changes]}), "chain", RULES)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"version": 2, "chain_id": "chain", "guards": []}', '{"version": 1, "guards": []}', "[" * 9999],
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        guards_from_json(text, "chain", RULES)


def test_a_guard_named_twice_or_too_many_are_refused() -> None:
    for rows in ([ROW, ROW], [ROW | {"node_id": f"{i:040x}"} for i in range(61)]):
        with pytest.raises(DecodeError):
            guards_from_json(json.dumps({"version": 1, "chain_id": "chain", "guards": rows}), "chain", RULES)
