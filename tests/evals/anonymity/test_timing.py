"""Time links what is alone in the network, and less where many ask at once; the marks are what a network of cores shows."""

import pytest

from evals.adversary.network import VirtualNetwork, seeded_delays
from evals.anonymity.timing import LINK_S, Sight, attacks, matched, sights
from network.geometry import GEOMETRY, LINK_ID
from network.modes import Mode


def test_who_is_alone_is_linked_and_who_is_in_a_crowd_less() -> None:
    alone, crowd = attacks(Mode.DEFAULT, 0.02, 40, seed=1), attacks(Mode.DEFAULT, 200.0, 40, seed=1)
    assert all(found.mean >= 0.95 for found in alone.values())
    assert all(crowd[name].mean < alone[name].mean for name in alone)


def test_matching_takes_the_nearest() -> None:
    left, right = [Sight(float(at), 0.0, 0.0) for at in (1, 2, 3)], [Sight(at, 0.0, 0.0) for at in (1.2, 2.9, 3.3)]
    assert matched(left, right, lambda one, other: abs(one.out - other.out)).mean == pytest.approx(1 / 3)


def test_the_marks_are_those_of_real_cores() -> None:
    guards, proxies = sights(Mode.SPEEDY, 1.0, 60, seed=2)
    ways = [late[path] - seen[path].out for seen, late in zip(guards, proxies, strict=True) for path in range(GEOMETRY.n)]
    network = VirtualNetwork(2, delay=seeded_delays(2))
    user = network.add_user()
    circuits = user.path_set(network.paths())
    seen = network.tap()
    asked = user.ask(b"hello", network.model.entry, circuits, mode=Mode.SPEEDY)
    network.run_until(lambda: asked.ended)
    first = {name: next(s.arrives for s in seen if s.target[0] == name and s.raw[LINK_ID] == 3) for name in ("r00", "r02")}
    assert (GEOMETRY.hops - 1) * LINK_S == pytest.approx(sum(ways) / len(ways), rel=0.1)
    assert min(ways) < first["r02"] - first["r00"] < max(ways)
