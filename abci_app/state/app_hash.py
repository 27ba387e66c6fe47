"""The app hash: what every replica must agree on, defined over the sorted rows of the state (`docs/ledger.md` section 3).

A row's leaf stands at the index made of the top 62 bits of SHA-256 of its key, in a Merkle tree of 2^62 leaves hashed as
RFC 6962 hashes them, so that the proof of a row is a plain `simple:v` proof of CometBFT. The app hash is one such leaf
again: the store's name over the tree's root. `abci_app/tree.py` keeps the same tree on disk.
"""

from collections.abc import Sequence
from hashlib import sha256

from network.chain_records import STORE_NAME
from network.codec import encode_varint

DEPTH = 62
HASH_LENGTH = 32
# What an absent row's leaf hashes to. Nothing is known that hashes to zeros, so no row can pretend to be absent.
EMPTY_LEAF = bytes(HASH_LENGTH)


def leaf_index(key: bytes) -> int:
    """Where the row under `key` stands among the 2^62 leaves."""
    return int.from_bytes(sha256(key).digest()[:8], "big") >> (64 - DEPTH)


def leaf_hash(key: bytes, value: bytes) -> bytes:
    """The leaf of one row: H(00 | len key | key | 32 | H(value)), as `simple:v` hashes it."""
    return sha256(b"\x00" + encode_varint(len(key)) + key + b"\x20" + sha256(value).digest()).digest()


def inner_hash(left: bytes, right: bytes) -> bytes:
    """The hash above two subtrees: H(01 | left | right)."""
    return sha256(b"\x01" + left + right).digest()


def _empty_subtrees() -> tuple[bytes, ...]:
    hashes = [EMPTY_LEAF]
    for _ in range(DEPTH):
        hashes.append(inner_hash(hashes[-1], hashes[-1]))
    return tuple(hashes)


# EMPTY[level] is the hash of a subtree of 2^level absent rows.
EMPTY = _empty_subtrees()


# What stands before a node that has the empty subtree of its level to its left: most of the hashing of a lone row.
_EMPTY_LEFT = tuple(b"\x01" + empty for empty in EMPTY)


def fold(index: int, leaf: bytes, level: int) -> bytes:
    """The hash of the subtree of `level` levels whose only row is this leaf."""
    node = leaf
    for height in range(level):
        if index >> height & 1:
            node = sha256(_EMPTY_LEFT[height] + node).digest()
        else:
            node = sha256(b"\x01" + node + EMPTY[height]).digest()
    return node


def root_hash(rows: Sequence[tuple[int, bytes]], level: int = DEPTH) -> bytes:
    """The root over (index, leaf hash) pairs in ascending order: the definition, without storage or shortcuts but folding."""
    if not rows:
        return EMPTY[level]
    if len(rows) == 1:
        return fold(rows[0][0], rows[0][1], level)
    assert level > 0, "two rows share a leaf"
    bit = level - 1
    left = [row for row in rows if not row[0] >> bit & 1]
    right = [row for row in rows if row[0] >> bit & 1]
    return inner_hash(root_hash(left, bit), root_hash(right, bit))


def app_hash(root: bytes) -> bytes:
    """The app hash of a state whose tree has this root: the one leaf of the map from store name to root."""
    return leaf_hash(STORE_NAME.encode(), root)
