"""Randomness and time as pure code sees them: both are handed in, and a message is stamped with a coarse minute.

The stamp bounds how long a receiver must remember what it has seen: older messages are refused without looking.
"""

from collections.abc import Callable

Rng = Callable[[int], bytes]  # n -> n random bytes; in production the operating system's generator

FRESH_MINUTES = 5
REMEMBER_SECONDS = (2 * FRESH_MINUTES + 1) * 60.0  # a message is acceptable for at most this long


def minute_of(now: float) -> int:
    """The Unix minute that a message made at `now` is stamped with."""
    return int(now // 60)


def is_fresh(minute: int, now: float) -> bool:
    """Whether a message stamped with this minute may still be accepted at `now`."""
    return abs(minute_of(now) - minute) <= FRESH_MINUTES
