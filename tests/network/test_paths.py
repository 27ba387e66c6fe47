"""Path sets: distinct relays of distinct families, suspects last, and an honest error when there are too few."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network.directory import Directory
from network.errors import NoCircuits
from network.geometry import GEOMETRY
from network.paths import AVOID_SECONDS, PREFIX_SECONDS, RelayHistory, choose_paths
from network.relay_draw import network_of

NOW = 1_800_000_000.0
NEEDED = GEOMETRY.n * GEOMETRY.hops


@given(st.lists(st.sampled_from([f"family-{i}" for i in range(16)]), min_size=0, max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_relays_and_families_are_distinct_or_there_is_no_set(
    directory_of: Any, draw: Callable[[int], bytes], families: list[str]
) -> None:
    directory = directory_of(families)
    if len(set(families)) < NEEDED:
        with pytest.raises(NoCircuits):
            choose_paths(directory, RelayHistory(), NOW, draw)
        return
    chosen = choose_paths(directory, RelayHistory(), NOW, draw)
    relays = [relay for path in chosen.paths for relay in path]
    assert [len(path) for path in chosen.paths] == [GEOMETRY.hops] * GEOMETRY.n
    assert len({relay.node_id for relay in relays}) == len({relay.family for relay in relays}) == NEEDED


def test_every_relay_takes_every_position(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    directory = directory_of([f"family-{i}" for i in range(16)])
    seen = Counter[tuple[str, int]]()
    for _ in range(800):
        for path in choose_paths(directory, RelayHistory(), NOW, draw).paths:
            seen.update((relay.name, hop) for hop, relay in enumerate(path))
    # Each of 48 (relay, hop) pairs is expected 200 times; five sigma is about 70.
    assert len(seen) == 48 and all(130 < count < 270 for count in seen.values())


def test_suspects_are_avoided_while_others_are_left(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    directory = directory_of([f"family-{i}" for i in range(16)])
    history, suspects = RelayHistory(), directory.relays()[:4]
    history.failed(suspects, NOW)
    for _ in range(20):
        chosen = choose_paths(directory, history, NOW + 1, draw)
        assert not {relay.node_id for path in chosen.paths for relay in path} & {s.node_id for s in suspects}
    history.failed(directory.relays()[4:6], NOW + 2)
    chosen = choose_paths(directory, history, NOW + 3, draw)
    used = {relay.node_id for path in chosen.paths for relay in path}
    assert not used & {relay.node_id for relay in directory.relays()[4:6]}, "those that failed longest ago come back first"


def test_suspicion_ends_by_time_by_success_and_by_leaving(directory_of: Any) -> None:
    directory = directory_of([f"family-{i}" for i in range(3)])
    history, relays = RelayHistory(), directory.relays()
    history.failed(relays, NOW)
    assert history.suspicion(relays[0], NOW + 1) > 0
    assert history.suspicion(relays[0], NOW + AVOID_SECONDS) == 0
    history.worked(relays[:1])
    assert history.suspicion(relays[0], NOW + 1) == 0 and history.suspicion(relays[1], NOW + 1) > 0
    history.forget_absent(directory_of([]), NOW)
    assert history.suspicion(relays[1], NOW + 1) == 0


def test_a_replacement_fits_beside_the_paths_that_stand(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    directory = directory_of([f"family-{i}" for i in range(16)])
    whole = choose_paths(directory, RelayHistory(), NOW, draw)
    standing = [relay for path in whole.paths[1:] for relay in path]
    (path,) = choose_paths(directory, RelayHistory(), NOW, draw, count=1, beside=standing).paths
    assert len(path) == GEOMETRY.hops and not {r.family for r in path} & {r.family for r in standing}
    with pytest.raises(NoCircuits):
        choose_paths(directory, RelayHistory(), NOW, draw, count=2, beside=[*standing, *path])


def test_guards_are_the_first_hops_and_nowhere_else(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    directory = directory_of([f"family-{i}" for i in range(14)])
    guards = directory.relays()[3:7]
    for _ in range(20):
        chosen = choose_paths(directory, RelayHistory(), NOW, draw, guards=guards)
        assert tuple(path[0] for path in chosen.paths) == guards
        assert len({relay.family for path in chosen.paths for relay in path}) == NEEDED
    chosen = choose_paths(directory, RelayHistory(), NOW, draw, guards=[guards[0], guards[0], guards[1], guards[1]])
    assert len({relay.family for path in chosen.paths for relay in path}) == 10, "two guards with two paths each"
    with pytest.raises(ValueError, match="3 guards for 4 paths"):
        choose_paths(directory, RelayHistory(), NOW, draw, guards=guards[:3])


def test_only_trusted_and_usable_relays_are_hops(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    directory = directory_of([f"family-{i}" for i in range(14)])
    doubted, silent = directory.relays()[0], directory.relays()[1]
    entries = (replace(doubted, trusted=False), *directory.relays()[1:])
    directory = Directory(replace(directory.record, entries=entries), directory.height)
    for _ in range(20):
        chosen = choose_paths(directory, RelayHistory(), NOW, draw, usable=lambda relay: relay.node_id != silent.node_id)
        assert not {doubted.node_id, silent.node_id} & {relay.node_id for path in chosen.paths for relay in path}
    with pytest.raises(NoCircuits, match="of which 11 of 11 families are trusted and answer"):
        choose_paths(directory, RelayHistory(), NOW, draw, usable=lambda relay: relay not in entries[1:3])


def test_relays_of_one_network_do_not_stand_in_one_set(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    addresses = [f"45.{min(i, 11)}.113.{i}:9000" for i in range(16)]
    directory = directory_of([f"family-{i}" for i in range(16)], addresses)
    for _ in range(20):
        relays = [relay for path in choose_paths(directory, RelayHistory(), NOW, draw).paths for relay in path]
        assert len({network_of(relay.address) for relay in relays}) == NEEDED
    crowded = directory_of([f"family-{i}" for i in range(16)], ["45.0.113.1:1"] * 5 + addresses[5:])
    with pytest.raises(NoCircuits, match="share a network"):
        choose_paths(crowded, RelayHistory(), NOW, draw)


def test_poor_relays_come_last(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    directory = directory_of([f"family-{i}" for i in range(14)])
    poor = directory.relays()[:2]
    for _ in range(20):
        chosen = choose_paths(directory, RelayHistory(), NOW, draw, poor=lambda relay: relay in poor)
        assert not {relay.node_id for path in chosen.paths for relay in path} & {relay.node_id for relay in poor}


def test_a_beginning_that_just_failed_is_not_tried_again_at_once(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    directory = directory_of([f"family-{i}" for i in range(12)])
    relays, history = directory.relays(), RelayHistory()
    guards, others = relays[:4], relays[4:]
    for middle in others[:7]:
        history.failed((guards[0], middle, others[7]), NOW)
    for _ in range(20):
        chosen = choose_paths(directory, history, NOW + 1, draw, guards=guards)
        assert chosen.paths[0][1] == others[7], "the only middle with which this guard has not just failed"
    history.failed((guards[0], others[7], others[0]), NOW)
    with pytest.raises(NoCircuits, match="failed a moment ago"):
        choose_paths(directory, history, NOW + 1, draw, guards=guards)
    assert choose_paths(directory, history, NOW + PREFIX_SECONDS, draw, guards=guards)
    history.forget_absent(directory, NOW + PREFIX_SECONDS)
    assert history._prefix_failed_at == {}
