"""One circuit breaker per peer: after failures in a row it gets nothing for a while, then one prompt to show itself.

Pure: closed, open until a time, half open. A peer that refuses a request for what the request is (4xx) has not failed, and a
peer that is full is busy, not broken: neither opens anything.
"""

from dataclasses import dataclass
from enum import Enum

FAILURES = 3
OPEN_FIRST_S, OPEN_MOST_S = 5.0, 60.0
# A full peer is left alone for about as long as its next load report takes.
FULL_S = 1.0
# A trial prompt that never came back is forgotten.
TRIAL_S = 30.0


class Fault(Enum):
    """Why a peer did not answer."""

    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    FULL = "full"
    REFUSED = "refused"


class State(Enum):
    """What a peer may get."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class Breaker:
    """The state of one peer."""

    failures: int = 0
    until: float = float("-inf")
    trial_at: float = float("-inf")
    full_until: float = float("-inf")

    def state(self, now: float) -> State:
        """Closed while less than 3 failures in a row were seen, else open, else half open once its pause is over."""
        if self.failures < FAILURES:
            return State.CLOSED
        return State.OPEN if now < self.until else State.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Whether the peer may get one more prompt now. *Does not change the breaker.*"""
        if now < self.full_until:
            return False
        state = self.state(now)
        return state is State.CLOSED or (state is State.HALF_OPEN and now >= self.trial_at + TRIAL_S)

    def sent(self, now: float) -> None:
        """A prompt is on its way; the first after a pause is the trial."""
        if self.state(now) is State.HALF_OPEN:
            self.trial_at = now

    def answered(self) -> None:
        """An answer came: everything is forgiven."""
        self.failures = 0
        self.until = self.trial_at = self.full_until = float("-inf")

    def failed(self, fault: Fault, now: float) -> None:
        """No answer came."""
        self.trial_at = float("-inf")
        if fault is Fault.FULL:
            self.full_until = now + FULL_S
        elif fault is not Fault.REFUSED:
            self.failures += 1
            if self.failures >= FAILURES:
                self.until = now + min(OPEN_MOST_S, OPEN_FIRST_S * 2.0 ** min(self.failures - FAILURES, 10))
