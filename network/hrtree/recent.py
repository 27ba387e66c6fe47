"""The last paths that one origin held, kept alike at both ends of the exchange, so that a change is told by what is new in it.

A change is spelled by an earlier path of the same origin (`back`: how many numbers ago it was held), how much of its end to
cut, and the symbols that follow. A growing conversation costs its new symbols and about three bytes; a dropped branch costs
three bytes. Rules that both ends follow, in the order of the changes: `docs/forwarding.md` section 4.4.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from network.hrtree.delta import ChangeKind, Refused, Section
from network.hrtree.fingerprint import MAX_DEPTH

RECENT_PATHS = 1024
RECENT_SYMBOLS = 64 * 1024

Change = tuple[int, ChangeKind, bytes]  # generation, what happened, to which path
Listed = tuple[bytes, int, bool]  # a path, how many numbers ago it was held plus one (0: too long), whether it is still held


class Recent:
    """A bounded set of paths, none the beginning of another, each with the number it was held under."""

    __slots__ = ("_by_number", "_ordered", "_symbols", "newest", "spaces")

    def __init__(self, newest: int = 0) -> None:
        self.newest = newest
        self.spaces: dict[int, bytes] = {}
        self._by_number: dict[int, tuple[int, bytes]] = {}
        self._ordered: dict[int, list[tuple[bytes, int]]] = {}
        self._symbols = 0

    def __len__(self) -> int:
        return len(self._by_number)

    def copy(self) -> "Recent":
        """A copy to try a post on."""
        made = Recent(self.newest)
        made.spaces = self.spaces.copy()
        made._by_number = self._by_number.copy()
        made._ordered = {generation: paths.copy() for generation, paths in self._ordered.items()}
        made._symbols = self._symbols
        return made

    def numbers(self, generation: int) -> dict[bytes, int]:
        """The paths of one generation, each with how many numbers ago it was held, plus one."""
        return {path: self.newest - number + 1 for path, number in self._ordered.get(generation, ())}

    def restore(self, generation: int, path: bytes, back: int) -> None:
        """*Changes the set*: a path that a snapshot says was held `back` - 1 numbers ago. Older than the rest is fine."""
        number = self.newest - back + 1
        if number < 1 or number in self._by_number or len(self._by_number) >= RECENT_PATHS:
            raise Refused("garbage", "a snapshot whose recent paths cannot be")
        self._add(generation, path, number)

    def settle(self) -> None:
        """*Changes the set*: after `restore` of all, in any order: the oldest come first again."""
        self._by_number = dict(sorted(self._by_number.items()))

    def spell(self, generation: int, path: bytes) -> tuple[int, int, bytes]:
        """(back, cut, symbols) of a path; back 0 means that it is spelled out. *Does not change the set.*"""
        ordered = self._ordered.get(generation, [])
        at = bisect_left(ordered, (path, 0))
        best = (0, 0, path)
        most = 1  # a reference costs more than one symbol
        for neighbour in ordered[max(0, at - 1) : at + 1]:
            known, number = neighbour
            shared = _common(known, path)
            if shared > most:
                most = shared
                best = (self.newest - number + 1, len(known) - shared, path[shared:])
        return best

    def read(self, generation: int, back: int, cut: int, symbols: bytes) -> bytes:
        """The path that was spelled so. Raises Refused for one that cannot be. *Does not change the set.*"""
        known = b""
        if back:
            held_in, known = self._by_number.get(self.newest - back + 1, (-1, b""))
            if held_in != generation or cut > len(known):
                raise Refused("garbage", "a change that refers to a path nobody remembers")
        path = known[: len(known) - cut] + symbols
        if not path or len(path) > MAX_DEPTH:
            raise Refused("oversized", "a path of no or too many symbols")
        return path

    def apply(self, generation: int, kind: ChangeKind, path: bytes) -> None:
        """*Changes the set*: follows one change."""
        if kind is ChangeKind.DROP:
            self._remove_below(generation, path)
            path = path[:-1]
        if path:
            self._hold(generation, path)

    def enter(self, generation: int, space: bytes) -> None:
        """*Changes the set*: a section of this space begins. Paths of a space it replaces, or long gone, refer to nothing."""
        stale = [number for number in self.spaces if number < generation - 1]
        if self.spaces.get(generation, space) != space:
            stale.append(generation)
        for number in stale:
            del self.spaces[number]
            for path, key in self._ordered.pop(number, ()):
                del self._by_number[key]
                self._symbols -= len(path)
        self.spaces[generation] = space

    def _hold(self, generation: int, path: bytes) -> None:
        ordered = self._ordered.setdefault(generation, [])
        at = bisect_left(ordered, (path, 0))
        if at < len(ordered) and ordered[at][0].startswith(path):
            return
        # No path here begins another, so the only one that may begin the new one stands right before it.
        if at and path.startswith(ordered[at - 1][0]):
            self._remove(generation, at - 1)
        self.newest += 1
        self._add(generation, path, self.newest)
        while len(self._by_number) > RECENT_PATHS or self._symbols > RECENT_SYMBOLS:
            number, (oldest_generation, oldest) = next(iter(self._by_number.items()))
            self._remove(oldest_generation, bisect_left(self._ordered[oldest_generation], (oldest, number)))

    def _add(self, generation: int, path: bytes, number: int) -> None:
        insort(self._ordered.setdefault(generation, []), (path, number))
        self._by_number[number] = (generation, path)
        self._symbols += len(path)

    def _remove(self, generation: int, at: int) -> None:
        path, number = self._ordered[generation].pop(at)
        del self._by_number[number]
        self._symbols -= len(path)

    def _remove_below(self, generation: int, top: bytes) -> None:
        ordered = self._ordered.get(generation, [])
        at = bisect_left(ordered, (top, 0))
        while at < len(ordered) and ordered[at][0].startswith(top):
            self._remove(generation, at)


def write_section(recent: Recent, generation: int, space: bytes, changes: Iterable[tuple[ChangeKind, bytes]]) -> Section:
    """The section of a delta that tells these changes; `recent` follows them. *Changes `recent`.*"""
    codes: list[int] = []
    symbols = bytearray()
    recent.enter(generation, space)
    for kind, path in changes:
        back, cut, rest = recent.spell(generation, path)
        codes.append(back << 1 | (kind is ChangeKind.DROP))
        if back:
            codes.append(cut)
        codes.append(len(rest))
        symbols += rest
        recent.apply(generation, kind, path)
    return Section(generation, space, tuple(codes), bytes(symbols))


def read_section(recent: Recent, section: Section, budget: int) -> list[Change]:
    """The changes that a section with a space tells; `recent` follows them. Raises Refused for what cannot be, or is too much.

    *Changes `recent`*, also when it raises: hand in a copy.
    """
    changes: list[Change] = []
    generation, at = section.generation, 0
    recent.enter(generation, section.space)
    codes = iter(section.codes)
    for first in codes:
        kind = ChangeKind.DROP if first & 1 else ChangeKind.HOLD
        cut = _next(codes) if first >> 1 else 0
        size = _next(codes)
        if size > len(section.symbols) - at:
            raise Refused("garbage", "a section with fewer symbols than it says")
        path = recent.read(generation, first >> 1, cut, section.symbols[at : at + size])
        at += size
        budget -= len(path)
        if budget < 0:
            raise Refused("oversized", "more symbols than one post may ask for")
        recent.apply(generation, kind, path)
        changes.append((generation, kind, path))
    if at != len(section.symbols):
        raise Refused("garbage", "a section with more symbols than it says")
    return changes


def write_paths(generation: int, space: bytes, paths: Iterable[Listed]) -> Section:
    """The section of a snapshot: sorted paths, each by what it shares with the one before."""
    codes: list[int] = []
    symbols = bytearray()
    before = b""
    for path, back, held in paths:
        shared = _common(before, path)
        codes += (shared, len(path) - shared, back << 1 | (not held))
        symbols += path[shared:]
        before = path
    return Section(generation, space, tuple(codes), bytes(symbols))


def read_paths(section: Section, budget: int) -> list[Listed]:
    """What `write_paths` wrote. Raises Refused for what cannot be, or is too much."""
    paths: list[Listed] = []
    before, at = b"", 0
    codes = iter(section.codes)
    for shared in codes:
        size, back = _next(codes), _next(codes)
        if shared > len(before) or size > len(section.symbols) - at:
            raise Refused("garbage", "a path that shares or takes more than there is")
        path = before[:shared] + section.symbols[at : at + size]
        at += size
        budget -= len(path)
        if path <= before or len(path) > MAX_DEPTH or budget < 0:
            raise Refused("oversized", "paths out of order, too long, or too many")
        paths.append((path, back >> 1, not back & 1))
        before = path
    if at != len(section.symbols):
        raise Refused("garbage", "a section with more symbols than it says")
    return paths


def _next(codes: Iterator[int]) -> int:
    try:
        return next(codes)
    except StopIteration:
        raise Refused("garbage", "a section that breaks off within a change") from None


def _common(one: bytes, two: bytes) -> int:
    """Length of the common prefix."""
    length = min(len(one), len(two))
    if one[:length] == two[:length]:
        return length
    return next(at for at in range(length) if one[at] != two[at])
