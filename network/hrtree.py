"""The HR-Tree: which model nodes hold which prompt prefix, as paths of 8-bit fingerprints.

Knows symbols, holders and times given to it; refuses to know prompts, keys, clocks or peers. Invariants, checked by
`check_integrity`: who holds a tree node holds its parent; every tree node but the root has a holder; a parent was touched no
earlier than its child. Each method says whether it *changes the tree* or *does not*. See `docs/forwarding.md` section 3.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

ROOT = 0
# Measured with tracemalloc on CPython 3.11 (`evals/forwarding/bench_index.py`), rounded up; the cap in bytes divides by it.
NODE_BYTES = 160


@dataclass(frozen=True, slots=True)
class Holding:
    """How deep one holder matches a path, in chunks, and when that tree node was last touched by anybody."""

    depth: int
    touched: float


class HRTree:
    """A radix tree over fingerprints with a set of holders per tree node and a hard cap on the number of tree nodes."""

    def __init__(self, max_nodes: int) -> None:
        if max_nodes < 1:
            raise ValueError("an HR-Tree needs room for one node")
        self.max_nodes = max_nodes
        self.evicted = 0
        self._child: dict[int, int] = {}
        self._parent = array("I", [ROOT])
        self._symbol = bytearray(1)
        self._first = array("I", [ROOT])
        self._next = array("I", [ROOT])
        self._touched = array("d", [0.0])
        self._holders: list[int] = [0]
        self._free: list[int] = []
        self._bits: dict[bytes, int] = {}
        self._held: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Tree nodes in use, the root not counted. *Does not change the tree.*"""
        return len(self._child)

    def held(self, holder: bytes) -> int:
        """How many tree nodes a holder holds. *Does not change the tree.*"""
        return self._held.get(holder, 0)

    def holders(self) -> tuple[bytes, ...]:
        """Every holder of anything, sorted. *Does not change the tree.*"""
        return tuple(sorted(self._bits))

    def insert(self, path: bytes, holder: bytes, now: float) -> int:
        """*Changes the tree*: `holder` holds `path` and all its prefixes; returns how many of them are new for it.

        A path longer than the cap is cut; when the tree is full, the tree nodes touched longest ago are evicted.
        """
        path = path[: self.max_nodes]
        if not path:
            return 0
        bit = self._bit(holder)
        at = depth = added = 0
        for symbol in path:
            child = self._child.get(at << 8 | symbol)
            if child is None:
                break
            added += self._hold(child, bit)
            self._touched[child] = max(self._touched[child], now)
            at, depth = child, depth + 1
        missing = len(path) - depth
        if len(self) + missing > self.max_nodes:
            self._evict(max(len(self) + missing - self.max_nodes, self.max_nodes // 16), keep=at)
        for symbol in path[depth:]:
            at = self._add(at, symbol, bit, now)
        self._held[holder] = self._held.get(holder, 0) + added + missing
        return added + missing

    def match(self, path: bytes) -> dict[bytes, Holding]:
        """Every holder of a prefix of `path`, with its depth. *Does not change the tree.*"""
        found: list[tuple[int, Holding]] = []
        at = depth = everybody = live = 0
        for symbol in path:
            child = self._child.get(at << 8 | symbol)
            if child is None:
                break
            here = self._holders[child]
            if not depth:
                everybody = live = here
            elif live != here:
                found.append((live & ~here, Holding(depth, self._touched[at])))
            at, live, depth = child, here, depth + 1
        found.append((live, Holding(depth, self._touched[at])))
        names = self._names(everybody)
        return {names[bit]: holding for mask, holding in found for bit in _bits_of(mask)}

    def remove_path(self, path: bytes, holder: bytes) -> int:
        """*Changes the tree*: `holder` no longer holds `path` nor anything below it; returns how many tree nodes it lost."""
        at = ROOT
        for symbol in path:
            child = self._child.get(at << 8 | symbol)
            if child is None:
                return 0
            at = child
        return self._drop_below(at, holder)

    def remove_node(self, holder: bytes) -> int:
        """*Changes the tree*: forgets a holder altogether; returns how many tree nodes it held."""
        lost = self._drop_below(ROOT, holder)
        self._bits.pop(holder, None)
        self._held.pop(holder, None)
        return lost

    def paths(self, holder: bytes) -> list[tuple[float, bytes]]:
        """The maximal paths of a holder, each with its last touch, in path order. *Does not change the tree.*"""
        return sorted(((self._touched[at], path) for at, path, leaf in self._walk(holder) if leaf), key=lambda row: row[1])

    def trim(self, holder: bytes, limit: int, weight: Callable[[int], int]) -> list[bytes]:
        """*Changes the tree*: cuts a holder's least recently used branches until the rest weighs at most 7/8 of `limit`.

        Does nothing within the limit. `weight(depth)` is what the tree node at that depth weighs. Returns the cut paths.
        """
        total = sum(weight(len(path)) for _, path, _ in self._walk(holder))
        cut: list[bytes] = []
        if total <= limit:
            return cut
        while total > limit * 7 // 8:
            for touched, path in sorted(self.paths(holder)):
                top = self._private_top(path, holder, touched)
                total -= sum(weight(depth) for depth in range(top, len(path) + 1))
                self.remove_path(path[:top], holder)
                cut.append(path[:top])
                if total <= limit * 7 // 8:
                    break
        return cut

    def check_integrity(self) -> None:
        """Raises AssertionError when an invariant does not hold. *Does not change the tree.*"""
        seen = 0
        held = dict.fromkeys(self._bits, 0)
        stack = [ROOT]
        while stack:
            at = stack.pop()
            symbols = [self._symbol[child] for child in self._children(at)]
            _check(len(set(symbols)) == len(symbols), "two children share a symbol")
            for child in self._children(at):
                mask = self._holders[child]
                _check(self._parent[child] == at, "a child names another parent")
                _check(self._child.get(at << 8 | self._symbol[child]) == child, "the look-up table misses a child")
                _check(mask > 0, "a tree node without a holder")
                _check(at == ROOT or mask & ~self._holders[at] == 0, "a holder of a child does not hold the parent")
                _check(at == ROOT or self._touched[child] <= self._touched[at], "a child newer than its parent")
                names = self._names(mask)
                _check(len(names) == mask.bit_count(), "a holder bit without a name")
                for name in names.values():
                    held[name] += 1
                seen += 1
                stack.append(child)
        _check(seen == len(self._child) <= self.max_nodes, "tree nodes that cannot be reached, or more than the cap")
        _check(seen + len(self._free) + 1 == len(self._parent), "the free list and the arena disagree")
        _check(all(self._held.get(name, 0) == count for name, count in held.items()), "a holder's count is wrong")

    def _walk(self, holder: bytes) -> Iterator[tuple[int, bytes, bool]]:
        """Every tree node of a holder: its place, its path, and whether the holder has nothing below it."""
        if holder not in self._bits:
            return
        bit = 1 << self._bits[holder]
        stack: list[tuple[int, bytes]] = [(ROOT, b"")]
        while stack:
            at, path = stack.pop()
            below = [child for child in self._children(at) if self._holders[child] & bit]
            if at != ROOT:
                yield at, path, not below
            stack += [(child, path + bytes([self._symbol[child]])) for child in below]

    def _private_top(self, path: bytes, holder: bytes, touched: float) -> int:
        """The least depth from which a leaf's branch serves this leaf alone: nothing else of its holder, no later use."""
        bit = 1 << self._bits[holder]
        trail = [ROOT]
        for symbol in path:
            trail.append(self._child[trail[-1] << 8 | symbol])
        depth = len(path)
        while depth > 1:
            parent = trail[depth - 1]
            shared = sum(1 for child in self._children(parent) if self._holders[child] & bit) > 1
            if shared or self._touched[parent] > touched:
                break
            depth -= 1
        return depth

    def _bit(self, holder: bytes) -> int:
        """The mask bit of a holder; a new holder takes the lowest free one. *Changes the tree.*"""
        if holder not in self._bits:
            used = set(self._bits.values())
            self._bits[holder] = next(bit for bit in range(len(used) + 1) if bit not in used)
        return 1 << self._bits[holder]

    def _names(self, mask: int) -> dict[int, bytes]:
        return {bit: name for name, bit in self._bits.items() if mask >> bit & 1}

    def _children(self, at: int) -> Iterator[int]:
        child = self._first[at]
        while child:
            yield child
            child = self._next[child]

    def _hold(self, at: int, bit: int) -> int:
        if self._holders[at] & bit:
            return 0
        self._holders[at] |= bit
        return 1

    def _add(self, parent: int, symbol: int, bit: int, now: float) -> int:
        if self._free:
            at = self._free.pop()
        else:
            at = len(self._parent)
            self._parent.append(0)
            self._symbol.append(0)
            self._first.append(0)
            self._next.append(0)
            self._touched.append(0.0)
            self._holders.append(0)
        self._parent[at], self._symbol[at], self._first[at] = parent, symbol, ROOT
        self._next[at], self._first[parent] = self._first[parent], at
        self._touched[at] = now
        self._holders[at] = bit
        self._child[parent << 8 | symbol] = at
        return at

    def _unlink(self, at: int) -> None:
        """Gives a leaf back to the arena. Its siblings are at most 255, so the walk is short."""
        parent = self._parent[at]
        before = self._first[parent]
        if before == at:
            self._first[parent] = self._next[at]
        else:
            while self._next[before] != at:
                before = self._next[before]
            self._next[before] = self._next[at]
        del self._child[parent << 8 | self._symbol[at]]
        self._holders[at] = 0
        self._free.append(at)

    def _drop_below(self, top: int, holder: bytes) -> int:
        if holder not in self._bits:
            return 0
        bit = 1 << self._bits[holder]
        lost = [top] if top != ROOT and self._holders[top] & bit else []
        if top != ROOT and not lost:
            return 0
        reached = lost or [ROOT]
        for at in reached:
            reached += [child for child in self._children(at) if self._holders[child] & bit]
        lost = reached if top != ROOT else reached[1:]
        for at in reversed(lost):
            self._holders[at] &= ~bit
            if not self._holders[at]:
                self._unlink(at)
        self._held[holder] = self._held.get(holder, 0) - len(lost)
        return len(lost)

    def _evict(self, count: int, keep: int) -> None:
        """Frees `count` tree nodes, leaves touched longest ago first; never `keep`, hence none above it."""
        leaves = [(self._touched[at], at) for at in self._child.values() if not self._first[at] and at != keep]
        heapify(leaves)
        while count and leaves:
            _, at = heappop(leaves)
            parent = self._parent[at]
            for name in self._names(self._holders[at]).values():
                self._held[name] -= 1
            self._unlink(at)
            self.evicted += 1
            count -= 1
            if parent != ROOT and parent != keep and not self._first[parent]:
                heappush(leaves, (self._touched[parent], parent))


def _bits_of(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(f"HR-Tree integrity: {what}")
