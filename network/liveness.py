"""Who answers lately, as far as this process has heard: what gossip says, and what it has seen itself.

It knows nothing of sockets, and it never has the last word: only nodes of the proven directory are asked about, a node that
was listed a moment ago counts as alive, and when more than a third of the listed relays are silent it is gossip that is
doubted and not they. The more nodes are listed the slower they beat, so that listening costs no more than
`BEATS_PER_SECOND` (`docs/overlay.md` section 11).
"""

from collections.abc import Callable

from network.chain_records import DirectoryEntry
from network.directory import Directory

BEAT_SECONDS = 2.0
BEATS_PER_SECOND = 500
PATIENCE = 5  # heartbeats missed in a row before a node counts as silent
FAILED_SECONDS = 30.0
DOUBTED_SHARE = 1 / 3


class Liveness:
    """Which listed nodes may be relied upon now. Bounded by the directory: nodes that leave it are forgotten."""

    __slots__ = ("_directory", "_failed_at", "_heard_at", "_listening", "_listing", "_silent", "_silent_at")

    def __init__(self, directory: Callable[[], Directory]) -> None:
        self._directory = directory
        self._listing: Directory | None = None
        self._listening = False
        self._heard_at: dict[bytes, float] = {}
        self._failed_at: dict[bytes, float] = {}
        self._silent = 0
        self._silent_at: float | None = None

    def period(self) -> float:
        """Seconds between two heartbeats of a node."""
        return max(BEAT_SECONDS, len(self._directory().record.entries) / BEATS_PER_SECOND)

    def patience(self) -> float:
        """Seconds without a heartbeat after which a node is silent: 10 while at most 1,000 nodes are listed."""
        return PATIENCE * self.period()

    def heard(self, node_id: bytes, now: float) -> None:
        """A sign of life that is newer than the last one; the first of all begins the time in which the others must follow."""
        self._follow(now)
        if not self._listening:
            self._listening = True
            self._heard_at = dict.fromkeys(self._heard_at, now)
        if node_id in self._heard_at:
            self._heard_at[node_id] = now
            self._silent_at = None

    def failed(self, node_id: bytes, now: float) -> None:
        """We saw it fail, and nobody else can have been the cause."""
        self._failed_at[node_id] = now

    def worked(self, node_id: bytes) -> None:
        """We saw it do its work."""
        self._failed_at.pop(node_id, None)

    def usable(self, entry: DirectoryEntry, now: float) -> bool:
        """Whether to rely on this listed node. True where nothing is known."""
        failed_at = self._failed_at.get(entry.node_id)
        if failed_at is not None and now - failed_at < FAILED_SECONDS:
            return False
        return not self.is_silent(entry.node_id, now) or self.is_doubted(now)

    def is_silent(self, node_id: bytes, now: float) -> bool:
        """Whether gossip should have told of this node and has not, for longer than it may."""
        self._follow(now)
        return self._listening and now - self._heard_at.get(node_id, now) > self.patience()

    def silent_relays(self, now: float) -> int:
        """How many listed relays are silent."""
        self._follow(now)
        if self._silent_at != now:  # asked once per relay when paths are chosen
            self._silent = sum(self.is_silent(relay.node_id, now) for relay in self._directory().relays())
            self._silent_at = now
        return self._silent

    def is_doubted(self, now: float) -> bool:
        """Whether so many relays are silent that gossip itself must be cut off, late or lying."""
        return self.silent_relays(now) > DOUBTED_SHARE * len(self._directory().relays())

    def _follow(self, now: float) -> None:
        """Being listed is a sign of life; who is no longer listed is forgotten."""
        directory = self._directory()
        if directory is self._listing:
            return
        self._listing = directory
        self._silent_at = None
        self._heard_at = {entry.node_id: self._heard_at.get(entry.node_id, now) for entry in directory.record.entries}
        self._failed_at = {node: at for node, at in self._failed_at.items() if directory.get(node) is not None}
