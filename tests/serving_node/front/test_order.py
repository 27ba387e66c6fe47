"""Whom to try when the chosen one fails."""

from dataclasses import replace

from serving_node.front.order import in_order
from serving_node.routing import Candidate, Decision


def test_the_chosen_one_comes_first_then_the_soonest() -> None:
    one = Candidate(b"1", False, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 3.0)
    rows = (one, replace(one, node_id=b"2", predicted_ttft_s=1.0), replace(one, node_id=b"3", predicted_ttft_s=2.0))
    assert in_order(Decision(b"1", "ttft", 0, "", rows)) == [b"1", b"2", b"3"]
