"""Coarse minutes: what is fresh, and how long it has to be remembered."""

from hypothesis import given
from hypothesis import strategies as st

from network.freshness import FRESH_MINUTES, REMEMBER_SECONDS, is_fresh, minute_of


def test_bounds() -> None:
    now = 1_800_000_000.0
    minute = minute_of(now)
    assert is_fresh(minute - FRESH_MINUTES, now) and is_fresh(minute + FRESH_MINUTES, now)
    assert not is_fresh(minute - FRESH_MINUTES - 1, now) and not is_fresh(minute + FRESH_MINUTES + 1, now)


@given(st.integers(0, 2**32 - 1), st.floats(0, 60 * 2**32, allow_nan=False))
def test_what_was_fresh_is_stale_once_forgotten(minute: int, seen: float) -> None:
    if is_fresh(minute, seen):
        assert not is_fresh(minute, seen + REMEMBER_SECONDS)
