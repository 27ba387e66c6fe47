"""The ledger's public face: the records of its state, the keys they lie under, and the chain's parameters.

Every record is the canonical encoding of one dataclass and is proven by `/store/main/key`. The app writes them;
clients, relays, model nodes and verifiers read them. Amounts are integers in units of 1e-9 (`UNIT`).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from network.chain_params import MAX_NODES as MAX_NODES
from network.chain_params import UNIT as UNIT
from network.chain_params import Params as Params
from network.chain_tx import MAX_COMMITTEE, MAX_SLOTS, Challenge, Propose, Score, Transcript
from network.codec import Message, blob, blobs, flag, nested, repeated, text, uint, uints
from network.crypto import HYBRID_KEY_LENGTH
from network.ids import NODE_ID_LENGTH

STORE_NAME = "main"
QUERY_PATH = f"/store/{STORE_NAME}/key"
KEPT_EPOCHS = 10  # epochs whose transcripts, proofs and sheets stay readable


@dataclass(frozen=True, slots=True)
class Account(Message):
    """A signer's last accepted nonce, and the tokens it has spent in `epoch`. `verifier`: written for a committee member."""

    nonce: int = uint(1)
    epoch: int = uint(2)
    spent: int = uint(3)
    verifier: bool = flag(4)


@dataclass(frozen=True, slots=True)
class NodeRecord(Message):
    """A registered node. `credits` are the last `window` epochs' C(T), oldest first; model nodes only.

    `suspicion` is the evidence against it, in millinats, that its answers have added up to since it last was 0.
    """

    signing_key: bytes = blob(1, size=32)
    role: int = uint(2, limit=3)
    name: str = text(3, limit=64)
    onion_key: bytes = blob(4, size=32)
    address: str = text(5, limit=128)
    family: str = text(6, limit=64)
    group: str = text(7, limit=128)
    model_hash: bytes = blob(8, size=32)
    reputation: int = uint(9, limit=UNIT)
    trusted: bool = flag(10)
    retired: bool = flag(11)
    registered_height: int = uint(12)
    renewed_epoch: int = uint(13)
    credits: tuple[int, ...] = uints(14, count=64, limit=UNIT)
    clean_epochs: int = uint(15)
    hybrid_key: bytes = blob(16, size=HYBRID_KEY_LENGTH)
    suspicion: int = uint(17)


@dataclass(frozen=True, slots=True)
class DirectoryEntry(Message):
    """One live node, as everybody routes by it. `hybrid_key`: what a model node's cloves may be sealed to, too."""

    node_id: bytes = blob(1, size=NODE_ID_LENGTH)
    signing_key: bytes = blob(2, size=32)
    onion_key: bytes = blob(3, size=32)
    role: int = uint(4, limit=3)
    name: str = text(5, limit=64)
    address: str = text(6, limit=128)
    family: str = text(7, limit=64)
    group: str = text(8, limit=128)
    model_hash: bytes = blob(9, size=32)
    reputation: int = uint(10, limit=UNIT)
    trusted: bool = flag(11)
    hybrid_key: bytes = blob(12, size=HYBRID_KEY_LENGTH)


@dataclass(frozen=True, slots=True)
class DirectoryRecord(Message):
    """The canonical list of live nodes, sorted by node id: one record, one proof."""

    chain_id: str = text(1, limit=64)
    epoch: int = uint(2)
    height: int = uint(3)
    previous: bytes = blob(4, size=32)
    entries: tuple[DirectoryEntry, ...] = repeated(5, DirectoryEntry, count=MAX_NODES)


@dataclass(frozen=True, slots=True)
class ValidatorRecord(Message):
    """A committee member: consensus key, power, and the key its verifier signs with.

    `jailed` since `jailed_height` after proven misbehavior: power 0 until the committee votes it in again. `joined` is the
    height at which that happened, or at which it was voted in first; 0 since genesis. Older infractions are not punished.
    """

    consensus_key: bytes = blob(1, size=32)
    verifier_key: bytes = blob(2, size=32)
    power: int = uint(3)
    name: str = text(4, limit=64)
    jailed: bool = flag(5)
    joined: int = uint(6)
    jailed_height: int = uint(7)


