"""The sparse Merkle tree of `state/app_hash.py` kept as nodes in a key-value store, updated in batches.

A node is a branch (the hashes of its two sides) where at least two rows lie below it, or a leaf (hash and key of the only
row below it), stored at the shallowest depth where it is alone; empty subtrees are not stored. So n rows take about 2n
nodes, an update touches about log2(n) of them, and the shape depends on the rows alone, not on their history.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from abci_app.state.app_hash import DEPTH, EMPTY, EMPTY_LEAF, HASH_LENGTH, fold, inner_hash, leaf_hash, leaf_index

_BRANCH, _LEAF = b"B", b"L"
_BRANCH_BYTE = _BRANCH[0]
_DEPTHS = tuple(bytes([depth]) for depth in range(DEPTH + 1))

Writes = dict[bytes, bytes | None]
# One changed row: its index, its key, and its new leaf hash, or None when it goes.
_Row = tuple[int, bytes, bytes | None]
# What an update left below a node: its hash, and its row if there is exactly one.
_Subtree = tuple[bytes, _Row | None]


class Nodes(Protocol):
    """Where the tree's nodes lie."""

    def get(self, key: bytes) -> bytes | None:
        """The encoded node under `key`, or None."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A leaf and the 62 hashes beside its way to the root, bottom first. An absent row has the leaf `EMPTY_LEAF`."""

    index: int
    leaf: bytes
    aunts: tuple[bytes, ...]


def node_key(depth: int, prefix: int) -> bytes:
    """depth u8 | prefix u64-be: the node whose leaves' indices begin with these `depth` bits."""
    return _DEPTHS[depth] + prefix.to_bytes(8, "big")


class Tree:
    """One version of the tree. `update` changes nothing: it answers the nodes to write."""

    __slots__ = ("_nodes",)

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def root(self) -> bytes:
        """The root hash."""
        return self.subtree(0, 0)

    def subtree(self, depth: int, prefix: int) -> bytes:
        """The hash over all leaves whose indices begin with these `depth` bits."""
        level = DEPTH - depth
        node: bytes | None = None
        for at in range(depth + 1):
            node = self._nodes.get(node_key(at, prefix >> (depth - at)))
            if node is None:
                return EMPTY[level]
            if node[:1] == _LEAF:
                index, _, leaf = _row(node)
                return fold(index, leaf, level) if index >> level == prefix else EMPTY[level]
        assert node is not None
        return inner_hash(*_sides(node))

    def leaves(self, depth: int, prefix: int) -> Iterator[tuple[bytes, bytes]]:
        """Key and leaf hash of all rows whose indices begin with these `depth` bits, in ascending order of their indices."""
        ahead = [(0, 0)]
        while ahead:
            at, bits = ahead.pop()
            node = self._nodes.get(node_key(at, bits))
            if node is None:
                continue
            if node[:1] == _LEAF:
                index, key, leaf = _row(node)
                if index >> (DEPTH - depth) == prefix:
                    yield key, leaf
                continue
            sides = (1, 0) if at >= depth else (prefix >> (depth - at - 1) & 1,)
            ahead.extend((at + 1, bits << 1 | side) for side in sides)

    def update(self, changes: Iterable[tuple[bytes, bytes | None]]) -> tuple[bytes, Writes]:
        """The root after these row changes (None removes), and the node writes that lead there."""
        rows: list[_Row] = [(leaf_index(k), k, None if v is None else leaf_hash(k, v)) for k, v in changes]
        writes: Writes = {}
        if not rows:
            return self.root(), writes
        rows.sort(key=_index)
        return self._update(0, 0, rows, writes)[0], writes

    def fits(self, depth: int, prefix: int) -> bool:
        """Whether the node there is below a branch, and has the hash that the branch says. The root is below none."""
        node, above = self._nodes.get(node_key(depth, prefix)), self._nodes.get(node_key(depth - 1, prefix >> 1))
        if node is None or above is None or above[:1] == _LEAF:
            return False
        if node[:1] == _LEAF:
            index, _, leaf = _row(node)
            return fold(index, leaf, DEPTH - depth) == _sides(above)[prefix & 1]
        return inner_hash(*_sides(node)) == _sides(above)[prefix & 1]

    def prove(self, key: bytes) -> Proof:
        """The proof of the row under `key`, or of its absence."""
        index = leaf_index(key)
        beside: list[bytes] = []
        leaf = EMPTY_LEAF
        for depth in range(DEPTH + 1):
            node = self._nodes.get(node_key(depth, index >> (DEPTH - depth)))
            if node is not None and node[:1] == _BRANCH:
                left, right = _sides(node)
                beside.append(left if index >> (DEPTH - depth - 1) & 1 else right)
                continue
            if node is not None:
                other, _, held = _row(node)
                if other == index:
                    leaf = held
                else:
                    _append_divergence(beside, index, other, held)
            break
        beside.extend(EMPTY[DEPTH - depth - 1] for depth in range(len(beside), DEPTH))
        return Proof(index, leaf, tuple(reversed(beside)))

    def occupant(self, index: int) -> bytes | None:
        """The key of the row at this leaf, or None."""
        for depth in range(DEPTH + 1):
            node = self._nodes.get(node_key(depth, index >> (DEPTH - depth)))
            if node is None:
                return None
            if node[:1] == _LEAF:
                held, key, _ = _row(node)
                return key if held == index else None
        raise AssertionError("a branch below the leaves: the tree's nodes are corrupt")

    def _update(self, depth: int, prefix: int, rows: Sequence[_Row], writes: Writes, lone: bool = False) -> _Subtree:
        if len(rows) == 1 and not lone:
            replaced = self._replace(depth, prefix, rows[0], writes)
            if replaced is not None:
                return replaced
            lone = True
        key = node_key(depth, prefix)
        node = self._nodes.get(key)
        if node is None or node[0] != _BRANCH_BYTE:
            kept = [row for row in rows if row[2] is not None]
            if node is not None:
                held = _row(node)
                if all(row[1] != held[1] for row in rows):
                    kept.append(held)
                    kept.sort(key=_index)
            if not kept and node is not None:
                writes[key] = None
            return _build(depth, prefix, kept, writes)
        left_hash, right_hash = _sides(node)
        at = _split(rows, depth, prefix)
        # The changed subtree of a side, or its old hash when no row below it changes.
        left = self._update(depth + 1, prefix << 1, rows[:at], writes, lone) if at else left_hash
        right = self._update(depth + 1, prefix << 1 | 1, rows[at:], writes, lone) if at < len(rows) else right_hash
        return self._join(depth, prefix, left, right, writes)

    def _replace(self, depth: int, prefix: int, row: _Row, writes: Writes) -> _Subtree | None:
        """The usual case, without recursion: one row below this node, which is there already and stays. None for any
        other, with nothing written."""
        index, key, leaf = row
        if leaf is None:
            return None
        get = self._nodes.get
        path: list[tuple[bytes, bytes, bytes, int]] = []
        while True:
            at = _DEPTHS[depth] + prefix.to_bytes(8, "big")
            node = get(at)
            if node is None:
                return None
            if node[0] != _BRANCH_BYTE:
                break
            depth += 1
            side = index >> (DEPTH - depth) & 1
            prefix = prefix << 1 | side
            left, right = _sides(node)
            path.append((at, left, right, side))
        if node[1 + HASH_LENGTH :] != key:
            return None
        writes[at] = _LEAF + leaf + key
        below = fold(index, leaf, DEPTH - depth)
        if not path:
            return below, row
        for at, left, right, side in reversed(path):
            if side:
                right = below
            else:
                left = below
            writes[at] = _BRANCH + left + right
            below = inner_hash(left, right)
        return below, None

    def _join(self, depth: int, prefix: int, left: _Subtree | bytes, right: _Subtree | bytes, writes: Writes) -> _Subtree:
        key = node_key(depth, prefix)
        empty = EMPTY[DEPTH - depth - 1]
        left_hash = left if isinstance(left, bytes) else left[0]
        right_hash = right if isinstance(right, bytes) else right[0]
        if left_hash == empty and right_hash == empty:
            writes[key] = None
            return EMPTY[DEPTH - depth], None
        lone: _Row | None = None
        if left_hash == empty:
            lone = self._lone(depth + 1, prefix << 1 | 1, right)
        elif right_hash == empty:
            lone = self._lone(depth + 1, prefix << 1, left)
        if lone is not None:
            # A row that is alone again rises to the shallowest depth, so that the shape does not remember the others.
            writes[node_key(depth + 1, lone[0] >> (DEPTH - depth - 1))] = None
            return _build(depth, prefix, [lone], writes)
        writes[key] = _BRANCH + left_hash + right_hash
        return inner_hash(left_hash, right_hash), None

    def _lone(self, depth: int, prefix: int, side: _Subtree | bytes) -> _Row | None:
        if not isinstance(side, bytes):
            return side[1]
        node = self._nodes.get(node_key(depth, prefix))
        return _row(node) if node is not None and node[0] != _BRANCH_BYTE else None


