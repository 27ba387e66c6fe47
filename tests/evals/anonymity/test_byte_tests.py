"""The byte tests: what they say of random bytes, of planted flaws, and of a small collection of real cells."""

from typing import Any

import numpy as np
import pytest

from evals.anonymity.byte_tests import chi_square_p, entropy, examine, published_fragments
from evals.anonymity.views import BACKWARD, FORWARD
from network.geometry import GEOMETRY


def test_chi_square_has_the_quantiles_of_the_table() -> None:
    """255 degrees of freedom: 293.248 at 5 %, 330.520 at 0.1 %."""
    for statistic, p in ((293.248, 0.05), (330.520, 0.001), (254.334, 0.5)):
        counts = np.full(256, 1000.0)
        step = (statistic * 1000 / 256) ** 0.5
        counts[::2] += step
        counts[1::2] -= step
        assert chi_square_p(counts) == pytest.approx(p, rel=0.01)
    assert entropy(np.full(256, 7)) == pytest.approx(8.0)


def test_random_bytes_pass_and_flaws_do_not() -> None:
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 256, (2048, 512), np.uint8)
    assert examine("forward.hop1", [row.tobytes() for row in rows]).holds
    flawed = rows.copy()
    flawed[:, 31] &= 0x7F
    found = examine("forward.hop1", [row.tobytes() for row in flawed])
    assert found.uneven == (31,) and not found.holds
    assert examine("create.hop1", [row.tobytes() for row in flawed]).holds, "a key's top bit, where the wire format has keys"
    rows[:, 100:110] = 0
    assert examine("forward.hop1", [row.tobytes() for row in rows]).uneven == tuple(range(100, 110))


def test_real_cells_pass(circuits: Any) -> None:
    for kind, name in ((FORWARD, "forward"), (BACKWARD, "backward")):
        for hop in range(GEOMETRY.hops):
            found = examine(f"{name}.hop{hop + 1}", [body for each in circuits for body in each.bodies(kind, hop)])
            assert found.p > 0.001 and abs(found.serial) < 5 and not found.uneven


def test_the_published_dispersal_is_far_from_random() -> None:
    found = published_fragments(1 << 16)
    bits = [entropy(np.bincount(np.frombuffer(strings[0], np.uint8), minlength=256)) for strings in found.values()]
    assert bits == pytest.approx([4.87, 7.42, 7.38, 7.46], abs=0.02)