@dataclass(frozen=True, slots=True)
class ModelGroup(Message):
    """A model that nodes may serve: its hash and the noise scheme its engines sample with."""

    name: str = text(1, limit=128)
    model_hash: bytes = blob(2, size=32)
    scheme: str = text(3, limit=32)


@dataclass(frozen=True, slots=True)
class NodeResult(Message):
    """What an epoch found about one model node. `reasons` are words of `abci_app/state/epoch.py`."""

    node_id: bytes = blob(1, size=NODE_ID_LENGTH)
    challenges: int = uint(2)
    scored: int = uint(3)
    missing: int = uint(4)
    credit: int = uint(5, limit=UNIT)
    reputation_before: int = uint(6, limit=UNIT)
    reputation_after: int = uint(7, limit=UNIT)
    trusted: bool = flag(8)
    reason: str = text(9, limit=64)


@dataclass(frozen=True, slots=True)
class EpochRecord(Message):
    """One epoch: its beacon and leader while it runs, its results once it has ended."""

    number: int = uint(1)
    first_height: int = uint(2)
    beacon: bytes = blob(3, size=32)
    leader: bytes = blob(4, size=NODE_ID_LENGTH)
    ended_height: int = uint(5)
    results: tuple[NodeResult, ...] = repeated(6, NodeResult, count=MAX_NODES)


@dataclass(frozen=True, slots=True)
class VrfRecord(Message):
    """A verifier's VRF proof and output (64 bytes) for one epoch."""

    proof: bytes = blob(1, size=80)
    output: bytes = blob(2, size=64)


@dataclass(frozen=True, slots=True)
class TranscriptRecord(Message):
    """An opened challenge, its author, the reply once published, and the committee's median score once tallied."""

    author: bytes = blob(1, size=NODE_ID_LENGTH)
    challenge: Any = nested(2, Challenge)
    transcript: Any = nested(3, Transcript)
    score: Any = nested(4, Score)
    votes: int = uint(5)


@dataclass(frozen=True, slots=True)
class OpenedChallenges(Message):
    """The names of the challenges that one verifier has opened, so that the others find its transcripts by proven reads."""

    names: tuple[bytes, ...] = blobs(1, count=MAX_SLOTS, size=32)


class ProposalStatus(IntEnum):
    """Where a proposal stands. Passed ones wait for the epoch's last block, where they are enacted or found impossible."""

    OPEN = 1
    PASSED = 2
    REJECTED = 3
    EXPIRED = 4
    ENACTED = 5
    FAILED = 6


@dataclass(frozen=True, slots=True)
class CastVote(Message):
    """One member's vote on a proposal; a later one of the same member replaces it."""

    validator: bytes = blob(1, size=NODE_ID_LENGTH)
    approve: bool = flag(2)


@dataclass(frozen=True, slots=True)
class ProposalRecord(Message):
    """A proposal, its votes in validator-id order, and what became of it. Votes count up to `closing_height`."""

    id: int = uint(1)
    proposer: bytes = blob(2, size=NODE_ID_LENGTH)
    proposal: Propose = nested(3, Propose)
    status: int = uint(4, limit=6)
    submitted_height: int = uint(5)
    closing_height: int = uint(6)
    decided_height: int = uint(7)
    votes: tuple[CastVote, ...] = repeated(8, CastVote, count=MAX_COMMITTEE)
    reason: str = text(9, limit=256)


@dataclass(frozen=True, slots=True)
class PendingProposal(Message):
    """A proposal that is open, or has passed and waits for its enactment."""

    id: int = uint(1)
    proposer: bytes = blob(2, size=NODE_ID_LENGTH)
    closing_height: int = uint(3)
    passed: bool = flag(4)


@dataclass(frozen=True, slots=True)
class GovernanceRecord(Message):
    """The number of the last proposal, and those that are pending, in ascending order."""

    last_id: int = uint(1)
    pending: tuple[PendingProposal, ...] = repeated(2, PendingProposal, count=MAX_COMMITTEE)


