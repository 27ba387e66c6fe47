"""The recorded views: every circuit's cells at every hop, and nothing of another circuit's."""

from typing import Any

import numpy as np

from evals.anonymity.linkage import _couples, _sisters, collect, features
from evals.anonymity.views import BACKWARD, CREATE, CREATED, FORWARD
from network.geometry import GEOMETRY, LINK_ID


def test_every_cell_of_a_circuit_is_seen_at_every_hop(circuits: Any) -> None:
    assert len(circuits) == 2 * GEOMETRY.n and len({(each.user, each.path) for each in circuits}) == len(circuits)
    for circuit in circuits:
        for hop in range(GEOMETRY.hops):
            assert len(circuit.at(CREATE, hop)) == len(circuit.at(CREATED, hop)) == 1
            assert len(circuit.at(FORWARD, hop)) == len(circuit.at(FORWARD, 0)) >= 8
            assert len(circuit.at(BACKWARD, hop)) == len(circuit.at(BACKWARD, 0)) >= 8
            assert len({cell[:LINK_ID] for cell in circuit.at(FORWARD, hop)}) == 1, "one id per link and circuit"
        assert circuit.clove


def test_no_id_no_body_and_no_clove_comes_twice(circuits: Any) -> None:
    places = [(circuit, kind, hop) for circuit in circuits for kind in (FORWARD, BACKWARD) for hop in range(GEOMETRY.hops)]
    ids = [(kind, circuit.at(kind, hop)[0][:LINK_ID]) for circuit, kind, hop in places]
    assert len(set(ids)) == len(ids)
    bodies = [body for circuit, kind, hop in places for body in circuit.bodies(kind, hop)]
    assert len(set(bodies)) == len(bodies)
    assert len({circuit.clove for circuit in circuits}) == len(circuits)


def test_no_view_serves_in_two_pairs(circuits: Any) -> None:
    couples = list(_couples(circuits))
    assert [same for _, same in couples] == [True, False] * 4
    assert len({id(left) for (left, _), _ in couples}) == len({id(right) for (_, right), _ in couples}) == 8
    sisters = list(_sisters(circuits))
    assert all((left.user == right.user) == same for (left, right), same in sisters)
    assert len({id(each) for pair, _ in sisters for each in pair}) == 8


def test_pairs_of_every_question_are_half_true() -> None:
    found = collect(2, 1)
    assert set(found) == {
        *(f"same_circuit.{name}" for name in ("forward", "backward", "create")),
        *("same_prompt.first_relays", "same_prompt.proxies", "published"),
    }
    assert all(2 * sum(pairs.same) == len(pairs.same) for pairs in found.values())


def test_features_show_what_two_views_share() -> None:
    pairs = collect(1, 1)["published"]
    left, right = (np.frombuffer(b"".join(side), np.uint8).reshape(-1, GEOMETRY.cell) for side in (pairs.left, pairs.right))
    equal_data = features(left, right)[:, 3]
    assert all((count > 900) == bool(same) for count, same in zip(equal_data, pairs.same, strict=True))
