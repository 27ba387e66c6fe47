"""A few answers over real sockets: every one is clocked whole, at the pace of its mode."""

import asyncio

import numpy as np
import pytest

from evals.anonymity.answers import Answer
from evals.anonymity.socket_streams import overlay_traces, plain_traces
from network.geometry import GEOMETRY
from network.modes import Mode

ANSWERS = [Answer("law", 0, (0.05, 0.07, 0.2), (4, 5, 6)), Answer("everyday", 0, (0.1, 0.15), (7, 8))]


def test_plain_streaming_shows_every_piece() -> None:
    found = asyncio.run(plain_traces(ANSWERS))
    assert {number: len(sizes) for number, (_, sizes) in found.items()} == {0: 3, 1: 2}
    assert list(np.diff(found[0][1])) == [1.0, 1.0]


@pytest.mark.slow
def test_the_overlay_shows_whole_cells_up_to_the_bucket() -> None:
    found = asyncio.run(overlay_traces(ANSWERS, Mode.DEFAULT, seed=1))
    assert set(found) == {0, 1}
    for _, sizes in found.values():
        assert not (sizes % GEOMETRY.cell).any() and sizes.sum() >= 8 * GEOMETRY.n * GEOMETRY.cell
