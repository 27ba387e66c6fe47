"""The mind of one node's forwarding, without a network: what it learns, what it claims, when it forwards."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.crypto import SigningKey
from network.directory import Directory
from network.errors import ConfigError
from network.hrtree.fingerprint import GENERATION_EPOCHS, ChunkPlan, pack_tokens
from network.ids import Role, node_id
from serving_node.claims import STALE_ADMISSION_S
from serving_node.forwarder import Forwarder
from serving_node.load_factor import DEFAULT_TOKEN_S, EngineLoad
from serving_node.routing import CACHED_COST, FORWARD_COST_S

KEYS = [SigningKey(bytes([number + 1] * 32)) for number in range(3)]
PROMPT = list(range(400))
WALL = 1_700_000_000_000


def directory(trusted: Sequence[bool] = (True, True, True), *, epoch: int = 0, live: int = 3) -> Directory:
    entries = [
        DirectoryEntry(
            node_id=node_id(key.public), signing_key=key.public, role=Role.MODEL, group="m", trusted=yes, reputation=1
        )
        for key, yes in zip(KEYS[:live], trusted, strict=False)
    ]
    record = DirectoryRecord("chain", epoch, 1, b"", tuple(sorted(entries, key=lambda entry: entry.node_id)))
    return Directory(record, 1)


def make(number: int, policy: str = "ttft", listed: Directory | None = None) -> Forwarder:
    key = KEYS[number]
    return Forwarder(node_id(key.public), key, listed or directory(), "m", policy, bytes, 1, ChunkPlan((), 4))


def tell(sender: Forwarder, *receivers: Forwarder, now: float = 0.0) -> None:
    sender.sync.journal.flush()
    for receiver in receivers:
        received = receiver.sync.on_post(sender.sync.post_for(receiver.own, WALL), now, WALL)
        sender.sync.on_ack(receiver.own, received.ack, now)


def pair() -> tuple[Forwarder, Forwarder]:
    one, two = make(0), make(1)
    tell(one, two)
    tell(two, one)
    return one, two


def claim(forwarder: Forwarder, other: Forwarder, prompt: list[int], now: float = 0.0) -> int:
    rows = forwarder.decide(prompt, now).candidates
    return next(candidate.held_tokens for candidate in rows if candidate.node_id == other.own)


def test_the_second_prompt_goes_to_the_holder() -> None:
    one, two = pair()
    assert two.decide(PROMPT, 0.0).node_id == two.own
    one.admitted(PROMPT, 0.0)
    tell(one, two)
    decision = two.decide(PROMPT, 0.0)
    assert (decision.node_id, decision.predicted_cached_tokens) == (one.own, 400)
    assert decision.predicted_ttft_s == pytest.approx(FORWARD_COST_S + 400 * CACHED_COST * DEFAULT_TOKEN_S)


def test_no_share_neither_tells_nor_matches() -> None:
    one, two = pair()
    one.admitted(PROMPT, 0.0, no_share=True)
    one.served(PROMPT, 0, 1.0, 0.0, no_share=True)
    assert len(one.index) == 0
    one.admitted(PROMPT, 0.0)
    tell(one, two)
    assert two.decide(PROMPT, 0.0, no_share=True).node_id == two.own


def test_a_salted_prompt_is_held_for_its_salt_alone() -> None:
    one, two = pair()
    one.admitted(PROMPT, 0.0, salt=b"ours")
    one.served(PROMPT, 0, 1.0, 0.0, salt=b"ours")
    tell(one, two)
    assert two.decide(PROMPT, 0.0, salt=b"ours").predicted_cached_tokens == 400
    for salt in (b"", b"theirs"):
        assert all(not row.held_tokens for row in two.decide(PROMPT, 0.0, salt=salt).candidates)
    # The engine has evicted it: what is taken back is what was claimed under the salt, and nothing else.
    one.admitted(PROMPT, 0.0)
    one.admitted([*PROMPT, 1], 1.0, salt=b"ours")
    one.served([*PROMPT, 1], 0, 1.0, 1.0, salt=b"ours")
    assert one.index.match(pack_tokens(PROMPT))[one.own].tokens == 400


def test_after_a_restart_of_the_engine_nothing_is_claimed() -> None:
    one, two = pair()
    for start in range(0, 4000, 400):
        one.admitted(list(range(start, start + 400)), 0.0)
        one.served(list(range(start, start + 400)), 0, 1.0, 0.0)
    tell(one, two)
    assert claim(two, one, PROMPT) == 400
    one.engine_restarted()
    assert one.index.held(one.own) == 0
    tell(one, two, now=1.0)
    assert two.index.held(one.own) == 0 and claim(two, one, PROMPT, 1.0) == 0
    # And nothing of before is remembered: a first answer without a hit is no broken claim.
    one.served(PROMPT, 0, 1.0, 2.0)
    assert one.experience.confidence(one.own, 2.0) == 1.0


def test_an_unshared_prompt_takes_no_claim_back() -> None:
    one, _ = pair()
    one.admitted(PROMPT, 0.0)
    one.served(PROMPT, 0, 1.0, 0.0)
    one.admitted(PROMPT, 1.0, no_share=True)
    one.served(PROMPT, 0, 1.0, 1.0, no_share=True)
    assert one.index.match(pack_tokens(PROMPT))[one.own].tokens == 400
    assert one.experience.confidence(one.own, 1.0) == 1.0


def test_an_untrusted_node_answers_what_enters_at_it_and_gets_nothing() -> None:
    listed = directory((False, True, True))
    one, two, three = (make(number, listed=listed) for number in range(3))
    for speaker in (one, two, three):
        tell(speaker, *[other for other in (one, two, three) if other is not speaker])
    one.admitted(PROMPT, 0.0)
    two.admitted(PROMPT, 0.0)
    tell(one, two, three)
    tell(two, one, three)
    decision = one.decide(PROMPT, 0.0)
    assert decision.node_id == one.own
    assert decision.reason.startswith("not trusted")
    others = three.decide(PROMPT, 0.0)
    assert others.node_id == two.own
    assert one.own not in {candidate.node_id for candidate in others.candidates}


def test_trust_regained_needs_no_new_snapshot() -> None:
    listed = directory((False, True, True))
    one, two = make(0, listed=listed), make(1, listed=listed)
    tell(two, one)
    one.admitted(PROMPT, 0.0)
    tell(one, two)
    assert two.decide(PROMPT, 0.0).node_id == two.own
    two.on_directory(directory())
    assert two.decide(PROMPT, 0.0).node_id == one.own


def test_a_node_not_listed_yet_answers_itself() -> None:
    one = make(2, listed=directory(live=2))
    assert (one.decide(PROMPT, 0.0).node_id, one.decide(PROMPT, 0.0).reason) == (one.own, "not in the directory")


def test_nothing_is_sent_to_a_node_that_never_spoke_or_fell_silent() -> None:
    one, two = make(0), make(1)
    assert [candidate.node_id for candidate in one.decide(PROMPT, 0.0).candidates] == [one.own]
    tell(two, one)
    two.admitted(PROMPT, 0.0)
    tell(two, one)
    decision = one.decide(PROMPT, 0.0)
    assert decision.node_id == two.own
    one.failed(decision)
    assert one.decide(PROMPT, 0.0).node_id == one.own
    tell(two, one)
    assert one.decide(PROMPT, 0.0).node_id == two.own


def test_an_engine_that_evicted_corrects_our_claims() -> None:
    one, two = pair()
    other = PROMPT[:200] + [9] * 200
    for prompt, cached in ((PROMPT, 0), (other, 200)):
        one.admitted(prompt, 0.0)
        one.served(prompt, cached, 1.0, 0.0)
    tell(one, two)
    assert (claim(two, one, PROMPT), claim(two, one, other)) == (400, 400)
    one.admitted(PROMPT, 1.0)
    one.served(PROMPT, 100, 1.0, 1.0)
    tell(one, two)
    assert (claim(two, one, PROMPT), claim(two, one, other)) == (400, 200)


def test_equal_prompts_at_once_are_no_eviction() -> None:
    one, _ = pair()
    one.admitted(PROMPT, 0.0)
    one.admitted(PROMPT, 0.1)
    one.served(PROMPT, 0, 1.0, 1.0)
    one.served(PROMPT, 0, 1.0, 1.0)
    assert one.experience.confidence(one.own, 1.0) == 1.0
    one.admitted(PROMPT, 2.0)
    one.admitted(PROMPT, 3.0 + STALE_ADMISSION_S)
    one.served(PROMPT, 0, 1.0, 4.0 + STALE_ADMISSION_S)
    assert one.experience.confidence(one.own, 4.0 + STALE_ADMISSION_S) < 1.0


def test_claims_stay_within_what_the_engine_can_cache() -> None:
    one, two = pair()
    for number in range(10):
        one.admitted([number] * 400, float(number))
    one.set_load(EngineLoad(slots=2, cache_tokens=1600), 10.0)
    tell(one, two)
    claims = [claim(two, one, [number] * 400, 10.0) for number in range(10)]
    assert claims == [0] * 7 + [400] * 3
    assert one.index.held(one.own) * 4 <= 1600


def test_bookings_keep_a_burst_from_one_holder() -> None:
    one, two = pair()
    one.admitted(PROMPT, 0.0)
    tell(one, two)
    tail = [[number] * 3000 for number in range(5)]
    chosen = [two.decide(PROMPT + end, 0.0).node_id for end in tail]
    assert chosen[0] == one.own
    assert two.own in chosen
    tell(one, two, now=5.0)
    one.set_load(EngineLoad(running=5), 5.0)
    tell(one, two, now=5.0)
    assert two.decide(PROMPT + tail[0], 5.0).node_id == one.own


@pytest.mark.parametrize(
    ("load", "queue_s"),
    [
        (EngineLoad(running=1, queued_tokens=300, capacity_tokens_per_s=150, slots=2), 2.0),
        (EngineLoad(running=2, queued_tokens=0, capacity_tokens_per_s=150, slots=2), 3.0),
        (EngineLoad(running=2, waiting=3, queued_tokens=9000, capacity_tokens_per_s=150, slots=2), 12.0),
        (EngineLoad(running=9, queued_tokens=300, capacity_tokens_per_s=150), 2.0),
    ],
)
def test_a_queue_is_counted_once(load: EngineLoad, queue_s: float) -> None:
    """While a slot is free the tokens ahead count; once none is, the answers ahead, whose time has their tokens in it."""
    one, two = pair()
    one.served(PROMPT, 0, 2.0, 0.0, latency_s=6.0)
    one.set_load(load, 0.0)
    tell(one, two)
    row = next(candidate for candidate in two.decide(PROMPT, 0.0).candidates if candidate.node_id == one.own)
    assert row.queue_s == pytest.approx(queue_s, rel=0.02)


def test_a_liar_loses_weight() -> None:
    """It claims a prefix it lacks, and says so once asked: its claims are soon worth a tenth."""
    one, two = pair()
    one.admitted(PROMPT, 0.0)
    tell(one, two)
    for turn in range(7):
        decision = two.decide(PROMPT, 0.0)
        assert decision.predicted_cached_tokens == int(400 * 0.75**turn)
        two.answered(decision, 0, 400 * DEFAULT_TOKEN_S, 0.0)
    assert two.experience.slowness(one.own, 0.0) < 1.1
    assert two.decide(PROMPT, 0.0).node_id == two.own


def test_a_liar_that_says_it_had_cached_is_found_out_by_the_clock() -> None:
    one, two = pair()
    one.admitted(PROMPT, 0.0)
    tell(one, two)
    sent = 0
    for turn in range(10):
        decision = two.decide(PROMPT, float(turn))
        if decision.node_id == two.own:
            break
        sent += 1
        two.answered(decision, 400, 4 * 400 * DEFAULT_TOKEN_S, float(turn))
    assert 1 <= sent <= 5
    assert two.experience.slowness(one.own, 10.0) > 1.5
    assert two.experience.word(one.own, 10.0) < 0.8


def test_an_honest_holder_keeps_its_weight() -> None:
    one, two = pair()
    one.admitted(PROMPT, 0.0)
    tell(one, two)
    for turn in range(20):
        decision = two.decide(PROMPT, float(turn))
        assert decision.node_id == one.own
        two.answered(decision, 399, decision.predicted_ttft_s, float(turn))


def test_a_price_of_zero_attracts_nobody_for_long() -> None:
    one, two = pair()
    report = replace(one.beliefs.own_report(), token_ns=1, capacity_milli=10**9)
    one.sync.journal.report(report)
    tell(one, two)
    row = next(candidate for candidate in two.decide(PROMPT, 0.0).candidates if candidate.node_id == one.own)
    assert row.token_s == DEFAULT_TOKEN_S / 4


def test_an_epoch_change_keeps_what_is_held() -> None:
    """Peers may see the new fingerprint generation at different moments; both keys stay matchable meanwhile."""
    one, two = pair()
    one.admitted(PROMPT, 0.0)
    tell(one, two)
    later = directory(epoch=GENERATION_EPOCHS)
    two.on_directory(later)
    assert two.decide(PROMPT, 0.0).node_id == one.own
    longer = PROMPT + [5] * 200
    one.admitted(longer, 1.0)
    tell(one, two)
    assert claim(two, one, longer) == 600
    one.on_directory(later)
    one.admitted(longer, 2.0)
    tell(one, two)
    both = directory(epoch=2 * GENERATION_EPOCHS)
    one.on_directory(both)
    two.on_directory(both)
    assert claim(two, one, longer) == 600


def test_short_prompts_make_no_claims() -> None:
    one, _ = pair()
    one.admitted([1, 2, 3], 0.0)
    one.served([1, 2, 3], 0, 0.01, 0.0)
    assert len(one.index) == 0


def test_an_unknown_policy_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="round-robin"):
        make(0, "fastest")
