"""Four circuits that wait for a request, and what can be said about them without naming relays."""

from collections.abc import Callable
from dataclasses import dataclass

from network.aio.circuits import OpenCircuit
from network.chain_records import DirectoryEntry
from network.gossip import GossipStatus
from network.path_scores import Backoff

RETRY_SECONDS = (0.1, 10.0)


class ReadyPathSet:
    """n open circuits that nobody uses yet; a path that could not be built is None."""

    def __init__(self, circuits: list[OpenCircuit | None], expires: float, on_close: Callable[["ReadyPathSet"], None]) -> None:
        self.circuits = circuits
        self.expires = expires
        self.closed = False
        self.coming: dict[int, tuple[DirectoryEntry, ...]] = {}
        self.rebuilds = 0
        self.backoff = Backoff(*RETRY_SECONDS)
        self._on_close = on_close

    def close(self) -> None:
        """End every circuit."""
        if not self.closed:
            self.closed = True
            self._on_close(self)
        for circuit in self.circuits:
            if circuit is not None:
                circuit.close()

    def occupied(self) -> list[tuple[DirectoryEntry, ...]]:
        """The relays of the circuits that are open or being built."""
        return [circuit.relays for circuit in self.circuits if circuit is not None and circuit.is_open] + [
            *self.coming.values()
        ]

    def missing(self) -> list[int]:
        """The places without an open circuit."""
        return [at for at, circuit in enumerate(self.circuits) if circuit is None or not circuit.is_open]


@dataclass(frozen=True, slots=True)
class KeeperStatus:
    """What the keeper can say without naming relays."""

    path_sets_ready: int
    path_sets_wanted: int
    circuits_open: int
    built: int
    failed: int
    reason: str
    guards_wanted: int
    guards_answering: int
    directory_epochs_behind: int
    gossip: GossipStatus
