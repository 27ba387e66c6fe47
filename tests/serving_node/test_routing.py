"""The five policies as transcripts: who holds what and how busy they are, then who gets the prompt and why."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_node.routing import FORWARD_COST_S, POLICIES, Candidate, Decision, Query, percentile, predicted_ttft

TOKEN_S = 0.01
HIT = 128


def node(
    name: str, *, held: int = 0, queue_s: float = 0.0, load: float | None = None, rtt: float = 0.001, slowness: float = 1.0
) -> Candidate:
    own = name == "me"
    return Candidate(
        node_id=name.encode(),
        own=own,
        reputation=500_000_000,
        held_tokens=held,
        expected_tokens=held,
        age_s=0.0,
        load_factor=queue_s if load is None else load,
        queue_s=queue_s,
        rtt_s=0.0 if own else rtt,
        token_s=TOKEN_S,
        confidence=1.0,
        slowness=slowness,
        predicted_ttft_s=predicted_ttft(1000, held, 0.0 if own else rtt + FORWARD_COST_S, queue_s, TOKEN_S, slowness),
    )


def choose(policy: str, *candidates: Candidate, turn: int = 0, draw: int = 0) -> tuple[str, str]:
    query = Query(1000, candidates, HIT, turn, lambda size: draw.to_bytes(size, "big"))
    chosen, reason = POLICIES[policy](query)
    return chosen.node_id.decode(), reason


IDLE = (node("me"), node("b"), node("c"))
HOLDER = (node("me"), node("b", held=512), node("c"))
BUSY_HOLDER = (node("me"), node("b", held=512, queue_s=60.0), node("c"))
BUSY_HERE = (node("me", queue_s=30.0), node("b", queue_s=9.0), node("c"))
TWO_HOLDERS = (node("me"), node("b", held=512, queue_s=3.0), node("c", held=256, queue_s=1.0))
SHALLOW = (node("me"), node("b", held=64), node("c"))


@pytest.mark.parametrize(
    ("policy", "scene", "chosen", "reason"),
    [
        ("none", HOLDER, "me", "no forwarding"),
        ("tree", IDLE, "me", "no hit"),
        ("tree", SHALLOW, "me", "no hit"),
        ("tree", HOLDER, "b", "longest prefix"),
        ("tree", BUSY_HOLDER, "b", "longest prefix"),
        ("tree", TWO_HOLDERS, "b", "longest prefix"),
        ("paper", IDLE, "me", "no hit"),
        ("paper", SHALLOW, "me", "no hit"),
        ("paper", HOLDER, "b", "least loaded holder"),
        ("paper", BUSY_HOLDER, "me", "holders overloaded"),
        ("paper", TWO_HOLDERS, "c", "least loaded holder"),
        ("paper", BUSY_HERE, "c", "no hit"),
        ("ttft", IDLE, "me", "idle here, and no better cache elsewhere"),
        ("ttft", SHALLOW, "me", "idle here, and no better cache elsewhere"),
        ("ttft", HOLDER, "b", "soonest first token"),
        ("ttft", BUSY_HOLDER, "me", "as soon here as anywhere"),
        ("ttft", TWO_HOLDERS, "b", "soonest first token"),
        ("ttft", BUSY_HERE, "c", "soonest first token"),
    ],
)
def test_the_table(policy: str, scene: tuple[Candidate, ...], chosen: str, reason: str) -> None:
    assert choose(policy, *scene) == (chosen, reason)


def test_round_robin_takes_turns() -> None:
    assert [choose("round-robin", *HOLDER, turn=turn)[0] for turn in range(5)] == ["me", "b", "c", "me", "b"]


@pytest.mark.parametrize("policy", ["tree", "paper", "ttft"])
def test_on_an_idle_network_a_prompt_nobody_holds_stays_where_it_came_in(policy: str) -> None:
    """So a challenge, whose prompt is new, is answered by the node it was meant for."""
    assert choose(policy, *IDLE)[0] == "me"


def test_idle_equals_share_at_random() -> None:
    scene = (node("me", queue_s=30.0), node("b"), node("c"), node("d"))
    for policy in ("paper", "ttft"):
        drawn = Counter(choose(policy, *scene, draw=draw)[0] for draw in range(30))
        assert drawn == {"b": 10, "c": 10, "d": 10}


def test_a_node_that_was_slower_than_it_said_is_passed_over() -> None:
    assert choose("ttft", node("me"), node("b", held=300, slowness=3.0), node("c", held=256))[0] == "c"


def test_a_far_holder_must_save_more_than_the_way_costs() -> None:
    saved = 300 * TOKEN_S
    assert choose("ttft", node("me"), node("b", held=300, rtt=saved + 1))[0] == "me"
    assert choose("ttft", node("me"), node("b", held=300, rtt=saved / 2))[0] == "b"


def test_prediction_in_seconds() -> None:
    assert predicted_ttft(1000, 400, 0.0, 2.0, 0.01, 1.0) == 8.125
    assert predicted_ttft(1000, 400, 0.5, 2.0, 0.01, 2.0) == pytest.approx(0.5 + 16.25)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.floats(0, 1))
def test_percentile_lies_among_the_values(values: list[float], share: float) -> None:
    assert min(values) <= percentile(values, share) <= max(values) * (1 + 1e-9)
    assert percentile([1.0, 2.0, 3.0, 4.0, 5.0], 0.8) == pytest.approx(4.2)


@given(
    st.sampled_from(sorted(POLICIES)),
    st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 100), st.floats(0, 2)), min_size=1, max_size=8),
    st.integers(0, 2**64 - 1),
)
def test_every_policy_chooses_one_of_the_candidates(policy: str, rows: list[tuple[int, float, float]], draw: int) -> None:
    scene = [
        node("me" if not at else f"n{at}", held=held, queue_s=queue, rtt=rtt) for at, (held, queue, rtt) in enumerate(rows)
    ]
    chosen, reason = choose(policy, *scene, draw=draw, turn=draw % 7)
    assert chosen in {candidate.node_id.decode() for candidate in scene}
    assert reason


def test_a_decision_explains_itself_in_json() -> None:
    decision = Decision(b"\x01", "ttft", 512, "soonest first token", HOLDER, 1.5)
    told = json.loads(json.dumps(decision.explain()))
    assert told["node_id"] == "01"
    assert [row["held_tokens"] for row in told["candidates"]] == [0, 512, 0]
