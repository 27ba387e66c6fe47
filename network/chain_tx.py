"""Transactions of the ledger: their bodies, their envelope, and what exactly is signed.

A body is protobuf (`network/codec.py`), the envelope adds kind, nonce, signer and an Ed25519 signature over
(domain, chain id, kind, nonce, signer, body). Kinds are permanent; retired numbers stay listed here.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from network.chain_params import Params
from network.codec import Message, blob, blobs, decode, encode, flag, nested, repeated, text, uint
from network.crypto import HYBRID_KEY_LENGTH, SigningKey, sha256, verify
from network.ids import NODE_ID_LENGTH
from network.inference import ReplyStatement, Sampling

TX_DOMAIN = b"planetserve/tx/1"
MAX_TX_BYTES = 64 * 1024
MAX_SLOTS = 64
MAX_SCORES = 1024
MAX_COMMITTEE = 128
MAX_POWER = 1_000_000_000_000  # of one validator: all of them stay far below CometBFT's bound on the total, 2^60


class TxKind(IntEnum):
    """The kinds of transaction. 12 ReportEvidence is reserved."""

    REGISTER_NODE = 1
    UPDATE_NODE = 2
    RETIRE_NODE = 3
    PROVE_VRF = 4
    COMMIT_CHALLENGES = 5
    OPEN_CHALLENGES = 6
    PUBLISH_TRANSCRIPTS = 7
    COMMIT_SCORES = 8
    REVEAL_SCORES = 9
    PROPOSE = 10
    VOTE = 11


@dataclass(frozen=True, slots=True)
class RegisterNode(Message):
    """A node joins: the signer becomes its signing key. `group`, `model_hash` and `hybrid_key` are for model nodes only.

    `work_epoch` and `work_counter` solve the hash puzzle of `network/registration_work.py`.
    """

    role: int = uint(1, limit=3)
    name: str = text(2, limit=64)
    onion_key: bytes = blob(3, size=32)
    address: str = text(4, limit=128)
    family: str = text(5, limit=64)
    group: str = text(6, limit=128)
    model_hash: bytes = blob(7, size=32)
    work_epoch: int = uint(8)
    work_counter: int = uint(9)
    hybrid_key: bytes = blob(10, size=HYBRID_KEY_LENGTH)


@dataclass(frozen=True, slots=True)
class UpdateNode(Message):
    """The signer's node is alive; fields that are not empty replace what is registered."""

    onion_key: bytes = blob(1, size=32)
    address: str = text(2, limit=128)
    hybrid_key: bytes = blob(3, size=HYBRID_KEY_LENGTH)


@dataclass(frozen=True, slots=True)
class RetireNode(Message):
    """The signer's node leaves the directory; its record and reputation stay."""


@dataclass(frozen=True, slots=True)
class ProveVrf(Message):
    """A verifier's ECVRF proof (RFC 9381, 80 bytes) on the epoch's beacon."""

    epoch: int = uint(1)
    proof: bytes = blob(2, size=80)


@dataclass(frozen=True, slots=True)
class CommitChallenges(Message):
    """Hashes of the challenges a verifier will send this epoch, padded with dummies to the fixed number of slots."""

    epoch: int = uint(1)
    commitments: tuple[bytes, ...] = blobs(2, count=MAX_SLOTS, size=32)


@dataclass(frozen=True, slots=True)
class Challenge(Message):
    """One challenge as it was sent: what its commitment hashes. `body` is the request's JSON, as any user's."""

    epoch: int = uint(1)
    node_id: bytes = blob(2, size=NODE_ID_LENGTH)
    slot: int = uint(3, limit=MAX_SLOTS)
    nonce: bytes = blob(4, size=32)
    sampling: Any = nested(5, Sampling)
    body: bytes = blob(6, limit=4096)
    salt: bytes = blob(7, size=32)


@dataclass(frozen=True, slots=True)
class OpenChallenges(Message):
    """The challenges behind a verifier's commitments; dummies stay closed.

    `proof` is the ECVRF proof on the epoch's assignment input. It comes only now: known earlier, it would tell a model
    node which requests are challenges.
    """

    epoch: int = uint(1)
    challenges: tuple[Challenge, ...] = repeated(2, Challenge, count=MAX_SLOTS)
    proof: bytes = blob(3, size=80)


@dataclass(frozen=True, slots=True)
class Transcript(Message):
    """The reply to one opened challenge, as the model node signed it; no statement means that no reply came."""

    challenge_hash: bytes = blob(1, size=32)
    statement: Any = nested(2, ReplyStatement)
    signature: bytes = blob(3, size=64)
    answered_by: bytes = blob(4, size=NODE_ID_LENGTH)


@dataclass(frozen=True, slots=True)
class PublishTranscripts(Message):
    """The replies a verifier collected this epoch."""

    epoch: int = uint(1)
    transcripts: tuple[Transcript, ...] = repeated(2, Transcript, count=MAX_SLOTS)


@dataclass(frozen=True, slots=True)
class Score(Message):
    """One verifier's judgement of one transcript: credit in 1e-9, evidence in millinats (log e-value plus EVIDENCE_OFFSET)."""

    challenge_hash: bytes = blob(1, size=32)
    credit: int = uint(2, limit=1_000_000_000)
    evidence: int = uint(3, limit=2_000_000_000)


