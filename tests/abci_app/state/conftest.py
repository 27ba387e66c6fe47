"""A small committee with model nodes on a bare state, driven block by block through the six verification transactions."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from abci_app.state import epoch, invariants
from abci_app.state.challenge import (
    assignment_input,
    challenge_nonce,
    leader_input,
    owns,
    parameters,
    running_epoch,
)
from abci_app.state.context import BlockContext, Event, Handler, Misbehavior
from abci_app.state.genesis import Genesis, genesis_state
from abci_app.state.params import DEFAULT
from abci_app.state.state import MemoryReader, State
from abci_app.state.transition import Block, BlockResult, apply_block
from abci_app.state.txs import (
    commit_challenges,
    commit_scores,
    open_challenges,
    prove_vrf,
    publish_transcripts,
    reveal_scores,
)
from network import vrf
from network.chain_records import (
    PARAMS_KEY,
    EpochRecord,
    NodeRecord,
    Params,
    ProposalRecord,
    ValidatorRecord,
    node_key,
    proposal_key,
    validator_key,
)
from network.chain_tx import (
    Challenge,
    CommitChallenges,
    CommitScores,
    OpenChallenges,
    Propose,
    ProveVrf,
    PublishTranscripts,
    RevealScores,
    Score,
    ScoreSheet,
    Transcript,
    TxKind,
    Vote,
    build_tx,
    challenge_hash,
    sheet_hash,
)
from network.codec import Message
from network.crypto import SigningKey, sha256
from network.ids import Role, node_id
from network.inference import STATEMENT_DOMAIN, Finish, ReplyStatement, Sampling, statement_bytes

HANDLERS: dict[type[Message], Handler] = {
    ProveVrf: prove_vrf,
    CommitChallenges: commit_challenges,
    OpenChallenges: open_challenges,
    PublishTranscripts: publish_transcripts,
    CommitScores: commit_scores,
    RevealScores: reveal_scores,
}
CHAIN = "planetserve-test"
SHORT_EPOCHS = {
    "epoch_blocks": 6,
    "vrf_end": 1,
    "commit_end": 2,
    "send_end": 3,
    "publish_end": 4,
    "score_end": 5,
    "reveal_end": 6,
    "registration_work": 0,
    "voting_blocks": 20,
}
MODEL_HASH = sha256(b"model")


@dataclass
class Verifier:
    """One committee member's secrets and what it has fixed this epoch."""

    key: SigningKey
    id: bytes

    def output(self, record: EpochRecord) -> bytes:
        return vrf.output(vrf.prove(self.key.seed, assignment_input(record.beacon)))


