"""Verification of one proven ledger value: two chained `simple:v` operators from a key up to an app hash.

The ledger's state is a sparse Merkle tree of depth 62 whose root lies under the store's name (`docs/light-client.md`
section 2). CometBFT's own verifier accepts an honest proof of *another* key, so this one compares the key, the tree's size
and the leaf's index as well as the hashes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from network.codec import Message, blob, blobs, decode, encode_varint, nested, uint
from network.crypto import sha256
from network.errors import CryptoError, DecodeError

TREE_DEPTH = 62
TREE_SIZE = 1 << TREE_DEPTH
OPERATOR = "simple:v"
ABSENT = "planetserve:absent"
EMPTY_LEAF = b"\x00" * 32


class ProofRejected(CryptoError):
    """An answer of the chain that its proof does not support. Never use the value; ask another address."""


@dataclass(frozen=True, slots=True)
class ProofOp:
    """One operator of a CometBFT proof, as `abci_query` returns it."""

    kind: str
    key: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class MerkleProof(Message):
    """CometBFT's `tendermint.crypto.Proof`: where a leaf stands, its hash, and its aunts from the bottom up."""

    total: int = uint(1)
    index: int = uint(2)
    leaf_hash: bytes = blob(3, size=32)
    aunts: tuple[bytes, ...] = blobs(4, count=TREE_DEPTH, size=32)


@dataclass(frozen=True, slots=True)
class ValueOp(Message):
    """CometBFT's `tendermint.crypto.ValueOp`: a key and the proof of its leaf."""

    key: bytes = blob(1)
    proof: Any = nested(2, MerkleProof)


def leaf_index(key: bytes) -> int:
    """Where `key` lies among the 2^62 leaves: the top 62 bits of its SHA-256."""
    return int.from_bytes(sha256(key)[:8], "big") >> 2


def leaf_hash(key: bytes, value: bytes) -> bytes:
    """The hash of a (key, value) leaf, as CometBFT's `ValueOp` computes it."""
    return sha256(b"\x00", encode_varint(len(key)), key, b"\x20", sha256(value))


def inner_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner tree node."""
    return sha256(b"\x01", left, right)


def tree_root(leaf: bytes, index: int, aunts: Sequence[bytes]) -> bytes:
    """The root of a perfect binary tree, from a leaf's hash, its index, and its aunts from the bottom up."""
    node = leaf
    for level, aunt in enumerate(aunts):
        node = inner_hash(aunt, node) if index >> level & 1 else inner_hash(node, aunt)
    return node


def root_from_aunts(leaf: bytes, index: int, total: int, aunts: Sequence[bytes]) -> bytes:
    """The root of CometBFT's simple tree of `total` leaves (RFC 6962), aunts from the bottom up. Raises ProofRejected."""
    if total == 1:
        if aunts:
            raise ProofRejected("an inclusion proof has too many aunts")
        return leaf
    if not aunts or not 0 <= index < total:
        raise ProofRejected("an inclusion proof has too few aunts, or an index outside the tree")
    split = 1 << (total - 1).bit_length() - 1
    if index < split:
        return inner_hash(root_from_aunts(leaf, index, split, aunts[:-1]), aunts[-1])
    return inner_hash(aunts[-1], root_from_aunts(leaf, index - split, total - split, aunts[:-1]))


def check_value(ops: Sequence[ProofOp], *, store: str, key: bytes, value: bytes, app_hash: bytes) -> None:
    """Whether `ops` prove that `value` lies under `key` in `store` of the state with this app hash.

    Raises ProofRejected with the first thing that does not hold.
    """
    if not value:
        raise ProofRejected("an empty value cannot be proven: it looks like absence")
    _check(ops, OPERATOR, store, key, leaf_hash(key, value), app_hash)


def check_absence(ops: Sequence[ProofOp], *, store: str, key: bytes, app_hash: bytes) -> None:
    """Whether `ops` prove that nothing lies where `key` would. CometBFT has no such operator; this one is ours.

    Raises ProofRejected with the first thing that does not hold.
    """
    _check(ops, ABSENT, store, key, EMPTY_LEAF, app_hash)


def _check(ops: Sequence[ProofOp], kind: str, store: str, key: bytes, leaf: bytes, app_hash: bytes) -> None:
    """Both operators, from the leaf that must stand at the key's index up to the app hash."""
    if len(ops) != 2:
        raise ProofRejected(f"the proof has {len(ops)} operators, not the two of the ledger's state")
    inner = _opened(ops[0], kind, key, "state tree")
    if inner.total != TREE_SIZE or len(inner.aunts) != TREE_DEPTH:
        raise ProofRejected(f"the state tree's proof is not of depth {TREE_DEPTH}")
    if inner.index != leaf_index(key):
        raise ProofRejected("the proven leaf does not stand where this key's leaf stands")
    if inner.leaf_hash != leaf:
        raise ProofRejected("the proven leaf holds something else")
    outer = _opened(ops[1], OPERATOR, store.encode(), "store map")
    if outer.total != 1 or outer.index != 0 or outer.aunts:
        raise ProofRejected("the store map's proof is not of a single store")
    root = tree_root(inner.leaf_hash, inner.index, inner.aunts)
    if outer.leaf_hash != leaf_hash(store.encode(), root):
        raise ProofRejected("the state tree's root is not the one in the store map")
    if outer.leaf_hash != app_hash:
        raise ProofRejected("the proof leads to another app hash than the header's")


def _opened(op: ProofOp, kind: str, key: bytes, place: str) -> MerkleProof:
    """The Merkle proof inside an operator, after its kind and both of its keys have been compared."""
    if op.kind != kind:
        raise ProofRejected(f"the {place}'s operator is {op.kind!r}, not {kind!r}")
    try:
        value_op = decode(ValueOp, op.data)
    except DecodeError as error:
        raise ProofRejected(f"the {place}'s operator cannot be read") from error
    if op.key != key or value_op.key != key:
        raise ProofRejected(f"the {place}'s operator proves another key than the one asked for")
    if value_op.proof is None:
        raise ProofRejected(f"the {place}'s operator carries no proof")
    proof: MerkleProof = value_op.proof
    return proof
