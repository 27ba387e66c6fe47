"""How much a request spends on hiding its timing: three modes, chosen by the user and obeyed at both ends.

The mode travels inside the sealed message, so nobody on the way reads it. What each gives up is in `docs/overlay.md`
section 13.
"""

from dataclasses import dataclass
from enum import IntEnum

from network.errors import DecodeError

SMALLEST_BUCKET = 8


class Mode(IntEnum):
    """A mode's number on the wire."""

    SPEEDY = 1
    DEFAULT = 2
    STRICT = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """What a mode means: the mean wait before each clove, the time between pieces, and whether the end is hidden."""

    jitter_s: float
    tick_s: float
    bucketed: bool


PACES = {
    Mode.SPEEDY: Pace(jitter_s=0.0, tick_s=0.05, bucketed=False),
    Mode.DEFAULT: Pace(jitter_s=0.02, tick_s=0.1, bucketed=True),
    Mode.STRICT: Pace(jitter_s=0.15, tick_s=0.25, bucketed=True),
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
