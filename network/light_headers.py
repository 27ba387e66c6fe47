"""What CometBFT v0.38 signs, byte for byte: headers, commits and validator sets, their hashes and sign bytes.

Everything is rebuilt here from the fields, never taken from an answer (`docs/light-client.md` section 1). Nothing here
decides whether to believe a header; that is `network/light.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from network.codec import encode_varint
from network.crypto import sha256
from network.ids import NODE_ID_LENGTH
from network.proof import inner_hash

PRECOMMIT = 2
FLAG_COMMIT = 2
MOST_POWER = (2**63 - 1) // 8  # CometBFT's bound on the total voting power


@dataclass(frozen=True, slots=True, order=True)
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


# The fields of a header that are bytes, in its own order: nothing in their encoding tells them apart.
HEADER_BYTES = (
    "last_commit_hash",
    "data_hash",
    "validators_hash",
    "next_validators_hash",
    "consensus_hash",
    "app_hash",
    "last_results_hash",
    "evidence_hash",
    "proposer_address",
)


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
class Validator:
    """One validator: its consensus key and voting power."""

    public_key: bytes
    power: int

    @property
    def address(self) -> bytes:
        """CometBFT's address: the first 20 bytes of the SHA-256 of the key."""
        return sha256(self.public_key)[:NODE_ID_LENGTH]


class ValidatorSet:
    """Validators in CometBFT's order (power falling, then address), with their total power and hash."""

    __slots__ = ("by_address", "hash", "total_power", "validators")

    def __init__(self, validators: Iterable[Validator]) -> None:
        """Raises ValueError for a set that CometBFT could not have: empty, a key twice, or a power out of range."""
        self.validators = tuple(sorted(validators, key=lambda entry: (-entry.power, entry.address)))
        self.by_address = {entry.address: entry for entry in self.validators}
        self.total_power = sum(entry.power for entry in self.validators)
        if not self.validators:
            raise ValueError("a validator set without validators trusts nobody")
        if len(self.by_address) != len(self.validators):
            raise ValueError("a validator stands twice in a validator set")
        if self.validators[-1].power <= 0 or self.total_power > MOST_POWER:
            raise ValueError("a validator set with a power out of range")
        self.hash = validator_set_hash(self.validators)


@dataclass(frozen=True, slots=True)
class LightBlock:
    """A signed header and the validator set that it names: all that a light client needs of a block."""

    signed: SignedHeader
    validators: ValidatorSet

    @property
    def header(self) -> Header:
        """The header."""
        return self.signed.header

    @property
    def height(self) -> int:
        """The header's height."""
        return self.signed.header.height

    @property
    def hash(self) -> bytes:
        """The hash that the commit signed; equal to the header's hash once the block has been checked."""
        return self.signed.block_id.hash


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


def validator_set_hash(validators: Sequence[Validator]) -> bytes:
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
            *(_bytes_field(1, getattr(header, name)) for name in HEADER_BYTES),
        ]
    )


def commit_hash(places: Sequence[CommitSignature]) -> bytes:
    """The hash that the next header carries of a commit: the Merkle root over its places, those who did not sign included."""
    return merkle_root(
        [
            _varint_field(1, place.flag)
            + _bytes_field(2, place.validator)
            + _bytes_field(3, _timestamp(place.time), always=True)
            + _bytes_field(4, place.signature)
            for place in places
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
