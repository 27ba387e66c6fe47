"""F24: verifiers that lie, copy, withhold or sleep. With less than 1/3 of the power among them scores stay among the honest
ones; without a quorum nothing is scored, reputations stay as they were, and the chain goes on."""

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app.state.challenge import parameters
from abci_app.state.context import BlockContext
from abci_app.state.genesis import Genesis as AbciGenesis
from abci_app.state.genesis import genesis_state
from abci_app.state.reputation import updated
from abci_app.state.state import MemoryReader, State
from abci_app.state.transition import Block, apply_block
from evals.ledger.simulator.committee import (
    CHEAT_CREDIT,
    HONEST_CREDIT,
    Conduct,
    SimulatedVerifier,
    committee,
    view,
)
from evals.ledger.simulator.nodes import Public
from evals.ledger.simulator.world import CHAIN_ID, PARAMS, Genesis, Nonces
from network.chain_records import EpochRecord, NodeRecord, TranscriptRecord, epoch_key, node_key, transcript_key
from network.codec import decode
from network.crypto import sha256
from network.ids import node_id

EPOCH = int(str(PARAMS["epoch_blocks"]))
NOISE = 255  # how far two honest scores of one answer lie apart at most


@dataclass
class Ledger:
    """The state machine alone, block by block."""

    genesis: Genesis
    height: int = 0
    rows: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        validators = tuple(
            (one.consensus.public, power) for one, power in zip(self.genesis.members, self.genesis.powers, strict=True)
        )
        self.merge(genesis_state(AbciGenesis(CHAIN_ID, 1, validators, self.genesis.app_state())))

    def merge(self, state: State) -> None:
        for key, value in state.changes():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value

    def block(self, txs: list[bytes]) -> None:
        self.height += 1
        context = BlockContext(CHAIN_ID, self.height, sha256(self.height.to_bytes(8, "big")), sha256(b"commit"))
        after, _ = apply_block(State(MemoryReader(self.rows)), Block(context, tuple(txs)))
        self.merge(after)

    def epochs(self, count: int, verifiers: list[SimulatedVerifier], public: Public) -> None:
        for person in public.people:
            self.block([person.register(0, int(str(PARAMS["registration_work"])))])
        while self.height < count * EPOCH:
            seen = view(self.rows.get, self.height)
            self.block([raw for verifier in verifiers for raw in verifier.act(seen)])

    def node(self, key: bytes) -> NodeRecord:
        return decode(NodeRecord, self.rows[node_key(node_id(key))])


def run(conducts: list[Conduct], powers: tuple[int, ...], epochs: int = 4) -> tuple[Ledger, Public, frozenset[bytes]]:
    ledger = Ledger(Genesis(powers, {**PARAMS, "lifetime_epochs": 100}))
    public = Public(random.Random(0), 9, 0.0)
    cheats = frozenset([node_id(public.models()[0].public)])
    verifiers = committee(zip(ledger.genesis.members, conducts, strict=True), public.models(), cheats, Nonces())
    ledger.epochs(epochs, verifiers, public)
    return ledger, public, cheats


def results(ledger: Ledger, epochs: int) -> list[EpochRecord]:
    return [decode(EpochRecord, ledger.rows[epoch_key(number)]) for number in range(epochs)]


@st.composite
def faulty_committees(draw: st.DrawFn) -> tuple[list[Conduct], tuple[int, ...]]:
    """Any faults whose holders have less than 1/3 of the power."""
    powers = tuple(draw(st.lists(st.integers(1, 20), min_size=4, max_size=7)))
    conducts = [Conduct.HONEST] * len(powers)
    for at in draw(st.permutations(range(len(powers)))):
        lost = sum(power for power, conduct in zip(powers, conducts, strict=True) if conduct is not Conduct.HONEST)
        if 3 * (lost + powers[at]) < sum(powers):
            conducts[at] = draw(st.sampled_from([Conduct.LYING, Conduct.SILENT, Conduct.COPYING, Conduct.LATE]))
    return conducts, powers


@given(faulty_committees())
@settings(max_examples=12, deadline=None, derandomize=True)
def test_less_than_a_third_moves_no_score_beyond_the_honest(case: tuple[list[Conduct], tuple[int, ...]]) -> None:
    conducts, powers = case
    ledger, public, cheats = run(conducts, powers)
    scored = 0
    for key, value in ledger.rows.items():
        if not key.startswith(transcript_key(0, b"")[:1]):
            continue
        record = decode(TranscriptRecord, value)
        if record.score is None:
            continue
        scored += 1
        truth = CHEAT_CREDIT if record.transcript.answered_by in cheats else HONEST_CREDIT
        assert truth <= record.score.credit <= truth + NOISE
    assert scored > 0, "a quorum of honest verifiers scores"
    params = parameters(State(MemoryReader(ledger.rows)))
    for model in public.models():
        held = ledger.node(model.public)
        assert all(credit == 0 for credit in held.credits) == (node_id(model.public) in cheats) or not held.credits
        expected = NodeRecord(reputation=params.initial_reputation, trusted=True)
        for credit in held.credits:
            expected = updated(expected, credit, params)
        assert held.reputation == expected.reputation, "the reputation is what the credits say and nothing else"


@given(st.sampled_from([Conduct.SILENT, Conduct.LATE, Conduct.COPYING]), st.integers(0, 3))
@settings(max_examples=6, deadline=None, derandomize=True)
def test_without_a_quorum_nothing_is_scored_and_the_chain_goes_on(fault: Conduct, honest: int) -> None:
    conducts = [Conduct.HONEST if at == honest else fault for at in range(4)]
    ledger, public, _ = run(conducts, (10, 10, 10, 10), epochs=3)
    for record in results(ledger, 3):
        assert record.ended_height and all(result.scored == 0 for result in record.results)
    initial = parameters(State(MemoryReader(ledger.rows))).initial_reputation
    assert [ledger.node(model.public).reputation for model in public.models()] == [initial] * len(public.models())


def test_beyond_a_third_a_score_is_still_somebodys_vote() -> None:
    """2 of 4 lie and the lower median may be theirs, but it is a vote that was cast, never a number between."""
    ledger, _, _ = run([Conduct.LYING, Conduct.LYING, Conduct.HONEST, Conduct.HONEST], (10, 10, 10, 10), epochs=2)
    credits = {
        record.score.credit
        for key, value in ledger.rows.items()
        if key.startswith(transcript_key(0, b"")[:1])
        for record in [decode(TranscriptRecord, value)]
        if record.score is not None
    }
    assert credits and all(min(abs(credit - CHEAT_CREDIT), abs(credit - HONEST_CREDIT)) <= NOISE for credit in credits), (
        "a median is somebody's vote"
    )