EVIDENCE_OFFSET = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ScoreSheet(Message):
    """What a score commitment hashes: bound to the voter, so that nobody can copy it."""

    epoch: int = uint(1)
    verifier: bytes = blob(2, size=NODE_ID_LENGTH)
    scores: tuple[Score, ...] = repeated(3, Score, count=MAX_SCORES)
    salt: bytes = blob(4, size=32)


@dataclass(frozen=True, slots=True)
class CommitScores(Message):
    """SHA-256 of the verifier's encoded ScoreSheet."""

    epoch: int = uint(1)
    commitment: bytes = blob(2, size=32)


@dataclass(frozen=True, slots=True)
class RevealScores(Message):
    """The ScoreSheet behind a commitment."""

    sheet: Any = nested(1, ScoreSheet)


@dataclass(frozen=True, slots=True)
class ValidatorChange(Message):
    """A committee member joins, gets another power, or leaves (power 0). Empty keys and names stay as they are."""

    consensus_key: bytes = blob(1, size=32)
    verifier_key: bytes = blob(2, size=32)
    power: int = uint(3, limit=MAX_POWER)
    name: str = text(4, limit=64)


@dataclass(frozen=True, slots=True)
class GroupChange(Message):
    """A model group is added; without a model hash it is removed."""

    name: str = text(1, limit=128)
    model_hash: bytes = blob(2, size=32)
    scheme: str = text(3, limit=32)


@dataclass(frozen=True, slots=True)
class UpgradePlan(Message):
    """From `height` on the chain runs application version `app_version`; releases that lack it stop there."""

    name: str = text(1, limit=64)
    height: int = uint(2)
    app_version: int = uint(3, limit=2**32)


@dataclass(frozen=True, slots=True)
class Propose(Message):
    """A committee member proposes exactly one change, and approves of it. `cancel` names the planned upgrade to give up."""

    title: str = text(1, limit=128)
    params: Params | None = nested(2, Params)
    validator: ValidatorChange | None = nested(3, ValidatorChange)
    group: GroupChange | None = nested(4, GroupChange)
    upgrade: UpgradePlan | None = nested(5, UpgradePlan)
    cancel: str = text(6, limit=64)


@dataclass(frozen=True, slots=True)
class Vote(Message):
    """A committee member approves or rejects a proposal; its last vote counts."""

    proposal: int = uint(1)
    approve: bool = flag(2)


@dataclass(frozen=True, slots=True)
class SignedTx(Message):
    """The envelope of every transaction."""

    kind: int = uint(1, limit=255)
    nonce: int = uint(2)
    signer: bytes = blob(3, size=32)
    body: bytes = blob(4, limit=MAX_TX_BYTES)
    signature: bytes = blob(5, size=64)


@dataclass(frozen=True, slots=True)
class _SignDoc(Message):
    domain: bytes = blob(1, limit=32)
    chain_id: str = text(2, limit=64)
    kind: int = uint(3, limit=255)
    nonce: int = uint(4)
    signer: bytes = blob(5, size=32)
    body: bytes = blob(6, limit=MAX_TX_BYTES)


BODIES: dict[TxKind, type[Message]] = {
    TxKind.REGISTER_NODE: RegisterNode,
    TxKind.UPDATE_NODE: UpdateNode,
    TxKind.RETIRE_NODE: RetireNode,
    TxKind.PROVE_VRF: ProveVrf,
    TxKind.COMMIT_CHALLENGES: CommitChallenges,
    TxKind.OPEN_CHALLENGES: OpenChallenges,
    TxKind.PUBLISH_TRANSCRIPTS: PublishTranscripts,
    TxKind.COMMIT_SCORES: CommitScores,
    TxKind.REVEAL_SCORES: RevealScores,
    TxKind.PROPOSE: Propose,
    TxKind.VOTE: Vote,
}


def sign_bytes(tx: SignedTx, chain_id: str) -> bytes:
    """The bytes that the signer of `tx` signs on the chain `chain_id`."""
    return encode(_SignDoc(TX_DOMAIN, chain_id, tx.kind, tx.nonce, tx.signer, tx.body))


def build_tx(kind: TxKind, body: Message, *, key: SigningKey, chain_id: str, nonce: int) -> bytes:
    """The signed, encoded transaction. `nonce` must be greater than every earlier one of this key."""
    assert isinstance(body, BODIES[kind])
    unsigned = SignedTx(kind, nonce, key.public, encode(body))
    signature = key.sign(sign_bytes(unsigned, chain_id))
    return encode(SignedTx(kind, nonce, key.public, unsigned.body, signature))


def decode_tx(raw: bytes) -> SignedTx:
    """The envelope in `raw`. Raises DecodeError; checks neither body nor signature."""
    return decode(SignedTx, raw)


def verify_tx(tx: SignedTx, chain_id: str) -> bool:
    """Whether the envelope's signature is the signer's, for this chain."""
    return verify(tx.signer, sign_bytes(tx, chain_id), tx.signature)


def challenge_hash(challenge: Challenge) -> bytes:
    """The commitment to a challenge, and its name once opened."""
    return sha256(b"planetserve/challenge/1", encode(challenge))


def sheet_hash(sheet: ScoreSheet) -> bytes:
    """The commitment to a score sheet."""
    return sha256(b"planetserve/scores/1", encode(sheet))