class Chain:
    """The state machine without envelopes: `send` runs one handler in a fork, `block` ends and begins blocks."""

    def __init__(self, *, committee: int = 4, models: int = 3, params: Params = DEFAULT) -> None:
        self.state = State(MemoryReader())
        self.state.save(PARAMS_KEY, params)
        self.height = 1
        self.verifiers: list[Verifier] = []
        for index in range(committee):
            consensus = SigningKey(sha256(b"consensus", bytes((index,))))
            key = SigningKey(sha256(b"verifier", bytes((index,))))
            self.verifiers.append(Verifier(key, node_id(consensus.public)))
            self.state.save(
                validator_key(node_id(consensus.public)), ValidatorRecord(consensus.public, key.public, 10, f"v{index}")
            )
        self.models = [SigningKey(sha256(b"model node", bytes((index,)))) for index in range(models)]
        for key in self.models:
            record = NodeRecord(
                signing_key=key.public,
                role=Role.MODEL,
                group="g",
                model_hash=MODEL_HASH,
                reputation=params.initial_reputation,
                trusted=True,
            )
            self.state.save(node_key(node_id(key.public)), record)
        epoch.init(self.state, self.context())
        epoch.begin_block(self.state, self.context())

    def context(self) -> BlockContext:
        return BlockContext(CHAIN, self.height, sha256(b"block", bytes(self.height)), sha256(b"commit", bytes(self.height)))

    @property
    def epoch(self) -> EpochRecord:
        return running_epoch(self.state)

    def send(self, body: Message, key: SigningKey) -> list[Event]:
        """Run one transaction; a TxError leaves the state as it was."""
        handler = HANDLERS[type(body)]
        handler.check_stateless(body)
        fork = self.state.fork()
        events = handler.check_and_execute(body, key.public, fork, self.context())
        self.state.merge(fork)
        return events

    def to_offset(self, offset: int) -> list[Event]:
        """Decide empty blocks until the running one has this offset in its epoch."""
        events: list[Event] = []
        while self.height - self.epoch.first_height != offset:
            events += epoch.end_block(self.state, self.context())
            self.height += 1
            events += epoch.begin_block(self.state, self.context())
        return events

    def end_epoch(self) -> tuple[EpochRecord, list[Event]]:
        """Run to the next epoch's first block; what the ended one's record says."""
        number = self.epoch.number
        events: list[Event] = []
        while self.epoch.number == number:
            events += epoch.end_block(self.state, self.context())
            self.height += 1
        events += epoch.begin_block(self.state, self.context())
        record = self.state.load(EpochRecord, epoch.epoch_key(number))
        assert record is not None
        return record, events

    def node(self, index: int) -> NodeRecord:
        record = self.state.load(NodeRecord, node_key(node_id(self.models[index].public)))
        assert record is not None
        return record

    def challenges(self, verifier: Verifier) -> list[Challenge]:
        """What this verifier owns this epoch, as it would send it."""
        output, params = verifier.output(self.epoch), parameters(self.state)
        found = []
        for key in self.models:
            node = node_id(key.public)
            if owns(output, node, 0, params):
                nonce = challenge_nonce(output, node, 0)
                sampling = Sampling(600, 0, 0, 40)
                found.append(Challenge(self.epoch.number, node, 0, nonce, sampling, b'{"messages":[]}', sha256(b"salt", nonce)))
        return found

    def commitment(self, verifier: Verifier) -> CommitChallenges:
        hashes = [challenge_hash(challenge) for challenge in self.challenges(verifier)]
        dummies = [
            sha256(b"dummy", verifier.id, bytes((index,))) for index in range(parameters(self.state).slots - len(hashes))
        ]
        return CommitChallenges(self.epoch.number, tuple(sorted(hashes + dummies)))

    def opening(self, verifier: Verifier) -> OpenChallenges:
        proof = vrf.prove(verifier.key.seed, assignment_input(self.epoch.beacon))
        return OpenChallenges(self.epoch.number, tuple(self.challenges(verifier)), proof)

    def reply(self, challenge: Challenge, *, by: SigningKey | None = None, **changes: object) -> Transcript:
        """The signed answer of the challenged node, or of the node `by`."""
        key = by or next(key for key in self.models if node_id(key.public) == challenge.node_id)
        statement = ReplyStatement(
            STATEMENT_DOMAIN,
            challenge.nonce,
            node_id(key.public),
            MODEL_HASH,
            sha256(b"prompt"),
            challenge.sampling,
            (5, 6, 7),
            Finish.STOP,
        )
        statement = replace(statement, **changes)  # type: ignore[arg-type]
        signature = key.sign(statement_bytes(statement))
        return Transcript(challenge_hash(challenge), statement, signature, node_id(key.public))

    def ask(self, answers: Callable[[Verifier, Challenge], Transcript | None]) -> None:
        """VRF, commitment, opening and transcripts of every verifier, each in its window."""
        params = parameters(self.state)
        for verifier in self.verifiers:
            proof = vrf.prove(verifier.key.seed, leader_input(self.epoch.beacon))
            self.send(ProveVrf(self.epoch.number, proof), verifier.key)
            self.send(self.commitment(verifier), verifier.key)
        self.to_offset(params.send_end)
        for verifier in self.verifiers:
            if challenges := self.challenges(verifier):
                self.send(self.opening(verifier), verifier.key)
                answered = [answers(verifier, challenge) for challenge in challenges]
                published = tuple(transcript for transcript in answered if transcript is not None)
                if published:
                    self.send(PublishTranscripts(self.epoch.number, published), verifier.key)

    def score(self, sheets: dict[int, list[Score]]) -> None:
        """Commit and reveal these scores of the verifiers with these numbers."""
        params = parameters(self.state)
        self.to_offset(params.publish_end)
        made = {}
        for index, scores in sheets.items():
            verifier = self.verifiers[index]
            ordered = tuple(sorted(scores, key=lambda score: score.challenge_hash))
            made[index] = ScoreSheet(self.epoch.number, verifier.id, ordered, sha256(b"sheet", verifier.id))
            self.send(CommitScores(self.epoch.number, sheet_hash(made[index])), verifier.key)
        self.to_offset(params.score_end)
        for index, sheet in made.items():
            self.send(RevealScores(sheet), self.verifiers[index].key)

    def all_challenges(self) -> list[Challenge]:
        return [challenge for verifier in self.verifiers for challenge in self.challenges(verifier)]


