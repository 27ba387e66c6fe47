"""The book at one engine's door: who is inside, who still waits for a first byte, and how long each waited for others.

Everything that reaches the engine passes here, so its load is counted and not asked for; an engine without metrics serves as
well as one with. Prefill is taken to be first come, first served: a request's own begins when the one before has spoken.
Told the time, owns no clock.
"""

from dataclasses import dataclass

from serving_node.load_factor import EngineLoad


@dataclass(eq=False, slots=True)
class Visit:
    """One request at the engine. `uncached` are the words that the engine is expected to compute."""

    uncached: int
    entered_at: float
    queue_s: float = 0.0
    spoke_at: float | None = None


class Door:
    """Counts the requests of one engine. `slots` is how many it answers at once, 0 when that is unknown."""

    __slots__ = ("_last_spoke", "_queued", "_shut", "_slots", "_visits", "changed", "most")

    def __init__(self, slots: int, most: int) -> None:
        self.most = most
        self.changed = True
        self._slots = slots
        self._visits: set[Visit] = set()
        self._queued = 0
        self._last_spoke = float("-inf")
        self._shut = False

    @property
    def inside(self) -> int:
        """Requests that the engine has and has not ended."""
        return len(self._visits)

    @property
    def full(self) -> bool:
        """Whether one more request would be one too many."""
        return len(self._visits) >= self.most

    def enter(self, words: int, expected: int, now: float) -> Visit:
        """A request is sent to the engine, of whose words `expected` are believed to be cached."""
        visit = Visit(max(0, words - expected), now)
        self._visits.add(visit)
        self._queued += visit.uncached
        self.changed = True
        return visit

    def spoke(self, visit: Visit, now: float) -> float:
        """The first byte of its answer: returns the seconds since it entered."""
        if visit.spoke_at is None:
            visit.spoke_at = now
            visit.queue_s = max(0.0, self._last_spoke - visit.entered_at)
            self._last_spoke = now
            self._queued -= visit.uncached
            self.changed = True
        return visit.spoke_at - visit.entered_at

    def leave(self, visit: Visit) -> None:
        """The request is over, however it ended."""
        if visit in self._visits:
            self._visits.remove(visit)
            if visit.spoke_at is None:
                self._queued -= visit.uncached
            self.changed = True

    def shut(self, shut: bool) -> None:
        """Whether fellows should send nothing: the engine does not answer, or this front is going."""
        self.changed = self.changed or shut != self._shut
        self._shut = shut

    def load(self, cache_words: int = 0) -> EngineLoad:
        """What the group is told."""
        self.changed = False
        inside = len(self._visits)
        running = min(inside, self._slots) if self._slots else inside
        return EngineLoad(running, inside - running, self._queued, 0.0, self._slots, cache_words, self._shut)
