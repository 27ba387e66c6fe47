"""The traces: what the ticker sends is what a tap on the user's links sees, and modes differ as they say."""

import numpy as np
import pytest

from evals.anonymity.answers import Answer
from evals.anonymity.reply_stream import MODES, features, plain, tapped, ticked
from network.geometry import GEOMETRY
from network.modes import PACES, Mode, bucket_of

ANSWER = Answer("law", 1, tuple(0.3 + 0.02 * number for number in range(60)), (4, 7, 2, 5) * 15)


@pytest.mark.parametrize("mode", MODES)
def test_a_tap_sees_the_ticks_and_nothing_else(mode: Mode) -> None:
    told, seen = ticked(ANSWER, mode), tapped(ANSWER, mode, seed=3)
    assert len(told[0]) == len(seen[0])
    assert np.diff(seen[0]) == pytest.approx(np.diff(told[0]), abs=1e-5)
    assert list(seen[1][1:-1]) == list(told[1][1:-1]), "the first piece may go without the last clove's way"
    assert seen[1][-1] == 2 * told[1][-1], "after the last piece every proxy says that the reply is over"


def test_modes_hide_what_they_say() -> None:
    other = Answer("everyday", 2, tuple(0.9 + 0.013 * number for number in range(41)), (3,) * 41)
    for mode in MODES:
        moments, sizes = ticked(ANSWER, mode)
        assert np.diff(moments) == pytest.approx(np.full(len(moments) - 1, PACES[mode].tick_s))
        assert set(sizes) == {GEOMETRY.n * GEOMETRY.cell}
    strict, other_strict = ticked(ANSWER, Mode.STRICT), ticked(other, Mode.STRICT)
    assert len(strict[0]) == bucket_of(len(strict[0])) == 8 and features(strict) == features(other_strict)
    assert len(ticked(ANSWER, Mode.SPEEDY)[0]) != bucket_of(len(ticked(ANSWER, Mode.SPEEDY)[0]))
    assert features(plain(ANSWER)) != features(plain(other))


def test_features_have_one_length() -> None:
    short = Answer("law", 3, (0.2,), (5,))
    assert len({len(features(plain(each))) for each in (ANSWER, short)}) == 1
