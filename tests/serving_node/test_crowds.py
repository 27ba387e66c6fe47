"""Many entry points at once, on the same old news: no stampede, the same replicas, newcomers eased in, the sick left alone."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.crypto import SigningKey
from network.directory import Directory
from network.hrtree.delta import LoadReport
from network.hrtree.fingerprint import ChunkPlan, Unit
from network.ids import Role, node_id
from serving_node.breaker import FAILURES, OPEN_FIRST_S, Fault
from serving_node.forwarder import Forwarder
from serving_node.load_factor import DEFAULT_TOKEN_S, EngineLoad
from serving_node.spread import rendezvous

CROWD = 16
PROMPT = list(range(400))
WALL = 1_700_000_000_000
RATE = 1 / DEFAULT_TOKEN_S


class Crowd:
    """Nodes that all hear one another when `tell` says so, and not before."""

    def __init__(self, size: int, policy: str = "ttft", incarnations: dict[int, int] | None = None) -> None:
        keys = [SigningKey(bytes([number + 1] * 32)) for number in range(size)]
        entries = [
            DirectoryEntry(node_id=node_id(key.public), signing_key=key.public, role=Role.MODEL, group="m", trusted=True)
            for key in keys
        ]
        listed = Directory(DirectoryRecord("chain", 0, 1, b"", tuple(sorted(entries, key=lambda entry: entry.node_id))), 1)
        self.minds = [
            Forwarder(
                node_id(key.public),
                key,
                listed,
                "m",
                policy,
                random.Random(number).randbytes,
                (incarnations or {}).get(number, 1),
                ChunkPlan((), 16),
            )
            for number, key in enumerate(keys)
        ]
        self.names = {mind.own: number for number, mind in enumerate(self.minds)}

    def tell(self, now: float) -> None:
        for mind in self.minds:
            mind.sync.journal.flush()
            for other in self.minds:
                if other is not mind:
                    received = other.sync.on_post(mind.sync.post_for(other.own, WALL), now, WALL)
                    mind.sync.on_ack(other.own, received.ack, now)

    def chosen(self, entry: int, prompt: list[int], now: float, **more: bytes) -> int:
        return self.names[self.minds[entry].decide(prompt, now, **more).node_id]


def busy(waiting: int, running: int = 2) -> EngineLoad:
    return EngineLoad(running, waiting, 400 * (waiting + running), RATE, 64)


def crowded(idle: set[int]) -> Crowd:
    """A crowd at work, of which some idle: everybody has served before, so that speeds and latencies are known."""
    crowd = Crowd(CROWD)
    for number, mind in enumerate(crowd.minds):
        mind.served([number] * 400, 0, 400 * DEFAULT_TOKEN_S, 0.0, latency_s=5.0)
        mind.set_load(EngineLoad(slots=64, capacity_tokens_per_s=RATE) if number in idle else busy(1), 0.0)
    crowd.tell(0.0)
    for number in range(CROWD):
        crowd.minds[number].decide([number] * 300, 0.0)
    return crowd


def test_one_idle_node_is_not_stampeded_by_sixteen_entry_points() -> None:
    """All see the same old report of one idle node. Without a thought of the others, most of two rounds would go there."""
    crowd = crowded({3})
    drawn = Counter(crowd.chosen(entry, [1000 + turn, *PROMPT], 2.0 + turn / 10) for turn in range(2) for entry in range(CROWD))
    assert drawn[3] <= 2 * CROWD / 3
    assert drawn[3] == max(drawn.values())
    assert len(drawn) > CROWD / 2


def test_in_a_quiet_group_the_idle_node_gets_it() -> None:
    """Nobody else is at work, so nobody else is after the idle node."""
    crowd = Crowd(4)
    for mind in crowd.minds:
        mind.served(PROMPT, 0, 2.6, 0.0, latency_s=5.0)
        mind.set_load(EngineLoad(slots=2, capacity_tokens_per_s=RATE), 0.0)
    crowd.minds[0].set_load(busy(4), 0.0)
    crowd.tell(0.0)
    drawn = Counter(crowd.chosen(0, [turn, *PROMPT], 3.0) for turn in range(3))
    assert set(drawn) == {1, 2, 3}


def test_liars_cannot_make_a_crowd() -> None:
    """One node that claims a million prompts in hand changes nothing: rates count up to twice the median."""
    crowd = crowded({3})
    mind = crowd.minds[0]
    nodes = [one.own for one in crowd.minds]
    before = mind.beliefs.unseen_work(nodes, 2.0)
    liar = mind.sync.replicas[crowd.minds[5].own]
    assert liar.load is not None
    liar.load = replace(liar.load, running=2**20, latency_us=1)
    assert before > 0 and mind.beliefs.unseen_work(nodes, 2.0) <= 1.3 * before


def test_a_hot_prefix_spills_to_the_same_second_holder_from_everywhere() -> None:
    crowd = Crowd(8)
    holder = crowd.minds[2]
    holder.served(PROMPT, 0, 400 * DEFAULT_TOKEN_S, 0.0)
    holder.admitted(PROMPT, 0.0)
    for number, mind in enumerate(crowd.minds):
        mind.set_load(busy(20) if number == 2 else EngineLoad(1, 0, 100, RATE, 64), 0.0)
    crowd.tell(0.0)
    decisions = [mind.decide([*PROMPT, number], 0.1) for number, mind in enumerate(crowd.minds) if number != 2]
    (second,) = {decision.node_id for decision in decisions}
    assert crowd.names[second] != 2
    assert {decision.reason for decision in decisions} == {"holders busy: the next holder of this prefix"}


def test_a_holder_keeps_its_prefix_while_waiting_costs_less_than_computing_anew() -> None:
    crowd = Crowd(8)
    crowd.minds[2].admitted(PROMPT, 0.0)
    for number, mind in enumerate(crowd.minds):
        mind.set_load(busy(0, 1) if number == 2 else EngineLoad(1, 0, 200, RATE, 64), 0.0)
    crowd.tell(0.0)
    assert {crowd.chosen(entry, [*PROMPT, entry], 0.1) for entry in range(8)} == {2}


def test_a_conversation_named_by_its_key_goes_to_one_node_unless_that_is_busy() -> None:
    crowd = Crowd(8)
    for mind in crowd.minds:
        mind.set_load(EngineLoad(1, 0, 100, RATE, 64), 0.0)
    crowd.tell(0.0)
    (home,) = {crowd.chosen(entry, [7] * 10 + PROMPT, 0.1, session=b"talk") for entry in range(8)}
    crowd.minds[home].set_load(busy(20), 1.0)
    crowd.tell(1.0)
    moved = {crowd.chosen(entry, [7] * 10 + PROMPT, 1.1, session=b"talk") for entry in range(8)}
    assert home not in moved


def test_a_newcomer_is_eased_in() -> None:
    """Node 1 has just started: of the prompts that would all go there a tenth does, after half a minute half, then all."""
    crowd = Crowd(2, incarnations={0: 1, 1: 100_001})
    crowd.tell(0.0)
    entry = crowd.minds[0]
    entry.beliefs.candidate(entry.entries[crowd.minds[1].own], None, 1, 0.0)

    def share(now: float) -> float:
        got = 0
        for turn in range(200):
            entry.set_load(busy(9), now)
            decision = entry.decide([turn, *PROMPT], now)
            got += decision.node_id != entry.own
            entry.abandoned(decision)
        return got / 200

    assert share(100.0) == pytest.approx(0.1, abs=0.06)
    assert share(130.0) == pytest.approx(0.5, abs=0.12)
    assert share(161.0) == 1.0
    crowd.minds[1].admitted(PROMPT, 100.0)
    crowd.tell(100.0)
    assert entry.decide([*PROMPT, 1], 100.0).node_id == crowd.minds[1].own


def test_a_draining_node_gets_nothing_even_for_what_it_holds() -> None:
    crowd = Crowd(2)
    crowd.minds[1].admitted(PROMPT, 0.0)
    crowd.tell(0.0)
    assert crowd.chosen(0, PROMPT, 0.0) == 1
    crowd.minds[1].set_load(EngineLoad(draining=True), 1.0)
    crowd.tell(1.0)
    assert crowd.chosen(0, PROMPT, 1.0) == 0
    crowd.minds[1].set_load(EngineLoad(), 2.0)
    crowd.tell(2.0)
    assert crowd.chosen(0, PROMPT, 2.0) == 1


def test_a_breaker_opens_for_failures_and_never_for_refusals() -> None:
    crowd = Crowd(2)
    crowd.minds[1].admitted(PROMPT, 0.0)
    crowd.tell(0.0)
    entry = crowd.minds[0]
    for fault, still in ((Fault.REFUSED, 1), (Fault.BROKEN, 0)):
        for _ in range(FAILURES):
            entry.failed(entry.decide(PROMPT, 0.0), 0.0, fault=fault)
        assert crowd.chosen(0, PROMPT, 1.0) == still
    trial = entry.decide(PROMPT, OPEN_FIRST_S)
    assert crowd.names[trial.node_id] == 1
    assert crowd.chosen(0, PROMPT, OPEN_FIRST_S) == 0
    entry.answered(trial, 400, 0.1, OPEN_FIRST_S + 1)
    assert crowd.chosen(0, PROMPT, OPEN_FIRST_S + 1) == 1


def test_the_next_best_is_the_best_of_those_not_tried() -> None:
    crowd = Crowd(3)
    crowd.minds[1].admitted(PROMPT, 0.0)
    crowd.minds[2].admitted(PROMPT[:200], 0.0)
    crowd.tell(0.0)
    entry = crowd.minds[0]
    decision = entry.decide(PROMPT, 0.0)
    order = [decision.node_id]
    while (node := entry.next_best(decision, order, 0.0)) is not None:
        order.append(node)
    assert [crowd.names[node] for node in order] == [1, 2, 0]
    assert entry.beliefs.bookings.open(crowd.minds[1].own) == 0
    entry.failed(decision, 0.0, node=crowd.minds[1].own)
    entry.served(PROMPT, 0, 2.0, 2.5, decision=decision)
    (row,) = entry.decisions.explain(3.0, 1)
    assert isinstance(row["outcomes"], list)
    assert [outcome["failure"] for outcome in row["outcomes"]] == ["unreachable", ""]


@pytest.mark.parametrize(
    "absurd",
    [
        EngineLoad(running=-1),
        EngineLoad(waiting=10**30),
        EngineLoad(queued_tokens=2**41),
        EngineLoad(capacity_tokens_per_s=float("nan")),
        EngineLoad(capacity_tokens_per_s=float("inf")),
        EngineLoad(capacity_tokens_per_s=-1.0),
        EngineLoad(cache_tokens=-5),
    ],
)
def test_absurd_engine_figures_are_refused_and_counted(absurd: EngineLoad) -> None:
    (mind,) = Crowd(1).minds
    assert mind.set_load(busy(1), 0.0)
    told = mind.beliefs.own_report()
    assert not mind.set_load(absurd, 1.0)
    assert (mind.beliefs.own_report(), mind.beliefs.absurd_samples) == (told, 1)


def test_a_peer_that_claims_any_speed_is_held_near_our_own() -> None:
    crowd = Crowd(2)
    crowd.tell(0.0)
    replica = crowd.minds[0].sync.replicas[crowd.minds[1].own]
    replica.load = LoadReport(queued_tokens=4000, capacity_milli=2**50, token_ns=1)
    row = crowd.minds[0].decide(PROMPT, 0.0).candidate(crowd.minds[1].own)
    assert row is not None and row.queue_s >= 4000 * DEFAULT_TOKEN_S / 4


def test_a_burst_at_an_idle_node_is_shared() -> None:
    """Own prompts are booked as well: the engine's next sample is a second away."""
    crowd = Crowd(4)
    for mind in crowd.minds:
        mind.set_load(EngineLoad(slots=64, capacity_tokens_per_s=RATE), 0.0)
    crowd.tell(0.0)
    drawn = Counter(crowd.chosen(0, [turn, *PROMPT], 2.0) for turn in range(8))
    assert drawn[0] <= 3 and len(drawn) == 4


def test_text_is_routed_like_tokens() -> None:
    key = SigningKey(bytes([1] * 32))
    entry = DirectoryEntry(node_id=node_id(key.public), signing_key=key.public, role=Role.MODEL, group="m", trusted=True)
    listed = Directory(DirectoryRecord("chain", 0, 1, b"", (entry,)), 1)
    mind = Forwarder(entry.node_id, key, listed, "m", "ttft", bytes, 1, ChunkPlan((), 16), unit=Unit.TEXT)
    text = b"You are a careful assistant. " * 40 + b"abc"
    mind.admitted(text, 0.0)
    decision = mind.decide(text, 0.0)
    assert decision.prompt_tokens == -(-len(text) // 4)
    assert decision.predicted_cached_tokens == len(text) // 64 * 16


def test_places_are_keyed_by_the_group() -> None:
    """Nobody outside can choose prompts that fall on one node: the order follows from the group's key."""
    mind, other = Crowd(1).minds[0], Crowd(1).minds[0]
    other.index.adopt(0, ChunkPlan((), 16), bytes(32))
    nodes = [bytes([number]) * 20 for number in range(16)]
    assert rendezvous(mind._keyed(b"x"), nodes) != rendezvous(other._keyed(b"x"), nodes)
