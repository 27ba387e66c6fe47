"""The path keeper: keeps path sets ready, replaces a circuit that ended, and remembers which relays failed.

It alone decides which relays a user node's circuits go through; whoever asks takes a whole path set and closes it.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from network.aio.circuits import CircuitPool, OpenCircuit
from network.aio.dialer import Dialer
from network.chain_records import DirectoryEntry
from network.directory import Directory
from network.freshness import Rng
from network.geometry import GEOMETRY
from network.paths import PathSet, RelayHistory, choose_paths
from network.session import NoCircuits

log = logging.getLogger(__name__)

TAKE_SECONDS = 10.0
FULL_ATTEMPTS = 3  # failures in a row after which a path set of only k circuits is accepted
REPLACEMENTS = 2  # times that circuits of a path set which fail are built over other relays
REBUILD_SECONDS = 0.1
RETRY_SECONDS = (0.1, 0.5, 2.0, 5.0)
TOO_FEW_SECONDS = 1.0  # how often a directory with too few relays is looked at again
UNUSED_LIFE_SECONDS = (480.0, 720.0)  # unused path sets live for a uniform time within these bounds


class ReadyPathSet:
    """n open circuits that nobody uses yet; a path that could not be built is None."""

    def __init__(self, circuits: list[OpenCircuit | None], expires: float) -> None:
        self.circuits = circuits
        self.expires = expires
        self.closed = False

    def close(self) -> None:
        """End every circuit."""
        self.closed = True
        for circuit in self.circuits:
            if circuit is not None:
                circuit.close()


@dataclass(frozen=True, slots=True)
class KeeperStatus:
    """What the keeper can say without naming relays."""

    path_sets_ready: int
    path_sets_wanted: int
    circuits_open: int
    built: int
    failed: int
    reason: str


class PathKeeper:
    """Builds path sets ahead. `directory` answers with the newest verified directory."""

    def __init__(
        self,
        directory: Callable[[], Directory],
        rng: Rng,
        *,
        path_sets: int = 2,
        clock: Callable[[], float] = time.time,
        dialer: Dialer | None = None,
    ) -> None:
        self._directory = directory
        self._rng = rng
        self._wanted = path_sets
        self._clock = clock
        self._pool = CircuitPool(rng, clock, directory, dialer)
        self._history = RelayHistory()
        self._ready: list[ReadyPathSet] = []
        self._waiting = 0
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._built = 0
        self._failed = 0
        self._reason = "no path set has been built yet"

    async def start(self) -> None:
        """Begin to build path sets ahead."""
        self._task = asyncio.create_task(self._keep_ready())
        self._task.add_done_callback(self._on_done)

    async def close(self) -> None:
        """End every circuit and link."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for path_set in self._ready:
            path_set.close()
        self._ready.clear()
        await self._pool.close()

    def status(self) -> KeeperStatus:
        """How the keeper stands."""
        return KeeperStatus(len(self._ready), self._wanted, self._pool.open_circuits, self._built, self._failed, self._reason)

    async def wait_ready(self, timeout: float) -> bool:
        """Wait until a path set is ready; False when none is within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: bool(self._ready))
        except TimeoutError:
            return False
        return True

    async def take(self) -> ReadyPathSet:
        """A ready path set, which nobody else gets. Raises NoCircuits when there is none for a while."""
        if not self._has_usable():
            self._waiting += 1
            self._wake.set()
            try:
                async with asyncio.timeout(TAKE_SECONDS), self._changed:
                    await self._changed.wait_for(self._has_usable)
            except TimeoutError:
                raise NoCircuits(f"no circuits within {TAKE_SECONDS:.0f} s: {self._reason}") from None
            finally:
                self._waiting -= 1
        taken = self._ready.pop(0)
        # The prompt goes first; its successor's circuits are built while the model node thinks.
        asyncio.get_running_loop().call_later(REBUILD_SECONDS, self._wake.set)
        return taken

    async def replace(self, path_set: ReadyPathSet, index: int) -> OpenCircuit | None:
        """One fresh circuit in the place of path `index` of a taken set, beside those that stand; None when there is none."""
        old = path_set.circuits[index]
        if old is not None:
            old.close()
        path_set.circuits[index] = None
        standing = [relay for each in path_set.circuits if each is not None and each.is_open for relay in each.relays]
        try:
            now = self._clock()
            (path,) = choose_paths(self._directory(), self._history, now, self._rng, count=1, beside=standing).paths
        except NoCircuits:
            return None
        circuit = await self._pool.build(path, self._on_lost)
        self._note(path, circuit)
        if circuit is not None and path_set.closed:
            circuit.close()
            return None
        path_set.circuits[index] = circuit
        return circuit

    def worked(self, path_set: ReadyPathSet) -> None:
        """The session over these circuits ended well."""
        for circuit in path_set.circuits:
            if circuit is not None and circuit.is_open:
                self._history.worked(circuit.relays)

    def blame(self, circuit: OpenCircuit, reason: str) -> None:
        """A session found that this circuit's relays misbehave."""
        self._history.failed(circuit.relays, self._clock())
        log.info("a path misbehaved and its relays are avoided for a while: %s", reason)

    def _has_usable(self) -> bool:
        self._discard_stale()
        return bool(self._ready)

    async def _keep_ready(self) -> None:
        """Build whenever fewer path sets are ready than wanted; sleep otherwise."""
        failures = 0
        while True:
            self._discard_stale()
            if len(self._ready) >= self._wanted + self._waiting:
                await self._sleep(min(each.expires for each in self._ready) - self._clock())
                continue
            try:
                chosen = choose_paths(self._directory(), self._history, self._clock(), self._rng)
            except NoCircuits as error:
                self._reason = str(error)
                await asyncio.sleep(TOO_FEW_SECONDS)
                continue
            if await self._build(chosen, accept=GEOMETRY.n if failures < FULL_ATTEMPTS else GEOMETRY.k):
                failures = 0
                continue
            failures += 1
            self._failed += 1
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1] * (1 + self._rng(1)[0] / 256))

    async def _sleep(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _discard_stale(self) -> None:
        now = self._clock()
        for path_set in list(self._ready):
            lost = any(circuit is not None and not circuit.is_open for circuit in path_set.circuits)
            if lost or now >= path_set.expires:
                self._ready.remove(path_set)
                path_set.close()

    async def _build(self, chosen: PathSet, accept: int) -> bool:
        """Build one path set, of at least `accept` circuits. True when it is ready."""
        self._history.forget_absent(self._directory(), self._clock())
        circuits: list[OpenCircuit | None] = [None] * GEOMETRY.n
        await self._build_missing(circuits, chosen)
        for _ in range(REPLACEMENTS):
            missing = sum(circuit is None for circuit in circuits)
            if not missing:
                break
            in_use = [relay for circuit in circuits if circuit is not None for relay in circuit.relays]
            try:
                now = self._clock()
                chosen = choose_paths(self._directory(), self._history, now, self._rng, count=missing, beside=in_use)
            except NoCircuits:
                break
            await self._build_missing(circuits, chosen)
        low, high = UNUSED_LIFE_SECONDS
        path_set = ReadyPathSet(circuits, self._clock() + low + (high - low) * self._rng(1)[0] / 256)
        if sum(circuit is not None and circuit.is_open for circuit in circuits) < accept:
            self._reason = "some relays do not answer"
            path_set.close()
            return False
        self._built += 1
        self._reason = ""
        async with self._changed:
            self._ready.append(path_set)
            self._changed.notify_all()
        return True

    async def _build_missing(self, circuits: list[OpenCircuit | None], chosen: PathSet) -> None:
        """Try one path of `chosen` for every place without a circuit."""
        places = [place for place, circuit in enumerate(circuits) if circuit is None]
        try:
            built = await asyncio.gather(*(self._pool.build(path, self._on_lost) for path in chosen.paths))
        except asyncio.CancelledError:
            ReadyPathSet(circuits, 0.0).close()
            raise
        for place, path, circuit in zip(places, chosen.paths, built, strict=True):
            circuits[place] = circuit
            self._note(path, circuit)

    def _note(self, path: tuple[DirectoryEntry, ...], circuit: OpenCircuit | None) -> None:
        if circuit is None:
            self._history.failed(path, self._clock())
        else:
            self._history.worked(path)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """Only a bug ends the keeper; say so at once, for no circuits will be built any more."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._reason = f"a bug ended the building of circuits: {error!r}"
            log.error("no circuits are built any more; restart this process", exc_info=error)

    def _on_lost(self, circuit: OpenCircuit) -> None:
        """A circuit ended and it was not us: its relays are suspects, and a ready path set may be useless."""
        self._history.failed(circuit.relays, self._clock())
        self._wake.set()
