"""The log of decisions: bounded, newest first, each with what came of it, and JSON throughout."""

import json

from serving_node.decisions import DecisionLog, Outcome
from serving_node.routing import Decision


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
