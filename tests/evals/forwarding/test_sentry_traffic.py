"""What the Sentry is worth, small: it finds shared lengths, loses nothing, and is told apart from wishful matches."""

from array import array
from pathlib import Path

from evals.forwarding.sentry_traffic import DEFAULT, Truth, main, preambles, propose, replay, tools
from network.hrtree.terms import plan_of


def test_shared_preambles_are_matched_to_their_end() -> None:
    prompts = list(preambles(400, 1))
    found, _ = propose(prompts[:200])
    truth = Truth()
    shared = [truth.shared(packed) for packed in prompts]
    usual, ours = (replay(prompts, shared, plan) for plan in (DEFAULT, plan_of(found, DEFAULT)))
    assert ours.matched > usual.matched
    assert ours.false < usual.false


def test_truth_counts_whole_blocks_of_what_came_before() -> None:
    truth = Truth()
    first = array("I", range(100)).tobytes()
    assert truth.shared(first) == 0
    assert truth.shared(first) == 96
    assert truth.shared(first[: 4 * 40] + first[: 4 * 40]) == 32
    assert len({packed[: 4 * 210] for packed in tools(5, 1)}) == 1


def test_a_trace_that_is_missing_ends_it(tmp_path: Path) -> None:
    assert main(["--requests", "4", "--trace", str(tmp_path / "none.jsonl")]) == 2
