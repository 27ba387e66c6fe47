"""The storage of the HR-Tree: runs of up to twelve symbols as rows of flat columns, in order of their last use.

A row is a *run*: symbols without a branch between them that the same holders hold and that were touched at the same time. The
columns are arrays, so a row costs `ROW_BYTES`, growth included, whatever it holds. A run with many branches has a table of
them. Rows form a ring from the one used last to the one used first, a parent always before its children: its far end is a leaf.
Knows nothing of holders but a number. `docs/forwarding.md` section 3; `docs/adr/0141-runs-in-columns.md`.
"""

from array import array
from collections.abc import Iterator, Mapping
from operator import eq

ROOT = 0
RUN = 12
# From this many children on a table finds one; when fewer than _TABLE_UNTIL are left, a walk does again.
TABLE_FROM = 48
_TABLE_UNTIL = 32
_COUNT = 256

# Columns grow by a sixteenth (arrays) or an eighth (bytes) at a time: (5 * 4 + 8 + 2) * 17/16 + 13 * 9/8.
ROW_BYTES = 47
# An array of 257 numbers, its header, and its place in a dictionary that has just doubled.
TABLE_BYTES = 1_280
# Every table has _TABLE_UNTIL children and every child is a row, so this covers the tables too.
MOST_ROW_BYTES = ROW_BYTES + TABLE_BYTES // _TABLE_UNTIL
EMPTY_BYTES = 4_096


