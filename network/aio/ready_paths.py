"""Four circuits that wait for a request, and what can be said about them without naming relays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from network.aio.circuits import OpenCircuit
from network.chain_records import DirectoryEntry
from network.freshness import Rng
from network.gossip import GossipStatus
from network.path_scores import Backoff
from network.paths import Usable

RETRY_SECONDS = (0.1, 10.0)
LOSS_SECONDS = (0.1, 60.0)  # pauses before the next path set when ready ones break
TOO_FEW_SECONDS = 1.0  # how often a directory with too few relays is looked at again
UNUSED_LIFE_SECONDS = (480.0, 720.0)  # unused path sets live for a uniform time within these bounds

FORKED = "guards route by another directory of the same height than this node has proven: this node, or they, are being misled"


class ReadyPathSet:
    """n open circuits that nobody uses yet; a path that could not be built is None."""

    def __init__(self, circuits: list[OpenCircuit | None], expires: float, on_close: Callable[["ReadyPathSet"], None]) -> None:
        self.circuits = circuits
        self.expires = expires
        self.taken = False
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

    def live_from(self, now: float, rng: Rng) -> None:
        """It is ready, for a while."""
        low, high = UNUSED_LIFE_SECONDS
        self.expires = now + low + (high - low) * rng(1)[0] / 256

    def begin(self) -> None:
        """It is taken. What is being mended in it comes too late."""
        self.taken = True
        self.rebuilds = 0
        self.coming.clear()

    def came(self, tries: Mapping[int, tuple[DirectoryEntry, ...]]) -> None:
        """These paths were tried, whatever became of them."""
        for place, path in tries.items():
            if self.coming.get(place) is path:
                del self.coming[place]

    @property
    def standing(self) -> int:
        """How many circuits are open."""
        return len(self.circuits) - len(self.missing())

    def is_silent(self, usable: Usable) -> bool:
        """Whether a relay that hangs would let a request wait. Guards are judged by their links."""
        return not all(usable(relay) for circuit in self.circuits if circuit is not None for relay in circuit.relays[1:])

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
