"""The log of decisions: bounded, newest first, each with what came of it, and JSON throughout."""

import json
from dataclasses import replace

import pytest

from serving_node.decisions import KEPT_CANDIDATES, DecisionLog, Outcome
from serving_node.routing import Candidate, Decision


def made(number: int) -> Decision:
    return Decision(b"\x0a", "ttft", 64, "its turn", id=number, at=float(number), prompt_tokens=100)


def test_the_newest_come_first_with_their_outcomes() -> None:
    log = DecisionLog(kept=3)
    for number in range(5):
        log.decided(made(number))
    log.ended(made(4), Outcome(b"\x0b", 0, 0.5, "broken"))
    log.ended(made(4), Outcome(b"\x0a", 64, 0.25))
    log.ended(made(0), Outcome(b"\x0a", 64, 0.25))
    rows = json.loads(json.dumps(log.explain(6.0)))
    assert [row["id"] for row in rows] == [4, 3, 2]
    assert rows[0]["ago_s"] == 2.0
    assert [(one["node_id"], one["failure"]) for one in rows[0]["outcomes"]] == [("0b", "broken"), ("0a", "")]
    assert rows[1]["outcomes"] == []


def test_some_of_the_rows() -> None:
    log = DecisionLog()
    for number in range(4):
        log.decided(made(number))
    assert [row["id"] for row in log.explain(9.0, 2)] == [3, 2]
    assert [row["id"] for row in log.explain(9.0, number=1)] == [1]
    assert log.explain(9.0, 0) == log.explain(9.0, number=77) == []


@pytest.mark.parametrize("scores", [[float(at) for at in range(64)], [1.0] * 64, [float(64 - at) for at in range(64)]])
def test_of_a_large_group_the_best_and_the_chosen_are_kept(scores: list[float]) -> None:
    rows = tuple(
        Candidate(bytes([at]) * 20, at == 0, 1, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.01, 1.0, 1.0, score)
        for at, score in enumerate(scores)
    )
    log = DecisionLog()
    log.decided(replace(made(1), node_id=rows[40].node_id, candidates=rows))
    (row,) = log.explain(1.0)
    kept = row["candidates"]
    assert isinstance(kept, list) and len(kept) <= KEPT_CANDIDATES
    names = {each["node_id"] for each in kept}
    assert rows[40].node_id.hex() in names
    assert min(each["score_s"] for each in kept) == min(scores)


def test_a_small_group_is_kept_whole() -> None:
    rows = tuple(Candidate(bytes([at]) * 20, at == 0, 1, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.01, 1.0, 1.0, 1.0) for at in range(16))
    log = DecisionLog()
    log.decided(replace(made(1), candidates=rows))
    assert len(log.explain(1.0)[0]["candidates"]) == 16  # type: ignore[arg-type]
