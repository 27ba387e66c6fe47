"""The path keeper: keeps path sets ready, replaces circuits that ended, and learns from what became of each.

It drives `PathChooser`, which alone decides which relays a user node's circuits go through; whoever asks takes a whole path set
and closes it. Implements `docs/overlay.md` sections 8 and 12.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from network.aio.circuit_outcomes import CircuitOutcomes
from network.aio.circuits import CircuitPool, OpenCircuit
from network.aio.dialer import Dialer
from network.aio.directory_check import DirectoryCheck
from network.aio.gossip import LivenessFeed
from network.aio.guard_store import GuardStore
from network.aio.ready_paths import FORKED, LOSS_SECONDS, RETRY_SECONDS, TOO_FEW_SECONDS, KeeperStatus
from network.aio.ready_paths import ReadyPathSet as ReadyPathSet
from network.chain_records import DirectoryEntry
from network.directory import Directory
from network.errors import NoCircuits
from network.freshness import Rng
from network.geometry import GEOMETRY
from network.guards import GuardRules, GuardSet
from network.path_chooser import PathChooser
from network.path_scores import Backoff

log = logging.getLogger(__name__)

TAKE_SECONDS = 10.0
FULL_ATTEMPTS = 3  # failures in a row after which a path set of only k circuits is accepted
REBUILDS = 3  # times that missing circuits are built over other relays at once, for one path set and for one conversation
REBUILD_SECONDS = 0.1


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
        guards: GuardRules | None = None,
        guard_store: GuardStore | None = None,
    ) -> None:
        self._directory = directory
        self._rng = rng
        self._wanted = path_sets
        self._clock = clock
        dialer = dialer or Dialer()
        self._pool = CircuitPool(rng, clock, directory, dialer)
        self._wake = asyncio.Event()
        self._alive = LivenessFeed(directory, self.guards, dialer, rng, self._wake.set, clock)
        self._chooser = PathChooser(GuardSet(guards or GuardRules()), rng, self._alive.usable)
        self._store = guard_store
        self._check = DirectoryCheck(directory, self.guards, dialer, rng, self._on_directory_checked)
        self._forked = False
        self._ready: list[ReadyPathSet] = []
        self._outcomes = CircuitOutcomes(self._chooser, clock)
        self._waiting = 0
        self._lost = 0  # ready sets that broke since the last look
        self._after_loss = Backoff(*LOSS_SECONDS)
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._built = 0
        self._failed = 0
        self._reason = "no path set has been built yet"

    async def start(self) -> None:
        """Begin to build path sets ahead. Raises ConfigError when the kept guards cannot be read."""
        if self._store is not None:
            self._chooser.guards = self._store.load(self._chooser.guards.rules)
        work = (self._keep_ready(), self._check.run(), self._alive.run())
        self._tasks = [asyncio.create_task(each) for each in work]
        for task in self._tasks:
            task.add_done_callback(self._on_done)

    async def close(self) -> None:
        """End every circuit and link."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for path_set in self._ready:
            path_set.close()
        self._ready.clear()
        await self._pool.close()
        await self._save_guards()

    def status(self) -> KeeperStatus:
        """How the keeper stands."""
        guards = self._chooser.guards
        return KeeperStatus(
            len(self._ready),
            self._wanted,
            self._pool.open_circuits,
            self._built,
            self._failed,
            FORKED if self._forked else self._reason,
            guards.rules.count,
            guards.answering(self._directory(), self._clock()),
            self._check.epochs_behind,
            self._alive.status(),
        )

    def usable(self, node: DirectoryEntry) -> bool:
        """Whether a listed node answers, as far as gossip tells."""
        return self._alive.usable(node)

    def guards(self) -> tuple[DirectoryEntry, ...]:
        """The guards in use, for questions that a guard may be asked; none before they have been chosen."""
        picked = self._chooser.guards.pick(self._directory(), self._clock(), GEOMETRY.n)
        return tuple(dict.fromkeys(picked))

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
                raise NoCircuits(f"no circuits within {TAKE_SECONDS:.0f} s: {self.status().reason}") from None
            finally:
                self._waiting -= 1
        whole = (at for at, each in enumerate(self._ready) if not each.missing())
        taken = self._ready.pop(next(whole, 0))
        taken.begin()
        self._outcomes.used(taken.circuits)
        self._after_loss.reset()
        # The prompt goes first; its successor's circuits are built while the model node thinks.
        asyncio.get_running_loop().call_later(REBUILD_SECONDS, self._wake.set)
        return taken

    async def replace(self, path_set: ReadyPathSet, index: int) -> OpenCircuit | None:
        """One fresh circuit in the place of path `index` of a taken set, beside those that stand; None when there is none.

        The first few are built at once, further ones after a pause that grows: who breaks circuits must not set our pace.
        """
        old = path_set.circuits[index]
        if old is not None:
            self._outcomes.ended([old])
            old.close()
        path_set.circuits[index] = None
        path_set.rebuilds += 1
        if path_set.rebuilds > REBUILDS:
            await asyncio.sleep(path_set.backoff.pause(self._rng))
        if path_set.closed or self._forked:
            return None
        await self._rebuild(path_set, [index])
        return path_set.circuits[index]

    def worked(self, path_set: ReadyPathSet) -> None:
        """The session over these circuits ended well."""
        self._outcomes.worked(path_set.circuits)

    def blame(self, circuit: OpenCircuit, reason: str) -> None:
        """A session found that this circuit's relays misbehave."""
        self._outcomes.blamed(circuit, reason)

    def _has_usable(self) -> bool:
        self._discard_stale()
        return bool(self._ready)

    async def _keep_ready(self) -> None:
        """Build whenever fewer path sets are ready than wanted; sleep otherwise."""
        failures, backoff = 0, Backoff(*RETRY_SECONDS)
        while True:
            self._discard_stale()
            if self._chooser.guards.changed:
                await self._save_guards()
            self._pool.retire_unused(self.guards())
            if self._lost:
                # Who breaks what we build must not set our pace, or it would soon have us build what suits it.
                self._failed, self._lost = self._failed + self._lost, 0
                await asyncio.sleep(self._after_loss.pause(self._rng))
                continue
            wounded = next((each for each in self._ready if each.missing() and each.rebuilds < REBUILDS), None)
            if wounded is not None:  # it stays ready meanwhile, and when that fails: k circuits suffice
                wounded.rebuilds += 1
                await self._rebuild(wounded, wounded.missing())
                continue
            if len(self._ready) >= self._wanted + self._waiting:
                await self._sleep(min(each.expires for each in self._ready) - self._clock())
                continue
            path_set = ReadyPathSet([None] * GEOMETRY.n, 0.0, lambda closed: self._outcomes.ended(closed.circuits))
            try:
                if self._forked:
                    raise NoCircuits(FORKED)
                built = await self._build(path_set, accept=GEOMETRY.n if failures < FULL_ATTEMPTS else GEOMETRY.k)
            except NoCircuits as error:
                self._reason = str(error)
                await asyncio.sleep(TOO_FEW_SECONDS)
                continue
            if built:
                failures = 0
                backoff.reset()
                continue
            failures += 1
            self._failed += 1
            await asyncio.sleep(backoff.pause(self._rng))

    async def _sleep(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _discard_stale(self) -> None:
        """Close ready sets whose time is over, and those that have lost so many circuits that no prompt would arrive."""
        now = self._clock()
        for path_set in list(self._ready):
            lost = path_set.standing < GEOMETRY.k
            useless = lost or path_set.is_silent(self.usable)
            if useless or now >= path_set.expires:
                self._ready.remove(path_set)
                self._lost += lost
                if not useless:
                    self._outcomes.used(path_set.circuits)  # it stood to the end of its time
                path_set.close()

    async def _build(self, path_set: ReadyPathSet, accept: int) -> bool:
        """Build a path set of at least `accept` circuits. True when it is ready. Raises NoCircuits when none can be tried."""
        try:
            await self._build_all(path_set)
        except BaseException:
            path_set.close()
            raise
        if path_set.standing < accept or self._forked:
            self._reason = "some relays do not answer"
            path_set.close()
            return False
        path_set.live_from(self._clock(), self._rng)
        self._built += 1
        self._reason = ""
        async with self._changed:
            self._ready.append(path_set)
            self._changed.notify_all()
        return True

    async def _build_all(self, path_set: ReadyPathSet) -> None:
        await self._build_places(path_set, range(GEOMETRY.n))
        for _ in range(REBUILDS):
            missing = path_set.missing()
            if not missing or not await self._rebuild(path_set, missing):
                return

    async def _rebuild(self, path_set: ReadyPathSet, places: Sequence[int]) -> bool:
        """As `_build_places`, beside circuits that stand. False when no path can be tried."""
        try:
            await self._build_places(path_set, places)
        except NoCircuits as error:
            log.debug("a circuit is missing and cannot be replaced: %s", error)
            return False
        return True

    async def _build_places(self, path_set: ReadyPathSet, places: Sequence[int]) -> None:
        """Try one path for each of these places, beside all that stands or is being built. Raises NoCircuits."""
        directory, now = self._directory(), self._clock()
        chosen = self._chooser.choose(directory, now, count=len(places), standing=path_set.occupied())
        if self._chooser.guards.changed:
            await self._save_guards()  # before they see us: a crash must not have others chosen
        tries = dict(zip(places, chosen.paths, strict=False))  # fewer paths when fewer guards answer
        path_set.coming.update(tries)
        try:
            await asyncio.gather(*(self._build_at(path_set, place, path) for place, path in tries.items()))
        finally:
            path_set.came(tries)

    async def _build_at(self, path_set: ReadyPathSet, place: int, path: tuple[DirectoryEntry, ...]) -> None:
        if not await self._pool.connect(path[0]):
            self._chooser.unreachable(path[0], self._clock())
            return
        began = self._clock()
        circuit = await self._pool.build(path, self._on_lost, self._chooser.patience)
        now = self._clock()
        if circuit is None:
            if self._pool.is_linked(path[0]):
                self._outcomes.not_built(path, now - began)
            if not self._chooser.is_due(path[0], now):
                self._pool.retire(path[0])
            return
        self._chooser.built(path, now - began, now)
        if path_set.closed or path_set.coming.get(place) is not path:
            circuit.close()
            return
        path_set.circuits[place] = circuit
        self._outcomes.built(circuit)
        if path_set.taken:
            self._outcomes.used([circuit])

    def _on_lost(self, circuit: OpenCircuit) -> None:
        """A circuit ended and it was not us: its relays are suspects, and a ready path set may be useless."""
        self._outcomes.lost(circuit, linked=self._pool.is_linked(circuit.relays[0]))
        self._wake.set()

    def _on_directory_checked(self, forked: bool, outvoted: Sequence[bytes]) -> None:
        """Others route by another directory: stop for good reason, or leave the guard alone that says so against the others."""
        for guard in outvoted:
            self._chooser.guards.unreachable(guard, self._clock())
        self._forked = forked
        if forked:
            for path_set in self._ready:
                path_set.close()
            self._ready.clear()
        self._wake.set()

    async def _save_guards(self) -> None:
        self._chooser.guards.changed = False
        if self._store is None:
            return
        try:
            await self._store.save(self._chooser.guards)
        except OSError as error:
            log.error("the guards cannot be kept (%s): after a restart others would be chosen; make room on the disk", error)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """Only a bug ends a task; say so at once, for no circuits will be built any more."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._reason = f"a bug ended the building of circuits: {error!r}"
            log.error("no circuits are built any more; restart this process", exc_info=error)
