"""Success statistics of circuits, per guard and per relay: who loses more circuits than chance, and how long building takes.

A relay may drop the circuits that do not suit it, so that those which stand are the ones it wants (path bias). Shares are
named at the thresholds that Tor uses. They never make a user choose a new guard: they reorder what there is
(`docs/overlay.md` section 12).
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from network.freshness import Rng

LEAST_TRIES = 50
MOST_TRIES = 200  # counts are halved here, so that what was long ago fades
SMOOTHING = 1 / 16
RECENT_BUILDS = 200
LEAST_BUILDS = 20
BUILD_QUANTILE = 0.95
BUILD_MARGIN = 2.0


class Level(IntEnum):
    """How far a share of successful circuits lies below what chance explains."""

    FINE = 0
    NOTICE = 1
    WARNING = 2
    EXTREME = 3


class Stage(Enum):
    """What a circuit is counted for: that it was set up and stood until it was needed; that it did what it was used for."""

    SET_UP = "they are set up"
    USE = "they are used"


THRESHOLDS = ((0.30, Level.EXTREME), (0.50, Level.WARNING), (0.70, Level.NOTICE))


@dataclass(slots=True)
class Score:
    """Circuits of one relay and stage: counts that fade, a moving average, and the worst that was said about them."""

    tries: int = 0
    successes: int = 0
    recent: float = 1.0
    said: Level = Level.FINE

    @property
    def level(self) -> Level:
        """What the counts say; nothing before there are enough of them."""
        if self.tries < LEAST_TRIES:
            return Level.FINE
        share = self.successes / self.tries
        return next((level for below, level in THRESHOLDS if share < below), Level.FINE)

    def record(self, succeeded: bool) -> Level | None:
        """One more circuit has shown what it was worth. The level, when it is worse than all that was said before."""
        self.tries += 1
        self.successes += succeeded
        self.recent += SMOOTHING * (succeeded - self.recent)
        if self.tries >= MOST_TRIES:
            self.tries, self.successes = self.tries // 2, self.successes // 2
        if self.level <= self.said:
            return None
        self.said = self.level
        return self.said


@dataclass(slots=True)
class RelayScore:
    """What one relay's circuits come to in being set up, and in being used: who spares idle circuits hides nothing by it."""

    set_up: Score = field(default_factory=Score)
    use: Score = field(default_factory=Score)

    def record(self, stage: Stage, succeeded: bool) -> Level | None:
        """Count one circuit; as `Score.record`."""
        return (self.set_up if stage is Stage.SET_UP else self.use).record(succeeded)

    @property
    def is_poor(self) -> bool:
        """Whether this relay should come last: it lost most of its circuits, and has not recovered since."""
        return any(each.level is Level.EXTREME and each.recent < THRESHOLDS[-1][0] for each in (self.set_up, self.use))


class PathScores:
    """Scores of middles and proxies by node id; a guard's is kept with the guard."""

    __slots__ = ("_scores",)

    def __init__(self) -> None:
        self._scores: dict[bytes, RelayScore] = {}

    def record(self, node_id: bytes, stage: Stage, succeeded: bool) -> Level | None:
        """Count one circuit; as `Score.record`."""
        return self._scores.setdefault(node_id, RelayScore()).record(stage, succeeded)

    def is_poor(self, node_id: bytes) -> bool:
        """Whether this relay should come last."""
        score = self._scores.get(node_id)
        return score is not None and score.is_poor

    def keep_only(self, node_ids: Iterable[bytes]) -> None:
        """Forget everybody else."""
        kept = set(node_ids)
        self._scores = {node_id: score for node_id, score in self._scores.items() if node_id in kept}


class BuildTimes:
    """How long to wait for a circuit: a multiple of what nearly all of the last ones took, within bounds."""

    __slots__ = ("_seen", "longest", "shortest")

    def __init__(self, shortest: float, longest: float) -> None:
        self.shortest = shortest
        self.longest = longest
        self._seen: deque[float] = deque(maxlen=RECENT_BUILDS)

    def took(self, seconds: float) -> None:
        """A circuit stood after this time, or was given up after it: those count too, or the limit would shrink and shrink."""
        self._seen.append(seconds)

    @property
    def patience(self) -> float | None:
        """Seconds to wait for the next circuit; None as long as too few have been seen."""
        if len(self._seen) < LEAST_BUILDS:
            return None
        ordered = sorted(self._seen)
        usual = ordered[int(BUILD_QUANTILE * (len(ordered) - 1))]
        return min(self.longest, max(self.shortest, BUILD_MARGIN * usual))


class Backoff:
    """Decorrelated jitter: each pause is uniform between the least and three times the last, up to a bound."""

    __slots__ = ("_last", "least", "most")

    def __init__(self, least: float, most: float) -> None:
        self.least = least
        self.most = most
        self._last = least

    def pause(self, rng: Rng) -> float:
        """Seconds to wait before the next try."""
        share = int.from_bytes(rng(4)) / 2**32
        self._last = min(self.most, self.least + share * (3 * self._last - self.least))
        return self._last

    def reset(self) -> None:
        """A try succeeded."""
        self._last = self.least
