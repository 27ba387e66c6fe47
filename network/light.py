"""A light client of CometBFT v0.38: is this header signed by more than 2/3 of the committee's power?

The trust root is the genesis file: its validator set signs every header of this release, and a header that names another
set is refused (`docs/light-client.md` section 1). Hashes and sign bytes are rebuilt here from the fields, never taken
from the answer. The clock is an argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from network.codec import encode_varint
from network.crypto import sha256, verify
from network.ids import NODE_ID_LENGTH
from network.proof import ProofRejected, inner_hash

PRECOMMIT = 2
FLAG_COMMIT = 2
CLOCK_DRIFT = 10.0


class ValidatorSetChanged(ProofRejected):
    """The header names another validator set than the genesis file's; this release cannot follow such a change."""


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A protobuf Timestamp: seconds since 1970 and nanoseconds."""

    seconds: int
    nanos: int


@dataclass(frozen=True, slots=True)
class BlockId:
    """The hash of a block's header and the root of its parts."""

    hash: bytes
    parts_total: int
    parts_hash: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """A block header; field names are CometBFT's."""

    version_block: int
    version_app: int
    chain_id: str
    height: int
    time: Timestamp
    last_block_id: BlockId
    last_commit_hash: bytes
    data_hash: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    consensus_hash: bytes
    app_hash: bytes
    last_results_hash: bytes
    evidence_hash: bytes
    proposer_address: bytes


@dataclass(frozen=True, slots=True)
class CommitSignature:
    """One validator's place in a commit; only those flagged FLAG_COMMIT signed the block."""

    flag: int
    validator: bytes
    time: Timestamp
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header and the commit that decided it."""

    header: Header
    height: int
    round: int
    block_id: BlockId
    signatures: tuple[CommitSignature, ...]


@dataclass(frozen=True, slots=True)
class TrustedValidator:
    """One validator of the trusted set."""

    public_key: bytes
    power: int

    @property
    def address(self) -> bytes:
        """CometBFT's address: the first 20 bytes of the SHA-256 of the key."""
        return sha256(self.public_key)[:NODE_ID_LENGTH]


class GenesisTrust:
    """The trust root: chain id, first height, and the validator set in CometBFT's order (power, then address)."""

    __slots__ = ("chain_id", "initial_height", "total_power", "validators", "validators_hash")

    def __init__(self, chain_id: str, initial_height: int, validators: Sequence[TrustedValidator]) -> None:
        if not validators:
            raise ValueError("a genesis file without validators trusts nobody")
        self.chain_id = chain_id
        self.initial_height = max(1, initial_height)
        self.validators = tuple(sorted(validators, key=lambda entry: (-entry.power, entry.address)))
        self.total_power = sum(entry.power for entry in self.validators)
        self.validators_hash = validator_set_hash(self.validators)


def _varint_field(number: int, value: int) -> bytes:
    """A proto3 integer field; negative int64 values take ten bytes, as protobuf prescribes."""
    return encode_varint(number << 3) + encode_varint(value & 0xFFFFFFFFFFFFFFFF) if value else b""


def _bytes_field(number: int, value: bytes, *, always: bool = False) -> bytes:
    """A proto3 length-delimited field; `always` for messages that CometBFT never omits."""
    return encode_varint(number << 3 | 2) + encode_varint(len(value)) + value if value or always else b""


def _fixed64_field(number: int, value: int) -> bytes:
    return encode_varint(number << 3 | 1) + value.to_bytes(8, "little", signed=True) if value else b""


def _timestamp(time: Timestamp) -> bytes:
    return _varint_field(1, time.seconds) + _varint_field(2, time.nanos)


