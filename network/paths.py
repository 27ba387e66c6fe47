"""The choice of relays: one path set is n circuits of distinct relays run by distinct operator families.

A relay that failed lately is avoided while enough others are left. Randomness is the caller's (the operating system's
in production); nothing here is derived from the chain. Guards are a later door: fix hop 0 before choosing the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from network.chain_records import DirectoryEntry
from network.directory import Directory
from network.freshness import Rng
from network.geometry import GEOMETRY
from network.session import NoCircuits

AVOID_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class PathSet:
    """n paths of `hops` relays each, nearest first."""

    paths: tuple[tuple[DirectoryEntry, ...], ...]


class RelayHistory:
    """Which relays failed lately. Bounded by the directory: relays that leave it are forgotten."""

    __slots__ = ("_failed_at",)

    def __init__(self) -> None:
        self._failed_at: dict[bytes, float] = {}

    def failed(self, relays: Sequence[DirectoryEntry], now: float) -> None:
        """One of these relays failed; all are suspects."""
        self._failed_at.update({relay.node_id: now for relay in relays})

    def worked(self, relays: Sequence[DirectoryEntry]) -> None:
        """All of these relays just did their work."""
        for relay in relays:
            self._failed_at.pop(relay.node_id, None)

    def suspicion(self, relay: DirectoryEntry, now: float) -> float:
        """0 for a relay in good standing, else more the more recently it failed."""
        failed_at = self._failed_at.get(relay.node_id)
        return 0.0 if failed_at is None else max(0.0, failed_at + AVOID_SECONDS - now)

    def forget_absent(self, directory: Directory) -> None:
        """Drop relays that the directory no longer lists."""
        self._failed_at = {node: at for node, at in self._failed_at.items() if directory.get(node) is not None}


def choose_paths(
    directory: Directory,
    history: RelayHistory,
    now: float,
    rng: Rng,
    *,
    count: int = GEOMETRY.n,
    beside: Sequence[DirectoryEntry] = (),
) -> PathSet:
    """A fresh path set, or `count` paths that fit beside relays already in use. Raises NoCircuits when relays are too few."""
    needed = count * GEOMETRY.hops
    relays = directory.relays()
    shuffled = sorted(relays, key=lambda relay: (history.suspicion(relay, now), rng(8)))
    chosen: list[DirectoryEntry] = []
    families = {relay.family for relay in beside}
    for relay in shuffled:
        if len(chosen) < needed and relay.family not in families:
            chosen.append(relay)
            families.add(relay.family)
    if len(chosen) < needed:
        whole = GEOMETRY.n * GEOMETRY.hops
        known = len({relay.family for relay in relays})
        raise NoCircuits(
            f"a path set needs {whole} relays of {whole} families; the directory has {len(relays)} relays of {known} families"
        )
    # Suspects come last in `chosen`; shuffle again, or they would always share one path.
    placed = sorted(chosen, key=lambda _: rng(8))
    return PathSet(tuple(tuple(placed[at : at + GEOMETRY.hops]) for at in range(0, needed, GEOMETRY.hops)))
