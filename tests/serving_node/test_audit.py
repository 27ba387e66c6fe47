"""Telling a hit from a miss by the clock, and whom to try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_node.audit import DEAREST_S, SHARE, Audits, tells, was_hit
from serving_node.routing import FORWARD_COST_S, Candidate, prefill_tokens

PROMPT, HIT = 8000, 128
NEVER, ALWAYS = bytes(8), b"\xff" * 8


def candidate(
    name: bytes = b"a", *, held: int = 7900, queue_s: float = 0.0, token_s: float = 50e-6, own: bool = False
) -> Candidate:
    ttft = FORWARD_COST_S + queue_s + prefill_tokens(PROMPT, held) * token_s
    return Candidate(name, own, 1, held, held, 0.0, 0.0, queue_s, 0.02, token_s, 1.0, 1.0, ttft)


def test_the_clock_tells_a_hit_from_a_miss_where_they_lie_apart() -> None:
    assert was_hit(candidate(), PROMPT, 0.06) is True
    assert was_hit(candidate(), PROMPT, 0.42) is False
    # Nothing can be told of what waits, of short prefixes, and of our own engine.
    assert was_hit(candidate(queue_s=0.2), PROMPT, 0.42) is None
    assert was_hit(candidate(held=900), PROMPT, 0.42) is None
    assert was_hit(candidate(token_s=1e-7), PROMPT, 0.42) is None
    assert not tells(candidate(own=True), PROMPT)


@given(st.integers(2000, 8000), st.floats(1e-5, 1e-2))
def test_an_answer_as_predicted_is_always_a_hit(held: int, token_s: float) -> None:
    each = candidate(held=held, token_s=token_s)
    ttft = each.rtt_s + FORWARD_COST_S + prefill_tokens(PROMPT, held) * token_s
    assert was_hit(each, PROMPT, ttft) in (True, None)
    assert was_hit(each, PROMPT, each.rtt_s + FORWARD_COST_S + PROMPT * token_s) in (False, None)


def test_claimants_are_tried_in_turn_and_never_the_chosen_one() -> None:
    audits = Audits(lambda size: ALWAYS)
    chosen, one, two = candidate(b"c"), candidate(b"a"), candidate(b"b")
    rows = (one, two, chosen)
    picked = [audits.pick(rows, chosen, PROMPT, HIT, float(turn)) for turn in range(4)]
    assert [each and each.node_id for each in picked] == [b"a", b"b", b"a", b"b"]
    assert audits.made == 4
    audits.forget(b"b")
    assert audits.pick(rows, chosen, PROMPT, HIT, 5.0) is two


@pytest.mark.parametrize(
    "suspect",
    [
        candidate(held=0),
        candidate(queue_s=0.5),
        candidate(own=True),
        candidate(token_s=(DEAREST_S + 1) / PROMPT),
    ],
    ids=["claims nothing", "busy", "ourselves", "a miss would cost the user too much"],
)
def test_who_is_not_tried(suspect: Candidate) -> None:
    chosen = candidate(b"c")
    assert Audits(lambda size: ALWAYS).pick((suspect, chosen), chosen, PROMPT, HIT, 0.0) is None


def test_a_prompt_that_the_chosen_node_does_not_hold_is_no_audit() -> None:
    chosen = candidate(b"c", held=0)
    assert Audits(lambda size: ALWAYS).pick((candidate(), chosen), chosen, PROMPT, HIT, 0.0) is None


def test_the_share_of_prompts_given_away_is_bounded() -> None:
    state = [0]

    def rng(size: int) -> bytes:
        state[0] = (state[0] * 6364136223846793005 + 1442695040888963407) % 2**64
        return state[0].to_bytes(8, "big")

    audits, chosen, other = Audits(rng), candidate(b"c"), candidate()
    for turn in range(20_000):
        audits.pick((other, chosen), chosen, PROMPT, HIT, float(turn))
    assert 0 < audits.made < 0.005 * 20_000
    assert pytest.approx(audits.made / 20_000, abs=0.0015) == SHARE
    assert Audits(lambda size: NEVER).pick((other, chosen), chosen, PROMPT, HIT, 0.0) is None
