"""The sparse Merkle tree of `state/app_hash.py` kept as nodes in a key-value store, updated in batches.

A node is a branch (the hashes of its two sides) where at least two rows lie below it, or a leaf (hash and key of the only
row below it), stored at the shallowest depth where it is alone; empty subtrees are not stored. So n rows take about 2n
nodes, an update touches about log2(n) of them, and the shape depends on the rows alone, not on their history.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from abci_app.state.app_hash import DEPTH, EMPTY, EMPTY_LEAF, HASH_LENGTH, fold, inner_hash, leaf_hash, leaf_index

_BRANCH, _LEAF = b"B", b"L"


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


@dataclass(frozen=True, slots=True)
class _Row:
    """One changed row: its new leaf hash, or None when it goes."""

    index: int
    key: bytes
    leaf: bytes | None


@dataclass(frozen=True, slots=True)
class _Subtree:
    """What an update left below a node: its hash, and its row if there is exactly one."""

    hash: bytes
    lone: _Row | None


def node_key(depth: int, prefix: int) -> bytes:
    """depth u8 | prefix u64-be: the node whose leaves' indices begin with these `depth` bits."""
    return bytes([depth]) + prefix.to_bytes(8, "big")


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
                row = _row(node)
                assert row.leaf is not None
                return fold(row.index, row.leaf, level) if row.index >> level == prefix else EMPTY[level]
        assert node is not None
        return inner_hash(*_sides(node))

    def keys(self, depth: int, prefix: int) -> Iterator[bytes]:
        """The keys of all rows whose indices begin with these `depth` bits, in ascending order of their indices."""
        ahead = [(0, 0)]
        while ahead:
            at, bits = ahead.pop()
            node = self._nodes.get(node_key(at, bits))
            if node is None:
                continue
            if node[:1] == _LEAF:
                row = _row(node)
                if row.index >> (DEPTH - depth) == prefix:
                    yield row.key
                continue
            sides = (1, 0) if at >= depth else (prefix >> (depth - at - 1) & 1,)
            ahead.extend((at + 1, bits << 1 | side) for side in sides)

    def update(self, changes: Iterable[tuple[bytes, bytes | None]]) -> tuple[bytes, dict[bytes, bytes | None]]:
        """The root after these row changes (None removes), and the node writes that lead there."""
        rows = [_Row(leaf_index(k), k, None if v is None else leaf_hash(k, v)) for k, v in changes]
        writes: dict[bytes, bytes | None] = {}
        if not rows:
            return self.root(), writes
        rows.sort(key=lambda row: row.index)
        return self._update(0, 0, rows, writes).hash, writes

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
                other = _row(node)
                assert other.leaf is not None
                if other.index == index:
                    leaf = other.leaf
                else:
                    _append_divergence(beside, index, other.index, other.leaf)
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
                row = _row(node)
                return row.key if row.index == index else None
        raise AssertionError("a branch below the leaves: the tree's nodes are corrupt")

    def _update(self, depth: int, prefix: int, rows: list[_Row], writes: dict[bytes, bytes | None]) -> _Subtree:
        key = node_key(depth, prefix)
        node = self._nodes.get(key)
        if node is None or node[:1] == _LEAF:
            kept = [row for row in rows if row.leaf is not None]
            if node is not None:
                held = _row(node)
                if all(row.key != held.key for row in rows):
                    kept.append(held)
                    kept.sort(key=lambda row: row.index)
            if not kept and node is not None:
                writes[key] = None
            return _build(depth, prefix, kept, writes)
        left_hash, right_hash = _sides(node)
        left_rows, right_rows = _split(rows, DEPTH - depth - 1)
        left = self._side(depth + 1, prefix << 1, left_rows, left_hash, writes)
        right = self._side(depth + 1, prefix << 1 | 1, right_rows, right_hash, writes)
        return self._join(depth, prefix, left, right, writes)

    def _side(
        self, depth: int, prefix: int, rows: list[_Row], held: bytes, writes: dict[bytes, bytes | None]
    ) -> _Subtree | bytes:
        """The changed subtree of one side, or its old hash when no row below it changes."""
        return self._update(depth, prefix, rows, writes) if rows else held

    def _join(
        self, depth: int, prefix: int, left: _Subtree | bytes, right: _Subtree | bytes, writes: dict[bytes, bytes | None]
    ) -> _Subtree:
        key = node_key(depth, prefix)
        empty = EMPTY[DEPTH - depth - 1]
        left_hash = left if isinstance(left, bytes) else left.hash
        right_hash = right if isinstance(right, bytes) else right.hash
        if left_hash == empty and right_hash == empty:
            writes[key] = None
            return _Subtree(EMPTY[DEPTH - depth], None)
        lone: _Row | None = None
        if left_hash == empty:
            lone = self._lone(depth + 1, prefix << 1 | 1, right)
        elif right_hash == empty:
            lone = self._lone(depth + 1, prefix << 1, left)
        if lone is not None:
            # A row that is alone again rises to the shallowest depth, so that the shape does not remember the others.
            writes[node_key(depth + 1, lone.index >> (DEPTH - depth - 1))] = None
            return _build(depth, prefix, [lone], writes)
        writes[key] = _BRANCH + left_hash + right_hash
        return _Subtree(inner_hash(left_hash, right_hash), None)

    def _lone(self, depth: int, prefix: int, side: _Subtree | bytes) -> _Row | None:
        if isinstance(side, _Subtree):
            return side.lone
        node = self._nodes.get(node_key(depth, prefix))
        return _row(node) if node is not None and node[:1] == _LEAF else None


def _build(depth: int, prefix: int, rows: list[_Row], writes: dict[bytes, bytes | None]) -> _Subtree:
    """A subtree of exactly these rows, where nothing of it is stored but possibly the node itself."""
    level = DEPTH - depth
    if not rows:
        return _Subtree(EMPTY[level], None)
    key = node_key(depth, prefix)
    if len(rows) == 1:
        row = rows[0]
        assert row.leaf is not None
        writes[key] = _LEAF + row.leaf + row.key
        return _Subtree(fold(row.index, row.leaf, level), row)
    assert level > 0, f"two rows share the leaf {rows[0].index}: transition.py must have refused the second"
    left_rows, right_rows = _split(rows, level - 1)
    left = _build(depth + 1, prefix << 1, left_rows, writes).hash
    right = _build(depth + 1, prefix << 1 | 1, right_rows, writes).hash
    writes[key] = _BRANCH + left + right
    return _Subtree(inner_hash(left, right), None)


def _split(rows: list[_Row], bit: int) -> tuple[list[_Row], list[_Row]]:
    at = next((position for position, row in enumerate(rows) if row.index >> bit & 1), len(rows))
    return rows[:at], rows[at:]


def _sides(node: bytes) -> tuple[bytes, bytes]:
    assert len(node) == 1 + 2 * HASH_LENGTH, "a branch has two hashes: the tree's nodes are corrupt"
    return node[1 : 1 + HASH_LENGTH], node[1 + HASH_LENGTH :]


def _row(node: bytes) -> _Row:
    key = node[1 + HASH_LENGTH :]
    return _Row(leaf_index(key), key, node[1 : 1 + HASH_LENGTH])


def _append_divergence(beside: list[bytes], index: int, other: int, leaf: bytes) -> None:
    """Walk down where only `other` lies below: empty siblings until the two part, then the other's subtree."""
    level = (index ^ other).bit_length() - 1
    beside.extend(EMPTY[DEPTH - depth - 1] for depth in range(len(beside), DEPTH - level - 1))
    beside.append(fold(other, leaf, level))