@pytest.fixture
def make_chain() -> type[Chain]:
    """The builder itself, so that a test chooses sizes."""
    return Chain


@pytest.fixture
def chain() -> Chain:
    """Four verifiers and three model nodes at the first block of epoch 0."""
    return Chain()


class Ledger:
    """The whole state machine behind signed transactions: blocks go in, results come out, invariants hold after each."""

    def __init__(self, *, committee: int = 4, **params: int) -> None:
        self.consensus = [SigningKey(sha256(b"ledger consensus", bytes([n]))) for n in range(committee + 4)]
        self.verifiers = [SigningKey(sha256(b"ledger verifier", bytes([n]))) for n in range(committee + 4)]
        document = {
            "params": {**SHORT_EPOCHS, **params},
            "verifiers": [
                {
                    "consensus_key": self.consensus[n].public.hex(),
                    "verifier_key": self.verifiers[n].public.hex(),
                    "name": f"v{n}",
                }
                for n in range(committee)
            ],
        }
        validators = tuple((self.consensus[n].public, 10) for n in range(committee))
        genesis = genesis_state(Genesis(CHAIN, 1, validators, json.dumps(document).encode()))
        self.rows = MemoryReader(dict(genesis.scan(b"")))
        self.powers = invariants.powers(self.rows)
        self.height = 0
        self._nonce = 0

    @property
    def state(self) -> State:
        return State(self.rows)

    def tx(self, key: SigningKey, kind: TxKind, body: Message) -> bytes:
        """The transaction with a nonce of its own."""
        self._nonce += 1
        return build_tx(kind, body, key=key, chain_id=CHAIN, nonce=self._nonce)

    def propose(self, member: int, **change: object) -> bytes:
        return self.tx(self.verifiers[member], TxKind.PROPOSE, Propose("a change", **change))  # type: ignore[arg-type]

    def vote(self, member: int, proposal: int, approve: bool = True) -> bytes:
        return self.tx(self.verifiers[member], TxKind.VOTE, Vote(proposal, approve))

    def block(self, *txs: bytes, misbehavior: tuple[Misbehavior, ...] = ()) -> BlockResult:
        """Decide one block; its validator updates must be such as CometBFT takes."""
        mark = bytes([(self.height + 1) % 256])
        context = BlockContext(CHAIN, self.height + 1, sha256(b"block", mark), sha256(b"commit", mark), misbehavior)
        after, result = apply_block(self.state, Block(context, txs))
        self.height += 1
        self.rows = MemoryReader(dict(after.scan(b"")))
        self.powers = invariants.updated(self.powers, result.validator_updates)
        assert self.powers == invariants.powers(self.rows)
        assert invariants.check(self.rows) == []
        return result

    def codes(self, *txs: bytes) -> list[int]:
        return [result.code for result in self.block(*txs).tx_results]

    def to(self, height: int) -> BlockResult:
        """Decide empty blocks up to this height; the last one's result."""
        result = self.block()
        while self.height < height:
            result = self.block()
        return result

    def proposal(self, number: int) -> ProposalRecord:
        record = self.state.load(ProposalRecord, proposal_key(number))
        assert record is not None
        return record

    def member(self, number: int) -> ValidatorRecord | None:
        return self.state.load(ValidatorRecord, validator_key(node_id(self.consensus[number].public)))


@pytest.fixture
def make_ledger() -> type[Ledger]:
    """The builder itself, so that a test chooses sizes and parameters. An epoch has six blocks, nothing costs work."""
    return Ledger


@pytest.fixture
def ledger() -> Ledger:
    """Four members of equal power before the first block."""
    return Ledger()
