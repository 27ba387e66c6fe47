"""Time that only moves when something is due: one heap of actions, in order of their moment and then of their asking."""

import heapq
from collections.abc import Callable

Action = Callable[[], object]


class VirtualClock:
    """What is due, and when. Two runs with the same actions are the same run."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._due: list[tuple[float, int, Action]] = []
        self._asked = 0

    def at(self, when: float, action: Action) -> None:
        """Do this then, or now if then has passed."""
        self._asked += 1
        heapq.heappush(self._due, (max(when, self.now), self._asked, action))

    def after(self, seconds: float, action: Action) -> None:
        """Do this in so many seconds."""
        self.at(self.now + seconds, action)

    def next_due(self) -> float | None:
        """The moment of the next action."""
        return self._due[0][0] if self._due else None

    def step(self) -> None:
        """Move to the next action and do it."""
        self.now, _, action = heapq.heappop(self._due)
        action()

    def run(self, seconds: float) -> None:
        """Do all that is due within so many seconds, and let them pass."""
        until = self.now + seconds
        while self._due and self._due[0][0] <= until:
            self.step()
        self.now = until

    def run_until(self, done: Callable[[], bool], patience: float) -> bool:
        """Go on until `done`, or until nothing is due within `patience` seconds of virtual time. Whether it was done."""
        until = self.now + patience
        while not done():
            if not self._due or self._due[0][0] > until:
                self.now = until
                return done()
            self.step()
        return True
