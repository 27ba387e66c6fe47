"""A node's onion keys over the days: a new one every day, the last one kept for another, older ones forgotten.

Pure: the key that senders take from the directory is always one that opens. A new key is told to the ledger only once it is
stored, and the last one goes only a day after the directory was first seen to name the new one, so a ledger that stands still
costs forward secrecy and not reachability. Reasons in `docs/adr/0117-onion-keys-change.md`.
"""

from dataclasses import dataclass, replace

from network.chain_records import DirectoryEntry
from network.crypto import KEY_LENGTH, exchange_public
from network.freshness import Rng
from network.geometry import HYBRID_PRIVATE
from network.hpke import OnionPrivate, hybrid_public

LIFETIME_SECONDS = 24 * 3600.0
OVERLAP_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class KeyRing:
    """`current` was made at `since`; `announced` is when the directory was first seen to name it, 0 before."""

    current: OnionPrivate
    since: float = 0.0
    announced: float = 0.0
    previous: OnionPrivate | None = None

    @property
    def generations(self) -> tuple[OnionPrivate, ...]:
        """What opens, newest first."""
        return (self.current,) if self.previous is None else (self.current, self.previous)

    def is_named_by(self, entry: DirectoryEntry | None) -> bool:
        """Whether the directory tells senders to use the current keys."""
        if entry is None or entry.onion_key != exchange_public(self.current.x25519):
            return False
        return entry.hybrid_key == (hybrid_public(self.current.hybrid) if self.current.hybrid else b"")


def fresh(rng: Rng, *, hybrid: bool) -> OnionPrivate:
    """Keys for a day; `hybrid` on model nodes."""
    return OnionPrivate(rng(KEY_LENGTH), rng(HYBRID_PRIVATE) if hybrid else b"")


def completed(ring: KeyRing, now: float, rng: Rng, *, hybrid: bool) -> KeyRing:
    """The ring of a file that lacks a date or the hybrid key, as files from elsewhere do, with both."""
    if hybrid and not ring.current.hybrid:
        ring = replace(ring, current=replace(ring.current, hybrid=rng(HYBRID_PRIVATE)), announced=0.0)
    return ring if ring.since else replace(ring, since=now)


def turned(
    ring: KeyRing,
    entry: DirectoryEntry | None,
    now: float,
    rng: Rng,
    lifetime: float = LIFETIME_SECONDS,
    overlap: float = OVERLAP_SECONDS,
) -> KeyRing:
    """The ring as it should be at `now`, when the directory says `entry` about this node; itself when nothing is due."""
    if not ring.announced:
        return replace(ring, announced=now) if ring.is_named_by(entry) else ring
    if ring.previous is not None and now >= ring.announced + overlap:
        ring = replace(ring, previous=None)
    if ring.previous is None and now >= ring.since + lifetime:
        return KeyRing(fresh(rng, hybrid=bool(ring.current.hybrid)), since=now, previous=ring.current)
    return ring
