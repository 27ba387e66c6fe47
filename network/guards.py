"""A user's guards: the few relays that its circuits begin with, chosen once and kept for months.

Fresh first hops for every request would sooner or later include a malicious one; kept ones are bad with a fixed probability.
So nothing that others can bring about, such as a link that breaks or a silence, makes a user choose a new guard at once:
backups of the same sample, in a fixed order, stand in meanwhile (`docs/overlay.md` section 12).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from network.chain_records import DirectoryEntry
from network.directory import Directory
from network.freshness import Rng
from network.geometry import GEOMETRY
from network.ids import Role
from network.path_scores import Level, RelayScore, Stage
from network.relay_draw import draw_disjoint, share_nothing

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class GuardRules:
    """How many guards, for how long, and when one that did not answer is tried again."""

    count: int = GEOMETRY.n
    life_days: tuple[float, float] = (60.0, 120.0)
    retry_seconds: tuple[float, ...] = (600.0, 5_400.0, 14_400.0, 64_800.0)
    hurried_seconds: float = 30.0  # the same, while fewer answer than are wanted
    down_seconds: float = 60.0  # how long one must have been silent before another is added for it
    unlisted_days: float = 20.0
    least_sample: int = 3  # times `count`
    sample_share: float = 0.2
    most_sample: int = 60

    def __post_init__(self) -> None:
        if self.count < 1 or GEOMETRY.n % self.count:
            raise ValueError(f"{GEOMETRY.n} paths cannot share {self.count} guards evenly")

    @property
    def paths_each(self) -> int:
        """How many paths of one set begin at the same guard."""
        return GEOMETRY.n // self.count

    def limit(self, relays: int) -> int:
        """How many guards are ever held, in a directory of this many relays."""
        return min(self.most_sample, max(self.least_sample * self.count, int(self.sample_share * relays)))


@dataclass(slots=True)
class Guard:
    """One relay of the sample. `confirmed` counts from 1 in the order of first successes; 0 before.

    `failed_at` is when it began not to answer, `tried_at` when it last did not; both are 0 when it does.
    """

    node_id: bytes
    sampled_at: float
    expires_at: float
    confirmed: int = 0
    failures: int = 0
    failed_at: float = 0.0
    tried_at: float = 0.0
    retry_at: float = 0.0
    unlisted_since: float = 0.0
    demoted: bool = False
    score: RelayScore = field(default_factory=RelayScore)

    def clear(self) -> None:
        """It answers, or its silence says nothing."""
        self.failures = 0
        self.failed_at = self.tried_at = self.retry_at = 0.0


class GuardSet:
    """The sample and its order. `changed` says that it should be saved."""

    __slots__ = ("_reached_at", "changed", "guards", "rules")

    def __init__(self, rules: GuardRules, guards: Sequence[Guard] = ()) -> None:
        self.rules = rules
        self.guards = list(guards)
        self.changed = False
        self._reached_at = 0.0

    def refresh(self, directory: Directory, now: float, rng: Rng) -> None:
        """Let guards go whose time is over, and choose as many as are missing."""
        for guard in self.guards:
            self._set_right(guard, now)
        kept = [guard for guard in self.guards if not self._is_over(guard, directory, now)]
        self.changed |= len(kept) != len(self.guards)
        self.guards = kept
        relays = [each for each in directory.relays() if each.trusted]
        if len({each.family for each in relays}) < GEOMETRY.n * GEOMETRY.hops:
            return  # no path set can be built yet, and the first relays to be listed should not become everybody's guards
        # Those that are not listed may come back, and keep their places, but must not fill the sample for good.
        listed = sum(not guard.unlisted_since for guard in self.guards)
        wanted = max(2 * self.rules.count - len(self.guards), self._missing(directory, now))
        count = min(wanted, self.rules.limit(len(relays)) - listed)
        if count > 0:
            self._sample(relays, directory, count, now, rng)
            self._forget_unlisted()

    def pick(
        self,
        directory: Directory,
        now: float,
        count: int,
        *,
        standing: Sequence[DirectoryEntry] = (),
        beside: Sequence[DirectoryEntry] = (),
    ) -> tuple[DirectoryEntry, ...]:
        """First relays for `count` paths to build, fewer when fewer answer.

        `standing` are the first relays of the set's other paths (one entry per path), `beside` those paths' further relays.
        """
        picked: list[DirectoryEntry] = []
        for entry in self._available(directory, now):
            in_use = [*standing, *picked]
            uses = sum(other.node_id == entry.node_id for other in in_use)
            if not share_nothing(entry, [*beside, *(other for other in in_use if other.node_id != entry.node_id)]):
                continue
            picked += [entry] * min(count - len(picked), self.rules.paths_each - uses)
            if len(picked) == count:
                break
        return tuple(picked)

    def reached(self, node_id: bytes, now: float) -> None:
        """A link to this guard stands."""
        guard = self._find(node_id)
        if guard is None:
            return
        silent = [
            each for each in self.guards if each.retry_at > now and each.failures == 1 and each.tried_at > self._reached_at
        ]
        if len(silent) >= self.rules.count:
            for each in silent:  # our network was down and is back: those that failed meanwhile have a second try now
                each.retry_at = now
        self._reached_at = now
        if guard.failures:
            guard.clear()
            self.changed = True

    def confirm(self, node_id: bytes, now: float) -> None:
        """A circuit through this guard stands: from now on it comes before all that never had one, and its whole life begins.

        A backup that stood in for what is left of its life would be replaced the sooner, and more relays would be first in all.
        """
        guard = self._find(node_id)
        if guard is not None and not guard.confirmed:
            guard.confirmed = 1 + max(each.confirmed for each in self.guards)
            guard.expires_at = max(guard.expires_at, now + guard.expires_at - guard.sampled_at)
            self.changed = True

    def unreachable(self, node_id: bytes, now: float) -> None:
        """This guard did not answer: it keeps its place and is left alone for a while."""
        guard = self._find(node_id)
        if guard is None:
            return
        guard.tried_at = now
        if guard.retry_at > now:
            return
        guard.retry_at = now + self.rules.retry_seconds[min(guard.failures, len(self.rules.retry_seconds) - 1)]
        guard.failures += 1
        guard.failed_at = guard.failed_at or now
        self.changed = True
        listed = [each for each in self.guards if not each.unlisted_since]
        if all(each.retry_at > now for each in listed):
            # All of them at once: it is our own network that is down, and their order must not change by it.
            for each in listed:
                each.clear()

    def record(self, node_id: bytes, stage: Stage, succeeded: bool) -> Level | None:
        """Count one circuit through this guard. The level, when it is worse than all that was said about it before.

        A guard that loses far too many becomes the last of the backups; no new one is chosen for it.
        """
        guard = self._find(node_id)
        if guard is None:
            return None
        level = guard.score.record(stage, succeeded)
        if level is Level.EXTREME:
            guard.demoted = self.changed = True
        return level

    def is_due(self, node_id: bytes, now: float) -> bool:
        """Whether this guard may be tried."""
        guard = self._find(node_id)
        return guard is not None and guard.retry_at <= now

    def answering(self, directory: Directory, now: float) -> int:
        """How many guards are not known to be silent, at most as many as are wanted."""
        return min(self.rules.count, sum(guard.retry_at <= now for guard, _ in self._listed(directory)))

    def _available(self, directory: Directory, now: float) -> list[DirectoryEntry]:
        """Who may be tried now, in order. While too few answer, the others are tried sooner: they may all be restarting."""
        listed = self._listed(directory)
        hurry = self.answering(directory, now) < self.rules.count
        return [
            entry
            for guard, entry in listed
            if guard.retry_at <= now or (hurry and guard.tried_at + self.rules.hurried_seconds <= now)
        ]

    def _listed(self, directory: Directory) -> list[tuple[Guard, DirectoryEntry]]:
        found = [(guard, directory.get(guard.node_id)) for guard in self._ordered()]
        return [(guard, entry) for guard, entry in found if entry and entry.role == Role.RELAY and entry.trusted]

    def _ordered(self) -> Iterable[Guard]:
        # Stable: guards that were never confirmed stay in the order in which they were chosen.
        return sorted(self.guards, key=lambda guard: (guard.demoted, not guard.confirmed, guard.confirmed))

    def _missing(self, directory: Directory, now: float) -> int:
        """How many more are needed now. None while every failure may be our own network's, or pass in a moment."""
        silent = [guard for guard in self.guards if guard.retry_at > now]
        if any(guard.failed_at >= self._reached_at for guard in silent):
            return 0
        passing = sum(now < guard.failed_at + self.rules.down_seconds for guard in silent)
        return max(0, self.rules.count - self.answering(directory, now) - passing)

    def _sample(self, relays: Sequence[DirectoryEntry], directory: Directory, count: int, now: float, rng: Rng) -> None:
        held = [entry for guard in self.guards if (entry := directory.get(guard.node_id)) is not None]
        low, high = self.rules.life_days
        for relay in draw_disjoint(relays, count, rng, beside=held):
            life = DAY * (low + (high - low) * int.from_bytes(rng(4)) / 2**32)
            self.guards.append(Guard(relay.node_id, now, now + life))
            self.changed = True

    def _forget_unlisted(self) -> None:
        gone = sorted((guard for guard in self.guards if guard.unlisted_since), key=lambda guard: guard.unlisted_since)
        for guard in gone[: max(0, len(self.guards) - self.rules.most_sample)]:
            self.guards.remove(guard)

    def _set_right(self, guard: Guard, now: float) -> None:
        """A clock that was ahead once must not keep a guard away, or alive, for longer than the rules say."""
        if guard.retry_at > now + self.rules.retry_seconds[-1]:
            guard.clear()
            self.changed = True
        latest = now + DAY * self.rules.life_days[1]
        if guard.expires_at > latest:
            guard.expires_at = latest
            self.changed = True

    def _is_over(self, guard: Guard, directory: Directory, now: float) -> bool:
        if directory.get(guard.node_id) is not None:
            self.changed |= guard.unlisted_since != 0.0
            guard.unlisted_since = 0.0
        elif not guard.unlisted_since and directory.record.entries:
            guard.unlisted_since = now
            self.changed = True
        gone = guard.unlisted_since and now >= guard.unlisted_since + DAY * self.rules.unlisted_days
        return bool(gone) or now >= guard.expires_at

    def _find(self, node_id: bytes) -> Guard | None:
        return next((guard for guard in self.guards if guard.node_id == node_id), None)
