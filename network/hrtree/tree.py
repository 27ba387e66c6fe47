"""The HR-Tree: which model nodes hold which prompt prefix, as paths of 8-bit fingerprints.

Knows symbols, holders and times given to it; refuses to know prompts, keys, clocks or peers. A *tree node* is one prefix; a
row of `arena.py` stores up to twelve in a line. Invariants, checked by `check_integrity`: who holds a tree node holds its
parent; every tree node but the root has a holder; a parent was used no earlier than its child. Each method says whether it
*changes the tree* or *does not*. See `docs/forwarding.md` section 3.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from network.hrtree.arena import EMPTY_BYTES, MOST_ROW_BYTES, ROOT, ROW_BYTES, RUN, TABLE_BYTES, Arena, check
from network.hrtree.holder_sets import NOBODY, HolderSets

# Where so many prompts part, an unseen one meets one of their symbols by chance in over 5 % of cases (12 of 256).
PARTING = 12
LEAST_BYTES = 16 * 1024
# What one insertion may evict to find room for a set of holders: it bounds the pause.
MOST_EVICTIONS = 256
# A third of what sets may take is kept for sets that removals leave.
_RESERVE = 3


class Holding(NamedTuple):
    """How deep one holder matches a path, in symbols, and when that tree node was last used by anybody."""

    depth: int
    touched: float


class HRTree:
    """A radix tree over fingerprints with a set of holders per tree node and a hard cap on its bytes."""

    def __init__(self, max_bytes: int, tokens: Callable[[int], int] = int) -> None:
        """`tokens(depth)` is how many tokens the first `depth` symbols of a path stand for."""
        if max_bytes < LEAST_BYTES:
            raise ValueError(f"an HR-Tree needs room for {LEAST_BYTES} bytes at least, not {max_bytes}")
        self.evicted = 0
        self._tokens = tokens
        self._arena = Arena()
        self._sets = HolderSets((max_bytes - EMPTY_BYTES) // 4)
        self._reserve = self._sets.room // _RESERVE
        self._most_rows = (max_bytes - EMPTY_BYTES) // 4 * 3 // MOST_ROW_BYTES
        self._size = 0

    def __len__(self) -> int:
        """Tree nodes in use, the root not counted. *Does not change the tree.*"""
        return self._size

    @property
    def most_bytes(self) -> int:
        """No less than the tree takes in memory, no more than its cap. *Does not change the tree.*"""
        arena = self._arena
        return EMPTY_BYTES + len(arena.parent) * ROW_BYTES + len(arena.tables) * TABLE_BYTES + self._sets.used

    def held(self, holder: bytes) -> int:
        """How many tree nodes a holder holds. *Does not change the tree.*"""
        return self._sets.held(holder)[0]

    def held_tokens(self, holder: bytes) -> int:
        """How many tokens those stand for. *Does not change the tree.*"""
        return self._sets.held(holder)[1]

    def holders(self) -> tuple[bytes, ...]:
        """Every holder that has been heard of, sorted. *Does not change the tree.*"""
        return self._sets.holders()

    def insert(self, path: bytes, holder: bytes, now: float) -> int:
        """*Changes the tree*: `holder` holds `path` and all its prefixes; returns how many of them are new for it.

        What alone does not fit is cut from the path; in a full tree the leaves used longest ago make room.
        """
        path = path[: (self._most_rows // 2 - 2) * RUN]
        bit = self._sets.enter(holder)
        if not path or not bit:
            return 0
        self._make_room(len(path) // RUN + 2)
        trail, depth = self._descend(path)
        self._arena.use(trail, now)
        joined, added, tokens = self._hold(trail, bit)
        if joined == len(trail) and depth < len(path):
            grown = self._grow(trail, path[depth:], bit, now)
            added += grown
            tokens += self._tokens(depth + grown) - self._tokens(depth)
        self._close_up(trail)
        self._sets.count(holder, added, tokens)
        return added

    def match(self, path: bytes, parting: int = 0) -> dict[bytes, Holding]:
        """Every holder of a prefix of `path`, with its depth. *Does not change the tree.*

        With `parting`, a match does not end right below a tree node of that many children (2 to 32): that may well be chance.
        """
        arena, masks = self._arena, self._sets.mask
        found: list[tuple[int, Holding]] = []
        holding = Holding(0, 0.0)
        at = depth = live = number = 0
        while depth < len(path):
            child = arena.child(at, path[depth])
            if not child:
                break
            matched = arena.matched(child, path, depth)
            if arena.holders[child] != number:
                number = arena.holders[child]
                here = masks(number)
                found.append((live & ~here, holding))
                live = here
            depth += matched
            if matched > 1 or not parting or not arena.branches(at, parting):
                holding = Holding(depth, arena.touched[child])
            if matched < arena.size[child]:
                break
            at = child
        found.append((live, holding))
        return {name: holding for mask, holding in found if holding.depth for name in self._sets.names(mask)}

    def remove_path(self, path: bytes, holder: bytes) -> int:
        """*Changes the tree*: `holder` no longer holds `path` nor anything below it; returns how many tree nodes it lost."""
        self._make_room(1)
        arena, bit = self._arena, self._sets.bit(holder)
        at = depth = 0
        while depth < len(path):
            child = arena.child(at, path[depth])
            if not child or not self._sets.mask(arena.holders[child]) & bit:
                return 0
            run = arena.run(child)[: len(path) - depth]
            if run != path[depth : depth + len(run)]:
                return 0
            at, depth = child, depth + len(run)
            if depth == len(path) and len(run) > 1:
                arena.split(at, len(run) - 1)
                self._sets.again(arena.holders[at])
        return self._drop_below(at, holder)

    def remove_node(self, holder: bytes) -> int:
        """*Changes the tree*: forgets a holder altogether; returns how many tree nodes it held."""
        lost = self._drop_below(ROOT, holder)
        self._sets.leave(holder)
        return lost

    def paths(self, holder: bytes) -> list[tuple[float, bytes]]:
        """The maximal paths of a holder, each with its last use, in path order. *Does not change the tree.*"""
        rows = ((self._arena.touched[at], path) for at, path, below in self._walk(holder) if not below)
        return sorted(rows, key=lambda row: row[1])

    def trim(self, holder: bytes, nodes: int, tokens: int | None = None) -> list[bytes]:
        """*Changes the tree*: a holder of over `nodes` tree nodes, or `tokens` tokens, loses its least recently used branches.

        7/8 of that limit are left, so the walk over all it holds pays for an eighth. Returns the cut paths.
        """
        over_nodes, over_tokens = self.held(holder) > nodes, tokens is not None and self.held_tokens(holder) > tokens
        least = nodes * 7 // 8 if over_nodes else nodes
        fewest = tokens * 7 // 8 if tokens is not None and over_tokens else tokens
        cut: list[bytes] = []
        if not over_nodes and not over_tokens:
            return cut
        below: dict[int, int] = {}
        leaves: list[tuple[float, bytes, int]] = []
        for at, path, held in self._walk(holder):
            below[at] = held
            if not held:
                leaves.append((self._arena.touched[at], path, at))
        heapify(leaves)
        while self.held(holder) > least or (fewest is not None and self.held_tokens(holder) > fewest):
            _, path, at = heappop(leaves)
            top, length = self._arena.private_top(at, below)
            path, parent = path[: len(path) - length + 1], self._arena.parent[top]
            self._drop_below(top, holder)
            cut.append(path)
            if parent == ROOT:
                continue
            below[parent] -= 1
            if not below[parent]:
                heappush(leaves, (self._arena.touched[parent], path[:-1], parent))
        return cut

    def check_integrity(self) -> None:
        """Raises AssertionError when an invariant does not hold. *Does not change the tree.*"""
        arena, sets = self._arena, self._sets
        arena.check_integrity()
        held: dict[bytes, list[int]] = {}
        uses: Counter[int] = Counter()
        size = 0
        for at, depth in arena.rows():
            parent, mask = arena.parent[at], sets.mask(arena.holders[at])
            check(mask > 0, "a tree node without a holder")
            check(parent == ROOT or mask & ~sets.mask(arena.holders[parent]) == 0, "a holder does not hold the parent")
            tokens = self._tokens(depth) - self._tokens(depth - arena.size[at])
            for name in sets.names(mask):
                count = held.setdefault(name, [0, 0])
                held[name] = [count[0] + arena.size[at], count[1] + tokens]
            uses[arena.holders[at]] += 1
            size += arena.size[at]
        check(size == self._size, "the number of tree nodes is wrong")
        sets.check_integrity(uses, held)
        check(len(arena.parent) <= self._most_rows + 1, "more rows than the cap allows")

    def _descend(self, path: bytes) -> tuple[list[int], int]:
        """The rows that spell a prefix of a path, and its length. *Changes the tree*: a row that parts within is split."""
        arena = self._arena
        trail: list[int] = []
        at = depth = 0
        while depth < len(path):
            child = arena.child(at, path[depth])
            if not child:
                break
            matched = arena.matched(child, path, depth)
            if matched < arena.size[child]:
                trail.append(arena.split(child, matched))
                self._sets.again(arena.holders[child])
                return trail, depth + matched
            at, depth = child, depth + matched
            trail.append(at)
        return trail, depth

    def _hold(self, trail: list[int], bit: int) -> tuple[int, int, int]:
        """One more holder of all rows of a trail; how many of them had room for it, the tree nodes and tokens new for it."""
        arena, sets = self._arena, self._sets
        added = tokens = depth = before = after = 0
        for joined, at in enumerate(trail):
            number, size = arena.holders[at], arena.size[at]
            depth += size
            if number != before:
                mask = sets.mask(number)
                taken = number if mask & bit else self._take(mask | bit, trail[-1])
                if taken is None:
                    return joined, added, tokens
                before, after = number, taken
            elif after != number:
                sets.again(after)
            if after != number:
                arena.holders[at] = after
                sets.drop(number)
                added += size
                tokens += self._tokens(depth) - self._tokens(depth - size)
        return len(trail), added, tokens

    def _take(self, mask: int, keep: int) -> int | None:
        """A set for a claim that ends at `keep`; leaves used longest ago make room for it, though not for ever."""
        for _ in range(MOST_EVICTIONS):
            number = self._sets.take(mask, reserve=self._reserve)
            if number is not None or self._arena.oldest() == keep:
                return number
            self._evict(self._arena.oldest())
        return None

    def _grow(self, trail: list[int], rest: bytes, bit: int, now: float) -> int:
        """New tree nodes of one holder below a trail; how many there was room for."""
        arena, sets = self._arena, self._sets
        at = trail[-1] if trail else ROOT
        number = self._take(bit, at)
        if number is None:
            return 0
        start = 0
        if at and arena.holders[at] == number and arena.touched[at] == now and arena.is_leaf(at):
            start = min(RUN - arena.size[at], len(rest))
            arena.extend(at, rest[:start])
        for begin in range(start, len(rest), RUN):
            at = arena.add(at, rest[begin : begin + RUN], number, now)
            sets.again(number)
        sets.drop(number)
        self._size += len(rest)
        return len(rest)

    def _close_up(self, trail: list[int]) -> None:
        """Rows of a trail that have become alike are joined."""
        arena = self._arena
        for place in range(len(trail) - 1, 0, -1):
            at, child = trail[place - 1], trail[place]
            if arena.size[at] + arena.size[child] > RUN or arena.holders[at] != arena.holders[child]:
                continue
            if arena.touched[at] == arena.touched[child] and arena.only_child(at) == child:
                self._sets.drop(arena.holders[at])
                arena.join(at, child)
                trail[place - 1] = child

    def _walk(self, holder: bytes) -> Iterator[tuple[int, bytes, int]]:
        """Every row of a holder: its place, the path to its end, and how many of its children the holder holds."""
        arena, masks, bit = self._arena, self._sets.mask, self._sets.bit(holder)
        stack: list[tuple[int, bytes]] = [(ROOT, b"")]
        while stack:
            at, path = stack.pop()
            below = [child for child in arena.children(at) if masks(arena.holders[child]) & bit]
            if at != ROOT:
                yield at, path, len(below)
            stack += [(child, path + arena.run(child)) for child in below]

    def _drop_below(self, top: int, holder: bytes) -> int:
        """A row and all below lose a holder; returns how many tree nodes those were."""
        arena, sets, bit = self._arena, self._sets, self._sets.bit(holder)
        if not bit or (top != ROOT and not sets.mask(arena.holders[top]) & bit):
            return 0
        depth = arena.depth(top)
        reached = [(top, depth)]
        for at, depth in reached:
            reached += [
                (child, depth + arena.size[child]) for child in arena.children(at) if sets.mask(arena.holders[child]) & bit
            ]
        lost = tokens = 0
        for at, depth in reversed(reached if top != ROOT else reached[1:]):
            lost += arena.size[at]
            tokens += self._tokens(depth) - self._tokens(depth - arena.size[at])
            number = arena.holders[at]
            mask = sets.mask(number) & ~bit
            sets.drop(number)
            left = sets.take(mask) if mask else None
            if left is not None:
                arena.holders[at] = left
                continue
            # Nobody is left, or no room for a set of those who are: then their claims from here on are evicted.
            arena.holders[at] = NOBODY
            self._evict_below(at)
            self._count_all(mask, at)
            self._size -= arena.size[at]
            arena.remove(at)
        sets.count(holder, -lost, -tokens)
        return lost

    def _evict_below(self, top: int) -> None:
        reached = list(self._arena.children(top))
        for at in reached:
            reached += self._arena.children(at)
        for at in reversed(reached):
            self._evict(at)

    def _evict(self, at: int) -> None:
        """A leaf goes, whoever holds it."""
        arena = self._arena
        self._count_all(self._sets.mask(arena.holders[at]), at)
        self._sets.drop(arena.holders[at])
        self.evicted += arena.size[at]
        self._size -= arena.size[at]
        arena.remove(at)

    def _make_room(self, rows: int) -> None:
        while len(self._arena) + rows > self._most_rows:
            self._evict(self._arena.oldest())

    def _count_all(self, mask: int, at: int) -> None:
        """All members of a set lose a row."""
        size, depth = self._arena.size[at], self._arena.depth(at)
        tokens = self._tokens(depth) - self._tokens(depth - size)
        for name in self._sets.names(mask):
            self._sets.count(name, -size, -tokens)