@dataclass(frozen=True, slots=True)
class EvidenceRecord(Message):
    """An infraction that was punished, and the height of the block that did it."""

    validator: bytes = blob(1, size=NODE_ID_LENGTH)
    kind: int = uint(2, limit=255)
    infraction_height: int = uint(3)
    punished_height: int = uint(4)


@dataclass(frozen=True, slots=True)
class VersionRecord(Message):
    """The application version that the chain runs, and the upgrade that brought it; genesis has neither name nor height."""

    app_version: int = uint(1)
    name: str = text(2, limit=64)
    height: int = uint(3)


def kept_epochs(running: int) -> range:
    """The epochs whose transcripts may still be read while `running` runs, newest first."""
    return range(running, max(-1, running - KEPT_EPOCHS - 1), -1)


def account_key(signer: bytes) -> bytes:
    """0x01 | Ed25519 public key 32 -> Account"""
    return b"\x01" + signer


def node_key(node_id: bytes) -> bytes:
    """0x02 | node id 20 -> NodeRecord"""
    return b"\x02" + node_id


def epoch_key(number: int) -> bytes:
    """0x05 | epoch u64-be -> EpochRecord"""
    return b"\x05" + number.to_bytes(8, "big")


def vrf_key(epoch: int, validator: bytes) -> bytes:
    """0x07 | epoch u64-be | validator id 20 -> VrfRecord"""
    return b"\x07" + epoch.to_bytes(8, "big") + validator


def commitment_key(epoch: int, validator: bytes) -> bytes:
    """0x08 | epoch u64-be | validator id 20 -> CommitChallenges"""
    return b"\x08" + epoch.to_bytes(8, "big") + validator


def transcript_key(epoch: int, challenge: bytes) -> bytes:
    """0x09 | epoch u64-be | challenge hash 32 -> TranscriptRecord"""
    return b"\x09" + epoch.to_bytes(8, "big") + challenge


def score_commitment_key(epoch: int, validator: bytes) -> bytes:
    """0x0b | epoch u64-be | validator id 20 -> CommitScores"""
    return b"\x0b" + epoch.to_bytes(8, "big") + validator


def sheet_key(epoch: int, validator: bytes) -> bytes:
    """0x0c | epoch u64-be | validator id 20 -> ScoreSheet"""
    return b"\x0c" + epoch.to_bytes(8, "big") + validator


def validator_key(address: bytes) -> bytes:
    """0x0d | validator id 20 (CometBFT address of its consensus key) -> ValidatorRecord"""
    return b"\x0d" + address


def group_key(name: str) -> bytes:
    """0x0e | model group name, UTF-8 -> ModelGroup"""
    return b"\x0e" + name.encode()


def opened_key(epoch: int, validator: bytes) -> bytes:
    """0x10 | epoch u64-be | validator id 20 -> OpenedChallenges"""
    return b"\x10" + epoch.to_bytes(8, "big") + validator


def proposal_key(number: int) -> bytes:
    """0x11 | proposal id u64-be -> ProposalRecord"""
    return b"\x11" + number.to_bytes(8, "big")


def evidence_key(height: int, validator: bytes, kind: int) -> bytes:
    """0x13 | infraction height u64-be | validator id 20 | kind u8 -> EvidenceRecord"""
    return b"\x13" + height.to_bytes(8, "big") + validator + bytes((kind,))


PARAMS_KEY = b"\x03params"  # -> Params
CURRENT_EPOCH_KEY = b"\x04epoch"  # -> EpochRecord of the running epoch
DIRECTORY_KEY = b"\x06directory"  # -> DirectoryRecord
NODE_PREFIX, VALIDATOR_PREFIX, GROUP_PREFIX = b"\x02", b"\x0d", b"\x0e"
PROPOSAL_PREFIX, EVIDENCE_PREFIX = b"\x11", b"\x13"
GOVERNANCE_KEY = b"\x12governance"  # -> GovernanceRecord; absent before the first proposal
UPGRADE_KEY = b"\x14upgrade"  # -> UpgradePlan that the chain is heading for; absent when there is none
VERSION_KEY = b"\x15version"  # -> VersionRecord