def _block_id(block_id: BlockId) -> bytes:
    parts = _varint_field(1, block_id.parts_total) + _bytes_field(2, block_id.parts_hash)
    return _bytes_field(1, block_id.hash) + _bytes_field(2, parts, always=True)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """CometBFT's simple Merkle root (RFC 6962): split at the largest power of two below the number of leaves."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\x00", leaves[0])
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return inner_hash(merkle_root(leaves[:split]), merkle_root(leaves[split:]))


def validator_set_hash(validators: Sequence[TrustedValidator]) -> bytes:
    """The hash that a header carries of its validator set, which must be in CometBFT's order."""
    return merkle_root(
        [
            _bytes_field(1, _bytes_field(1, entry.public_key)) + _varint_field(2, entry.power)  # SimpleValidator
            for entry in validators
        ]
    )


def header_hash(header: Header) -> bytes:
    """The hash of a header: the Merkle root over its fourteen encoded fields."""
    return merkle_root(
        [
            _varint_field(1, header.version_block) + _varint_field(2, header.version_app),
            _bytes_field(1, header.chain_id.encode()),
            _varint_field(1, header.height),
            _timestamp(header.time),
            _block_id(header.last_block_id),
            _bytes_field(1, header.last_commit_hash),
            _bytes_field(1, header.data_hash),
            _bytes_field(1, header.validators_hash),
            _bytes_field(1, header.next_validators_hash),
            _bytes_field(1, header.consensus_hash),
            _bytes_field(1, header.app_hash),
            _bytes_field(1, header.last_results_hash),
            _bytes_field(1, header.evidence_hash),
            _bytes_field(1, header.proposer_address),
        ]
    )


def precommit_bytes(signed: SignedHeader, time: Timestamp, chain_id: str) -> bytes:
    """What a validator signs when it precommits: the length-prefixed CanonicalVote."""
    vote = (
        _varint_field(1, PRECOMMIT)
        + _fixed64_field(2, signed.height)
        + _fixed64_field(3, signed.round)
        + _bytes_field(4, _block_id(signed.block_id))
        + _bytes_field(5, _timestamp(time), always=True)
        + _bytes_field(6, chain_id.encode())
    )
    return encode_varint(len(vote)) + vote


def check_header(trust: GenesisTrust, signed: SignedHeader, *, now: float, max_age: float) -> None:
    """Whether more than 2/3 of the genesis power signed this header, and it is no older than `max_age` seconds.

    Raises ProofRejected, or ValidatorSetChanged when the header names another set.
    """
    header = signed.header
    if header.chain_id != trust.chain_id:
        raise ProofRejected(f"the header is of chain {header.chain_id!r}, not {trust.chain_id!r}")
    if header.height != signed.height or header_hash(header) != signed.block_id.hash:
        raise ProofRejected("the commit is for another header than the one it came with")
    if header.validators_hash != trust.validators_hash:
        raise ValidatorSetChanged(
            "the chain's validator set is not the genesis file's, and this release follows a fixed set only: "
            "check that the genesis file is this network's"
        )
    _check_power(trust, signed)
    age = now - header.time.seconds
    if age > max_age:
        raise ProofRejected(
            f"the header is {age:.0f} s old, more than {max_age:.0f} s: the node asked is behind, the chain stands still, "
            "or this machine's clock is wrong"
        )
    if age < -CLOCK_DRIFT:
        raise ProofRejected(f"the header is {-age:.0f} s in the future: this machine's clock is wrong, or the header forged")


def _check_power(trust: GenesisTrust, signed: SignedHeader) -> None:
    """More than 2/3 of the power, each signature at its validator's place; a bad signature refuses the whole commit."""
    if len(signed.signatures) != len(trust.validators):
        raise ProofRejected(f"the commit has {len(signed.signatures)} places for {len(trust.validators)} validators")
    power = 0
    for entry, validator in zip(signed.signatures, trust.validators, strict=True):
        if entry.flag != FLAG_COMMIT:
            continue
        if entry.validator != validator.address:
            raise ProofRejected("a signature stands at another validator's place")
        if not verify(validator.public_key, precommit_bytes(signed, entry.time, trust.chain_id), entry.signature):
            raise ProofRejected(f"the signature of validator {validator.address.hex()} does not verify")
        power += validator.power
        if 3 * power > 2 * trust.total_power:
            return
    raise ProofRejected(f"only {power} of {trust.total_power} voting power signed the header; more than 2/3 must")
