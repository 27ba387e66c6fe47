"""How much a request spends on hiding its timing: three modes, chosen by the user and obeyed at both ends.

The mode travels inside the sealed message, so nobody on the way reads it. What each gives up is in `docs/overlay.md`
section 13.
"""

import math
from dataclasses import dataclass
from enum import IntEnum

from network.errors import DecodeError
from network.freshness import Rng

SMALLEST_BUCKET = 8
LONGEST_JITTER = 10.0  # means: a clove waits no longer than this


class Mode(IntEnum):
    """A mode's number on the wire."""

    SPEEDY = 1
    DEFAULT = 2
    STRICT = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """What a mode means.

    `jitter_s`: the mean wait before each clove leaves; `tick_s`: the time between pieces of the reply; `burst`: how many
    pieces may leave at once when more waits; `bucketed`: whether the reply runs on to a bucket's end.
    """

    jitter_s: float
    tick_s: float
    burst: int
    bucketed: bool


PACES = {
    Mode.SPEEDY: Pace(jitter_s=0.0, tick_s=0.05, burst=16, bucketed=False),
    Mode.DEFAULT: Pace(jitter_s=0.02, tick_s=0.1, burst=1, bucketed=True),
    Mode.STRICT: Pace(jitter_s=0.15, tick_s=0.25, burst=1, bucketed=True),
}
MODE_NAMES = tuple(mode.name.lower() for mode in Mode)
_MODES = {int(mode): mode for mode in Mode}
_BY_NAME = {mode.name.lower(): mode for mode in Mode}


def mode_of(number: int) -> Mode:
    """The mode with this number on the wire. Raises DecodeError."""
    mode = _MODES.get(number)
    if mode is None:
        raise DecodeError(f"unknown mode {number}")
    return mode


def mode_named(name: str) -> Mode | None:
    """The mode that a person names; None when there is no such mode."""
    return _BY_NAME.get(name)


def bucket_of(pieces: int) -> int:
    """Up to how many pieces a hidden end runs on: the smallest of 8, 16, 32, ... that holds them."""
    return max(SMALLEST_BUCKET, 1 << max(0, pieces - 1).bit_length())


def jitter(pace: Pace, rng: Rng) -> float:
    """Seconds that one clove waits: exponential, so that no wait says anything about the next."""
    if not pace.jitter_s:
        return 0.0
    share = (int.from_bytes(rng(7), "big") + 1) / 2**56
    return pace.jitter_s * min(LONGEST_JITTER, -math.log(share))
