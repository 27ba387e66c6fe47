"""Which relays the next circuits go through, by all that this user has seen: guards, failures, scores, and build times.

The shell tells it what became of each circuit. What is told here never leaves the process, but for the guards' file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from network.chain_records import DirectoryEntry
from network.circuit import BUILD_SECONDS
from network.directory import Directory
from network.errors import NoCircuits
from network.freshness import Rng
from network.geometry import GEOMETRY
from network.guards import GuardSet
from network.path_scores import BuildTimes, Level, PathScores, Stage
from network.paths import PathSet, RelayHistory, Usable, choose_paths, too_few

STRIKES = 4  # circuits in a row that fail behind a guard whose link stands, while others' succeed
SHORTEST_PATIENCE = 2.0

Path = Sequence[DirectoryEntry]


@dataclass(frozen=True, slots=True)
class Finding:
    """A relay loses more circuits than chance explains: to be said once, to the user alone."""

    relay: DirectoryEntry
    level: Level
    stage: Stage
    is_guard: bool


class PathChooser:
    """One user's choice of paths. `usable` is what others say about relays; it is never asked about guards that work."""

    __slots__ = ("_directory", "_history", "_rng", "_scores", "_strikes", "_times", "_usable", "_worked_at", "guards")

    def __init__(self, guards: GuardSet, rng: Rng, usable: Usable = lambda _: True) -> None:
        self.guards = guards
        self._rng = rng
        self._usable = usable
        self._history = RelayHistory()
        self._scores = PathScores()
        self._times = BuildTimes(SHORTEST_PATIENCE, BUILD_SECONDS)
        self._strikes: dict[bytes, tuple[float, int]] = {}
        self._worked_at: dict[bytes, float] = {}
        self._directory: Directory | None = None

    @property
    def patience(self) -> float | None:
        """Seconds to wait for a circuit; None as long as too few have been seen."""
        return self._times.patience

    def choose(self, directory: Directory, now: float, *, count: int = GEOMETRY.n, standing: Sequence[Path] = ()) -> PathSet:
        """`count` paths, or fewer when fewer guards answer, that fit beside the `standing` ones. Raises NoCircuits."""
        self._follow(directory, now)
        if not self.guards.guards:
            raise NoCircuits(too_few(directory, self._usable))
        firsts, rest = [path[0] for path in standing], [relay for path in standing for relay in path[1:]]
        picked = self.guards.pick(directory, now, count, standing=firsts, beside=rest)
        if not picked or len(picked) + len(standing) < GEOMETRY.k:
            answering, wanted = self.guards.answering(directory, now), self.guards.rules.count
            raise NoCircuits(f"only {answering} of {wanted} guards answer, and those that do not are left alone for a while")
        return choose_paths(
            directory,
            self._history,
            now,
            self._rng,
            count=len(picked),
            beside=[*firsts, *rest],
            guards=picked,
            usable=self._usable,
            poor=lambda relay: self._scores.is_poor(relay.node_id),
        )

    def unreachable(self, guard: DirectoryEntry, now: float) -> None:
        """No link to this guard could be opened."""
        self.guards.unreachable(guard.node_id, now)

    def built(self, path: Path, seconds: float, now: float) -> None:
        """A circuit stands."""
        guard = path[0].node_id
        self._times.took(seconds)
        self._history.worked(path)
        self._strikes.pop(guard, None)
        self._worked_at[guard] = now
        self.guards.reached(guard, now)
        self.guards.confirm(guard, now)

    def not_built(self, path: Path, seconds: float, now: float) -> list[Finding]:
        """A circuit could not be set up although the link to its guard stands."""
        self._times.took(seconds)
        self._history.failed(path, now)
        self._strike(path[0], now)
        return self._record(path, Stage.SET_UP, False)

    def stood(self, path: Path) -> list[Finding]:
        """A circuit stood until somebody needed it, or to the end of its time."""
        return self._record(path, Stage.SET_UP, True)

    def lost(self, path: Path, now: float, *, linked: bool, used: bool = True) -> list[Finding]:
        """A circuit that stood ended and it was not us. When its guard's link broke, the others are not to blame."""
        self._history.failed(path if linked else path[:1], now)
        return self._record(path, Stage.USE if used else Stage.SET_UP, False) if linked else []

    def blamed(self, path: Path, now: float) -> list[Finding]:
        """A session found that one of these relays misbehaves."""
        self._history.failed(path, now)
        return self._record(path, Stage.USE, False)

    def ended_well(self, path: Path) -> list[Finding]:
        """A circuit did what it was used for, to its end."""
        self._history.worked(path)
        return self._record(path, Stage.USE, True)

    def is_due(self, guard: DirectoryEntry, now: float) -> bool:
        """Whether circuits may begin at this guard now."""
        return self.guards.is_due(guard.node_id, now)

    def _record(self, path: Path, stage: Stage, succeeded: bool) -> list[Finding]:
        level = self.guards.record(path[0].node_id, stage, succeeded)
        found = [] if level is None else [Finding(path[0], level, stage, True)]
        for relay in path[1:]:
            level = self._scores.record(relay.node_id, stage, succeeded)
            if level is not None:
                found.append(Finding(relay, level, stage, False))
        return found

    def _strike(self, guard: DirectoryEntry, now: float) -> None:
        """A guard that accepts links and carries nothing is as good as unreachable; where gossip agrees, one failure tells."""
        first, count = self._strikes.get(guard.node_id, (now, 0))
        self._strikes[guard.node_id] = (first, count + 1)
        others_work = any(at >= first for node, at in self._worked_at.items() if node != guard.node_id)
        if others_work and count + 1 >= (STRIKES if self._usable(guard) else 1):
            del self._strikes[guard.node_id]
            self.guards.unreachable(guard.node_id, now)

    def _follow(self, directory: Directory, now: float) -> None:
        self.guards.refresh(directory, now, self._rng)
        self._history.forget_absent(directory, now)
        if directory is self._directory:
            return
        self._directory = directory
        self._scores.keep_only(relay.node_id for relay in directory.relays())
        held = {guard.node_id for guard in self.guards.guards}
        self._strikes = {node: at for node, at in self._strikes.items() if node in held}
        self._worked_at = {node: at for node, at in self._worked_at.items() if node in held}
