"""The verifiers of a simulated chain: whole verification epochs, by the honest, the silent, the lying and the copying.

A verifier reads the ledger by queries only and sends what its window allows, once more in every block until it stands
there; so it survives lost rounds, restarts and partitions as the real one does.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from abci_app.state.challenge import (
    assignment_input,
    challenge_nonce,
    leader_input,
    may_be_challenged,
    owns,
)
from evals.ledger.simulator.world import MODEL_HASH, Member, Nonces
from network import vrf
from network.chain_records import (
    CURRENT_EPOCH_KEY,
    PARAMS_KEY,
    EpochRecord,
    NodeRecord,
    OpenedChallenges,
    Params,
    TranscriptRecord,
    ValidatorRecord,
    commitment_key,
    node_key,
    opened_key,
    score_commitment_key,
    sheet_key,
    transcript_key,
    validator_key,
    vrf_key,
)
from network.chain_tx import (
    EVIDENCE_OFFSET,
    Challenge,
    CommitChallenges,
    CommitScores,
    OpenChallenges,
    ProveVrf,
    PublishTranscripts,
    RevealScores,
    Score,
    ScoreSheet,
    Transcript,
    TxKind,
    challenge_hash,
    sheet_hash,
)
from network.codec import Message, decode
from network.crypto import SigningKey, sha256
from network.ids import node_id
from network.inference import STATEMENT_DOMAIN, Finish, ReplyStatement, Sampling, statement_bytes

Read = Callable[[bytes], bytes | None]
HONEST_CREDIT, CHEAT_CREDIT = 900_000_000, 20_000_000
CHEAT_EVIDENCE = EVIDENCE_OFFSET + 20_000


class Conduct(Enum):
    """How a verifier behaves."""

    HONEST = "scores what it sees"
    SILENT = "sends nothing"
    LYING = "praises cheats and condemns the honest"
    COPYING = "commits to another's score commitment"
    LATE = "never reveals"


@dataclass
class View:
    """What the ledger says at one height."""

    read: Read
    height: int
    epoch: EpochRecord
    params: Params

    @property
    def offset(self) -> int:
        """Where the next block stands in the epoch."""
        return self.height + 1 - self.epoch.first_height


def view(read: Read, height: int) -> View:
    """The running epoch, read from one replica."""
    epoch, params = read(CURRENT_EPOCH_KEY), read(PARAMS_KEY)
    assert epoch is not None and params is not None
    return View(read, height, decode(EpochRecord, epoch), decode(Params, params))


@dataclass
class SimulatedVerifier:
    """One committee member's verifier. `cheats` are the model nodes that serve another model than they claim."""

    member: Member
    conduct: Conduct
    models: list[SigningKey]
    cheats: frozenset[bytes] = frozenset()
    nonces: Nonces = field(default_factory=Nonces)
    peers: list["SimulatedVerifier"] = field(default_factory=list)
    _drawn: tuple[bytes, list[Challenge], bytes] = (b"", [], b"")

    def act(self, seen: View) -> list[bytes]:
        """The transactions to send now."""
        if self.conduct is Conduct.SILENT or not seen.epoch.beacon or not self._sits(seen):
            return []
        return [self._sign(kind, body) for kind, body in self._bodies(seen)]

    def _sits(self, seen: View) -> bool:
        held = seen.read(validator_key(self.member.address))
        return held is not None and decode(ValidatorRecord, held).power > 0

    def _bodies(self, seen: View) -> Iterable[tuple[TxKind, Message]]:
        number, params, mine = seen.epoch.number, seen.params, self.member.address
        if seen.offset < params.vrf_end and seen.read(vrf_key(number, mine)) is None:
            yield TxKind.PROVE_VRF, ProveVrf(number, vrf.prove(self.member.verifier.seed, leader_input(seen.epoch.beacon)))
        if seen.offset < params.commit_end and seen.read(commitment_key(number, mine)) is None:
            yield TxKind.COMMIT_CHALLENGES, self._commitment(seen)
        if params.send_end <= seen.offset < params.publish_end:
            yield from self._openings(seen)
        if params.publish_end <= seen.offset < params.score_end and seen.read(score_commitment_key(number, mine)) is None:
            yield TxKind.COMMIT_SCORES, CommitScores(number, sheet_hash(self._sheet(seen)))
        if params.score_end <= seen.offset < params.reveal_end and self.conduct is not Conduct.LATE:
            committed, revealed = seen.read(score_commitment_key(number, mine)), seen.read(sheet_key(number, mine))
            if committed is not None and revealed is None:
                yield TxKind.REVEAL_SCORES, RevealScores(self._sheet(seen))

    def _openings(self, seen: View) -> Iterable[tuple[TxKind, Message]]:
        number = seen.epoch.number
        if seen.read(commitment_key(number, self.member.address)) is None:
            return
        challenges = self._challenges(seen)
        if not challenges:
            return
        if seen.read(opened_key(number, self.member.address)) is None:
            yield TxKind.OPEN_CHALLENGES, OpenChallenges(number, tuple(challenges), self._drawn[2])
            return
        open_still = [one for one in challenges if not _published(seen, challenge_hash(one))]
        if open_still:
            yield TxKind.PUBLISH_TRANSCRIPTS, PublishTranscripts(number, tuple(self._reply(one) for one in open_still))

    def _challenges(self, seen: View) -> list[Challenge]:
        """What the verifier's output selects, drawn once per beacon."""
        if self._drawn[0] == seen.epoch.beacon:
            return self._drawn[1]
        proof = vrf.prove(self.member.verifier.seed, assignment_input(seen.epoch.beacon))
        output = vrf.output(proof)
        found: list[Challenge] = []
        for key in self.models:
            node = node_id(key.public)
            held = seen.read(node_key(node))
            if held is None or not may_be_challenged(decode(NodeRecord, held), seen.epoch):
                continue
            if owns(output, node, 0, seen.params) and len(found) < seen.params.slots:
                nonce = challenge_nonce(output, node, 0)
                body, salt = b'{"messages":[]}', sha256(b"salt", nonce)
                found.append(Challenge(seen.epoch.number, node, 0, nonce, Sampling(600, 0, 0, 40), body, salt))
        self._drawn = (seen.epoch.beacon, found, proof)
        return found

    def _commitment(self, seen: View) -> CommitChallenges:
        hashes = [challenge_hash(challenge) for challenge in self._challenges(seen)]
        dummies = [sha256(b"dummy", self.member.address, bytes((at,))) for at in range(seen.params.slots - len(hashes))]
        return CommitChallenges(seen.epoch.number, tuple(sorted(hashes + dummies)))

    def _reply(self, challenge: Challenge) -> Transcript:
        """The challenged node's signed answer; every eighth challenge gets none."""
        name = challenge_hash(challenge)
        if name[0] % 8 == 0:
            return Transcript(name)
        key = next(key for key in self.models if node_id(key.public) == challenge.node_id)
        statement = ReplyStatement(
            STATEMENT_DOMAIN,
            challenge.nonce,
            challenge.node_id,
            MODEL_HASH,
            sha256(b"prompt"),
            challenge.sampling,
            (5, 6, 7),
            Finish.STOP,
        )
        return Transcript(name, statement, key.sign(statement_bytes(statement)), challenge.node_id)

    def _sheet(self, seen: View) -> ScoreSheet:
        number = seen.epoch.number
        copied = next((peer for peer in self.peers if peer.conduct is not Conduct.COPYING), None)
        if self.conduct is Conduct.COPYING and copied is not None:
            return copied._sheet(seen)
        scores: list[Score] = []
        for author in [self, *self.peers]:
            raw = seen.read(opened_key(number, author.member.address))
            for name in decode(OpenedChallenges, raw).names if raw is not None else ():
                record = _transcript(seen, name)
                if record is not None and record.transcript is not None and record.transcript.statement is not None:
                    scores.append(self._score(name, record.transcript.answered_by))
        ordered = tuple(sorted(scores, key=lambda score: score.challenge_hash))
        return ScoreSheet(number, self.member.address, ordered, sha256(b"sheet", self.member.address))

    def _score(self, name: bytes, node: bytes) -> Score:
        """The honest differ a little, as two machines' floating point does."""
        cheat = (node in self.cheats) != (self.conduct is Conduct.LYING)
        noise = sha256(self.member.address, name)[0]
        if cheat:
            return Score(name, CHEAT_CREDIT + noise, CHEAT_EVIDENCE)
        return Score(name, HONEST_CREDIT + noise, EVIDENCE_OFFSET - 3_000 + noise)

    def _sign(self, kind: TxKind, body: Message) -> bytes:
        return self.nonces.sign(self.member, kind, body)


def committee(
    members: Iterable[tuple[Member, Conduct]], models: list[SigningKey], cheats: frozenset[bytes], nonces: Nonces
) -> list[SimulatedVerifier]:
    """Verifiers that know of one another."""
    made = [SimulatedVerifier(member, conduct, models, cheats, nonces) for member, conduct in members]
    for verifier in made:
        verifier.peers = [other for other in made if other is not verifier]
    return made


def _transcript(seen: View, name: bytes) -> TranscriptRecord | None:
    raw = seen.read(transcript_key(seen.epoch.number, name))
    return None if raw is None else decode(TranscriptRecord, raw)


def _published(seen: View, name: bytes) -> bool:
    record = _transcript(seen, name)
    return record is not None and record.transcript is not None
