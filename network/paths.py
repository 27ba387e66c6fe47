"""The choice of relays: one path set is n circuits of distinct relays that share neither operator family nor network.

Only trusted live relays of the proven directory are hops. First hops are the guards that are handed in; middles and proxies
are fresh for every set, by the caller's randomness (the operating system's), never derived from the chain. Relays that failed
lately come last, and a guard is not joined again at once to the middle with which it has just failed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from network.chain_records import DirectoryEntry
from network.directory import Directory
from network.errors import NoCircuits
from network.freshness import Rng
from network.geometry import GEOMETRY
from network.relay_draw import draw_disjoint

AVOID_SECONDS = 120.0
PREFIX_SECONDS = 10.0

Usable = Callable[[DirectoryEntry], bool]


@dataclass(frozen=True, slots=True)
class PathSet:
    """Paths of `hops` relays each, nearest first; n of them, or as many as are to be replaced."""

    paths: tuple[tuple[DirectoryEntry, ...], ...]


class RelayHistory:
    """Which relays and which beginnings of paths failed lately. Bounded by the directory and by time."""

    __slots__ = ("_failed_at", "_prefix_failed_at")

    def __init__(self) -> None:
        self._failed_at: dict[bytes, float] = {}
        self._prefix_failed_at: dict[tuple[bytes, bytes], float] = {}

    def failed(self, relays: Sequence[DirectoryEntry], now: float) -> None:
        """One of these relays of one path failed; all are suspects."""
        self._failed_at.update({relay.node_id: now for relay in relays})
        if len(relays) > 1:
            self._prefix_failed_at[relays[0].node_id, relays[1].node_id] = now

    def worked(self, relays: Sequence[DirectoryEntry]) -> None:
        """All of these relays just did their work."""
        for relay in relays:
            self._failed_at.pop(relay.node_id, None)

    def suspicion(self, relay: DirectoryEntry, now: float) -> float:
        """0 for a relay in good standing, else more the more recently it failed."""
        failed_at = self._failed_at.get(relay.node_id)
        return 0.0 if failed_at is None else max(0.0, failed_at + AVOID_SECONDS - now)

    def just_failed(self, first: DirectoryEntry, second: DirectoryEntry, now: float) -> bool:
        """Whether a path that began with these two failed a moment ago."""
        failed_at = self._prefix_failed_at.get((first.node_id, second.node_id))
        return failed_at is not None and now < failed_at + PREFIX_SECONDS

    def forget_absent(self, directory: Directory, now: float) -> None:
        """Drop relays that the directory no longer lists, and beginnings that may be tried again."""
        self._failed_at = {node: at for node, at in self._failed_at.items() if directory.get(node) is not None}
        self._prefix_failed_at = {pair: at for pair, at in self._prefix_failed_at.items() if now < at + PREFIX_SECONDS}


def choose_paths(
    directory: Directory,
    history: RelayHistory,
    now: float,
    rng: Rng,
    *,
    count: int = GEOMETRY.n,
    beside: Sequence[DirectoryEntry] = (),
    guards: Sequence[DirectoryEntry] = (),
    usable: Usable = lambda _: True,
    poor: Callable[[DirectoryEntry], bool] = lambda _: False,
) -> PathSet:
    """`count` fresh paths that fit beside relays already in use. Raises NoCircuits when relays are too few.

    `guards` are the first hops, one per path; without them first hops are drawn like the others. Relays that are not `usable`
    are left out; those that are `poor` come last.
    """
    if guards and len(guards) != count:
        raise ValueError(f"{len(guards)} guards for {count} paths")
    relays = [each for each in directory.relays() if each.trusted and usable(each)]
    needed = count * (GEOMETRY.hops - bool(guards))
    standing = [*beside, *guards]

    def rank(relay: DirectoryEntry) -> float:
        return history.suspicion(relay, now) + (AVOID_SECONDS if poor(relay) else 0.0)

    chosen = draw_disjoint(relays, needed, rng, beside=standing, rank=rank)
    if len(chosen) < needed:
        raise NoCircuits(too_few(directory, usable))
    # Suspects come last in `chosen`; shuffle, or they would always share one path.
    placed = sorted(chosen, key=lambda _: rng(8))
    firsts, rest = (list(guards), placed) if guards else (placed[:count], placed[count:])
    middles = _middles(firsts, rest, history, now)
    if middles is None:
        raise NoCircuits("every path that could be built would begin as one that failed a moment ago")
    proxies = [relay for relay in rest if relay not in middles]
    return PathSet(tuple(zip(firsts, middles, proxies, strict=True)))


def _middles(
    firsts: Sequence[DirectoryEntry], relays: Sequence[DirectoryEntry], history: RelayHistory, now: float
) -> list[DirectoryEntry] | None:
    """One middle for each first hop such that no path begins as one that has just failed, or None when there are none."""
    if not firsts:
        return []
    for relay in relays:
        if history.just_failed(firsts[0], relay, now):
            continue
        rest = _middles(firsts[1:], [each for each in relays if each is not relay], history, now)
        if rest is not None:
            return [relay, *rest]
    return None


def too_few(directory: Directory, usable: Usable) -> str:
    """Why there is no path set in this directory, in numbers."""
    whole = GEOMETRY.n * GEOMETRY.hops
    listed, left = directory.relays(), [each for each in directory.relays() if each.trusted and usable(each)]
    families = len({relay.family for relay in left})
    known = f"the directory has {len(listed)} relays of {len({relay.family for relay in listed})} families"
    left_out = f", of which {len(left)} of {families} families are trusted and answer" if len(left) < len(listed) else ""
    apart = "; some share a network (/16 of IPv4, /32 of IPv6)" if families >= whole else ""
    return f"a path set needs {whole} relays of {whole} families; {known}{left_out}{apart}"
