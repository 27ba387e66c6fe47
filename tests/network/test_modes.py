"""Modes: their numbers, and where a hidden end is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.errors import DecodeError
from network.modes import MODE_NAMES, PACES, Mode, bucket_of, mode_named, mode_of


def test_the_modes_of_the_wire() -> None:
    assert [int(mode) for mode in Mode] == [1, 2, 3] and set(PACES) == set(Mode)
    for mode in Mode:
        assert mode_of(int(mode)) is mode and mode_named(mode.name.lower()) is mode
    assert MODE_NAMES == ("speedy", "default", "strict") and mode_named("fast") is None
    for number in (0, 4, 255):
        with pytest.raises(DecodeError):
            mode_of(number)


def test_a_stricter_mode_waits_longer_and_only_speedy_shows_its_end() -> None:
    paces = [PACES[mode] for mode in Mode]
    assert [pace.bucketed for pace in paces] == [False, True, True]
    assert sorted(pace.tick_s for pace in paces) == [pace.tick_s for pace in paces]
    assert sorted(pace.jitter_s for pace in paces) == [pace.jitter_s for pace in paces]


@given(st.integers(0, 100_000))
def test_a_bucket_is_the_next_power_of_two_from_eight_on(pieces: int) -> None:
    bucket = bucket_of(pieces)
    assert bucket >= max(8, pieces) and bucket & (bucket - 1) == 0 and (bucket == 8 or bucket < 2 * pieces)