class Arena:
    """Rows that refer to each other by number. Row 0 is the root, and the place in the ring where it begins and ends."""

    def __init__(self) -> None:
        self.parent = array("I", [ROOT])
        self.first = array("I", [ROOT])
        self.following = array("I", [ROOT])
        self.older = array("I", [ROOT])
        self.newer = array("I", [ROOT])
        self.touched = array("d", [0.0])
        self.holders = array("H", [0])
        self.size = bytearray(1)
        self.symbols = bytearray(RUN)
        self.tables: dict[int, array[int]] = {}
        self._free = ROOT
        self._unused = 0

    def __len__(self) -> int:
        """Rows in use, the root not counted."""
        return len(self.parent) - 1 - self._unused

    def run(self, at: int) -> bytes:
        """The symbols of a row."""
        return bytes(self.symbols[at * RUN : at * RUN + self.size[at]])

    def matched(self, at: int, path: bytes, depth: int) -> int:
        """How many symbols of a row are those of a path from a depth on."""
        start, size = at * RUN, self.size[at]
        run, piece = self.symbols[start : start + size], path[depth : depth + size]
        if run == piece:
            return size
        same = map(eq, run, piece)
        return next((place for place, alike in enumerate(same) if not alike), len(piece))

    def child(self, at: int, symbol: int) -> int:
        """The child whose run begins with a symbol, or ROOT."""
        if at in self.tables:
            return self.tables[at][symbol]
        child = self.first[at]
        symbols, following = self.symbols, self.following
        while child and symbols[child * RUN] != symbol:
            child = following[child]
        return child

    def children(self, at: int) -> Iterator[int]:
        """Every child; the row may be changed meanwhile, not its list of children."""
        if at in self.tables:
            yield from (child for child in self.tables[at][:_COUNT] if child)
            return
        child = self.first[at]
        while child:
            yield child
            child = self.following[child]

    def is_leaf(self, at: int) -> bool:
        """Whether nothing hangs below."""
        return not self.first[at] and at not in self.tables

    def branches(self, at: int, enough: int) -> bool:
        """Whether a row has at least `enough` children; nobody asks for more than tables have."""
        if at in self.tables:
            return True
        child = self.first[at]
        while child and enough:
            enough -= 1
            child = self.following[child]
        return not enough

    def only_child(self, at: int) -> int:
        """The child of a row that has one alone, or ROOT."""
        child = self.first[at]
        return ROOT if not child or self.following[child] else child

    def path(self, at: int) -> bytes:
        """The symbols from the root to the end of a row."""
        runs = []
        while at:
            runs.append(self.run(at))
            at = self.parent[at]
        return b"".join(reversed(runs))

    def depth(self, at: int) -> int:
        """How many symbols lead to the end of a row."""
        depth = 0
        size, parent = self.size, self.parent
        while at:
            depth += size[at]
            at = parent[at]
        return depth

    def private_top(self, at: int, below: Mapping[int, int]) -> tuple[int, int]:
        """The highest row above a leaf that leads nowhere else and was used no later, and the symbols from its start on.

        `below` says how many children of a row count.
        """
        touched, length = self.touched[at], self.size[at]
        parent = self.parent[at]
        while parent != ROOT and below[parent] == 1 and self.touched[parent] <= touched:
            at, length = parent, length + self.size[parent]
            parent = self.parent[at]
        return at, length

    def add(self, parent: int, run: bytes, holders: int, touched: float) -> int:
        """*Changes the arena*: a new leaf, next in use behind its parent."""
        at = self._row()
        self.holders[at], self.touched[at] = holders, touched
        self._write(at, run)
        self._attach(parent, at)
        self._place_behind(parent, at)
        return at

    def extend(self, at: int, run: bytes) -> None:
        """*Changes the arena*: more symbols at the end of a row that has room for them."""
        end = at * RUN + self.size[at]
        self.symbols[end : end + len(run)] = run
        self.size[at] += len(run)

    def split(self, at: int, size: int) -> int:
        """*Changes the arena*: the first `size` symbols of a row become a row of their own, above it; returns that row."""
        run, parent = self.run(at), self.parent[at]
        head = self._row()
        self.holders[head], self.touched[head] = self.holders[at], self.touched[at]
        self._write(head, run[:size])
        self._detach(at)
        self._attach(parent, head)
        self._write(at, run[size:])
        self._attach(head, at)
        self._place_behind(self.newer[at], head)
        return head

    def join(self, at: int, child: int) -> None:
        """*Changes the arena*: a row goes, its symbols before those of its only child."""
        parent, run = self.parent[at], self.run(at) + self.run(child)
        self._detach(child)
        self._detach(at)
        self._write(child, run)
        self._attach(parent, child)
        self._give_back(at)

    def remove(self, at: int) -> None:
        """*Changes the arena*: a leaf goes."""
        self._detach(at)
        self._give_back(at)

    def use(self, trail: list[int], now: float) -> None:
        """*Changes the arena*: rows from the root downwards were used now."""
        older, newer, touched = self.older, self.newer, self.touched
        for at in reversed(trail):
            if touched[at] < now:
                touched[at] = now
            before, after = newer[at], older[at]
            older[before], newer[after] = after, before
            first = older[ROOT]
            older[ROOT], newer[at], older[at], newer[first] = at, ROOT, first, at

    def oldest(self) -> int:
        """The leaf used longest ago, or ROOT when there is none."""
        return self.newer[ROOT]

    def rows(self) -> Iterator[tuple[int, int]]:
        """Every row but the root and the depth of its end, a parent before its children."""
        stack = [(ROOT, 0)]
        while stack:
            at, depth = stack.pop()
            if at != ROOT:
                yield at, depth
            stack += [(child, depth + self.size[child]) for child in self.children(at)]

    def check_integrity(self) -> None:
        """Raises AssertionError when rows, ring, tables or free rows disagree. *Does not change the arena.*"""
        seen, behind = 0, {ROOT}
        ring: list[int] = []
        at = self.older[ROOT]
        while at != ROOT:
            check(self.newer[self.older[at]] == at and len(ring) < len(self), "the ring is torn")
            check(self.parent[at] in behind, "a child used later than its parent")
            behind.add(at)
            ring.append(at)
            at = self.older[at]
        for at, _ in self.rows():
            parent = self.parent[at]
            check(0 < self.size[at] <= RUN, "a row of no or too many symbols")
            check(self.child(parent, self.symbols[at * RUN]) == at, "a child cannot be found, or two share a symbol")
            check(parent == ROOT or self.touched[at] <= self.touched[parent], "a child touched later than its parent")
            seen += 1
        check(seen == len(self) == len(ring), "rows that cannot be reached")
        for at, table in self.tables.items():
            check(table[_COUNT] == sum(1 for _ in self.children(at)) >= _TABLE_UNTIL, "a table counts wrong")
            check(all(self.parent[child] == at for child in self.children(at)), "a child names another parent")

    def _row(self) -> int:
        if self._free:
            at = self._free
            self._free = self.following[at]
            self._unused -= 1
            return at
        for column in (self.parent, self.first, self.following, self.older, self.newer, self.holders):
            column.append(0)
        self.touched.append(0.0)
        self.size.append(0)
        self.symbols.extend(bytes(RUN))
        return len(self.parent) - 1

    def _give_back(self, at: int) -> None:
        before, after = self.newer[at], self.older[at]
        self.older[before], self.newer[after] = after, before
        self.first[at], self.holders[at], self.size[at] = ROOT, 0, 0
        self.following[at], self._free = self._free, at
        self._unused += 1

    def _write(self, at: int, run: bytes) -> None:
        self.symbols[at * RUN : at * RUN + len(run)] = run
        self.size[at] = len(run)

    def _place_behind(self, newer: int, at: int) -> None:
        after = self.older[newer]
        self.older[newer], self.newer[at], self.older[at], self.newer[after] = at, newer, after, at

    def _attach(self, parent: int, at: int) -> None:
        self.parent[at] = parent
        table = self.tables.get(parent)
        if table is not None:
            table[self.symbols[at * RUN]] = at
            table[_COUNT] += 1
            return
        self.following[at], self.first[parent] = self.first[parent], at
        # Splits and joins detach and attach again, so counting happens where a list may have grown long.
        if self.following[at] and self._count(at) >= TABLE_FROM:
            self._make_table(parent)

    def _count(self, at: int) -> int:
        count = 0
        while at:
            count += 1
            at = self.following[at]
        return count

    def _make_table(self, parent: int) -> None:
        table = array("I", bytes(4 * (_COUNT + 1)))
        for child in self.children(parent):
            table[self.symbols[child * RUN]] = child
            table[_COUNT] += 1
        self.tables[parent], self.first[parent] = table, ROOT

    def _detach(self, at: int) -> None:
        parent = self.parent[at]
        table = self.tables.get(parent)
        if table is not None:
            table[self.symbols[at * RUN]] = ROOT
            table[_COUNT] -= 1
            if table[_COUNT] < _TABLE_UNTIL:
                self._end_table(parent)
            return
        if self.first[parent] == at:
            self.first[parent] = self.following[at]
            return
        before = self.first[parent]
        while self.following[before] != at:
            before = self.following[before]
        self.following[before] = self.following[at]

    def _end_table(self, parent: int) -> None:
        children = list(self.children(parent))
        del self.tables[parent]
        for child in children:
            self.following[child], self.first[parent] = self.first[parent], child


def check(holds: bool, what: str) -> None:
    """Raises AssertionError where an invariant does not hold."""
    if not holds:
        raise AssertionError(f"HR-Tree integrity: {what}")