def _build(depth: int, prefix: int, rows: Sequence[_Row], writes: Writes) -> _Subtree:
    """A subtree of exactly these rows, where nothing of it is stored but possibly the node itself."""
    level = DEPTH - depth
    if not rows:
        return EMPTY[level], None
    if len(rows) == 1:
        index, key, leaf = rows[0]
        assert leaf is not None
        writes[node_key(depth, prefix)] = _LEAF + leaf + key
        return fold(index, leaf, level), rows[0]
    assert level > 0, f"two rows share the leaf {rows[0][0]}: transition.py must have refused the second"
    at = _split(rows, depth, prefix)
    left = _build(depth + 1, prefix << 1, rows[:at], writes)[0]
    right = _build(depth + 1, prefix << 1 | 1, rows[at:], writes)[0]
    writes[node_key(depth, prefix)] = _BRANCH + left + right
    return inner_hash(left, right), None


def _index(row: _Row) -> int:
    return row[0]


def _split(rows: Sequence[_Row], depth: int, prefix: int) -> int:
    """How many of the rows below a node, in index order, are on its left side."""
    return bisect_left(rows, (prefix << 1 | 1) << (DEPTH - depth - 1), key=_index)


def _sides(node: bytes) -> tuple[bytes, bytes]:
    assert len(node) == 1 + 2 * HASH_LENGTH, "a branch has two hashes: the tree's nodes are corrupt"
    return node[1 : 1 + HASH_LENGTH], node[1 + HASH_LENGTH :]


def _row(node: bytes) -> tuple[int, bytes, bytes]:
    key = node[1 + HASH_LENGTH :]
    return leaf_index(key), key, node[1 : 1 + HASH_LENGTH]


def _append_divergence(beside: list[bytes], index: int, other: int, leaf: bytes) -> None:
    """Walk down where only `other` lies below: empty siblings until the two part, then the other's subtree."""
    level = (index ^ other).bit_length() - 1
    beside.extend(EMPTY[DEPTH - depth - 1] for depth in range(len(beside), DEPTH - level - 1))
    beside.append(fold(other, leaf, level))
