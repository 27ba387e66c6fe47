"""What a user learns from its circuits, told as transcripts: guards stay, suspects rest, thresholds are said once."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network.directory import Directory
from network.errors import NoCircuits
from network.geometry import GEOMETRY
from network.guards import GuardRules, GuardSet
from network.path_chooser import STRIKES, Path, PathChooser
from network.path_scores import LEAST_BUILDS, LEAST_TRIES, Level, Stage
from network.relay_draw import share_nothing

NOW = 1_800_000_000.0


@pytest.fixture
def directory(directory_of: Any) -> Directory:
    """Forty relays of forty families."""
    made: Directory = directory_of([f"family-{i}" for i in range(40)])
    return made


@pytest.fixture
def chooser(draw: Callable[[int], bytes]) -> PathChooser:
    """A user that has just started."""
    return PathChooser(GuardSet(GuardRules()), draw)


def _guards(paths: Any) -> list[bytes]:
    return [path[0].node_id for path in paths]


def test_guards_stay_and_everything_else_is_fresh(chooser: PathChooser, directory: Directory) -> None:
    seen: set[bytes] = set()
    first = chooser.choose(directory, NOW).paths
    for at in range(40):
        paths = chooser.choose(directory, NOW + at).paths
        assert _guards(paths) == _guards(first)
        assert len({relay.family for path in paths for relay in path}) == GEOMETRY.n * GEOMETRY.hops
        seen |= {relay.node_id for path in paths for relay in path[1:]}
    assert len(seen) == 36, "every relay but the four guards"


@given(st.integers(0, 2**32), st.integers(20, 60), st.lists(st.integers(0, 3), max_size=8))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_listed_and_lost_no_two_hops_share_anything(
    directory_of: Any, seed: int, size: int, losses: list[int]
) -> None:
    dice = random.Random(seed)
    families = [f"family-{dice.randrange(26)}" for _ in range(size)]
    directory = directory_of(families, [f"45.{dice.randrange(26)}.0.1:{at + 1}" for at in range(size)])
    silent = {relay.node_id for relay in directory.relays() if dice.random() < 0.1}
    chooser = PathChooser(GuardSet(GuardRules()), dice.randbytes, lambda relay: relay.node_id not in silent)
    try:
        paths = list(chooser.choose(directory, NOW).paths)
        for lost in losses:
            old = paths.pop(lost % len(paths))
            chooser.lost(old, NOW, linked=bool(lost % 2))
            paths += chooser.choose(directory, NOW, count=1, standing=paths).paths
            used = [relay for path in paths for relay in path]
            assert all(share_nothing(relay, [other for other in used if other is not relay]) for relay in used)
            assert not silent & {relay.node_id for path in paths for relay in path[1:]}
            assert all(path[0].node_id in {guard.node_id for guard in chooser.guards.guards} for path in paths)
    except NoCircuits:
        return


def test_a_lost_path_is_replaced_at_its_guard_beside_the_others(chooser: PathChooser, directory: Directory) -> None:
    paths = chooser.choose(directory, NOW).paths
    chooser.lost(paths[2], NOW, linked=True)
    (fresh,) = chooser.choose(directory, NOW, count=1, standing=[paths[0], paths[1], paths[3]]).paths
    assert fresh[0] == paths[2][0] and not {relay.node_id for relay in fresh[1:]} & {relay.node_id for relay in paths[2][1:]}
    chooser.unreachable(paths[2][0], NOW)
    (fresh,) = chooser.choose(directory, NOW, count=1, standing=[paths[0], paths[1], paths[3]]).paths
    assert fresh[0].node_id == chooser.guards.guards[4].node_id, "the first backup"


def test_when_a_guards_link_breaks_the_relays_behind_it_are_not_suspects(chooser: PathChooser, directory: Directory) -> None:
    (path, *_) = chooser.choose(directory, NOW).paths
    chooser.lost(path, NOW, linked=False)
    assert chooser._history.suspicion(path[0], NOW) > 0
    assert chooser._history.suspicion(path[1], NOW) == chooser._history.suspicion(path[2], NOW) == 0


def test_three_guards_are_enough_for_three_paths_and_two_are_not(chooser: PathChooser, directory: Directory) -> None:
    chooser.choose(directory, NOW)
    for guard in chooser.guards.guards[:5]:
        chooser.guards.unreachable(guard.node_id, NOW)
    assert len(chooser.choose(directory, NOW).paths) == 3
    chooser.guards.unreachable(chooser.guards.guards[5].node_id, NOW)
    with pytest.raises(NoCircuits, match="only 2 of 4 guards answer"):
        chooser.choose(directory, NOW)


def test_a_guard_that_carries_nothing_while_others_do_is_left_alone(chooser: PathChooser, directory: Directory) -> None:
    paths = chooser.choose(directory, NOW).paths
    dead, others = paths[0], paths[1:]
    for at in range(3 * STRIKES):
        chooser.not_built(dead, 0.1, NOW + at)
    assert _guards(chooser.choose(directory, NOW + 60).paths)[0] == dead[0].node_id, "nobody else has carried anything either"
    for path in others:
        chooser.built(path, 0.1, NOW + 60)
    chooser.not_built(dead, 0.1, NOW + 61)
    assert dead[0].node_id not in _guards(chooser.choose(directory, NOW + 62).paths)
    assert dead[0].node_id in _guards(chooser.choose(directory, NOW + 62 + 600).paths), "and tried again later"


def test_one_success_clears_a_guards_strikes(chooser: PathChooser, directory: Directory) -> None:
    paths = chooser.choose(directory, NOW).paths
    for round_ in range(5):
        for _ in range(STRIKES - 1):
            chooser.not_built(paths[0], 0.1, NOW + round_)
        chooser.built(paths[0], 0.1, NOW + round_)
        chooser.built(paths[1], 0.1, NOW + round_)
    assert paths[0][0].node_id in _guards(chooser.choose(directory, NOW + 60).paths)


def test_gossips_word_shortens_the_proof_but_never_moves_a_guard_alone(
    directory: Directory, draw: Callable[[int], bytes]
) -> None:
    chooser = PathChooser(GuardSet(GuardRules()), draw, usable=lambda relay: relay.node_id not in silent)
    silent: set[bytes] = set()
    paths = chooser.choose(directory, NOW).paths
    dead = paths[0][0].node_id
    silent |= {dead, paths[1][1].node_id}
    after = chooser.choose(directory, NOW + 1).paths
    assert _guards(after) == _guards(paths), "a guard that is said to be silent is still tried"
    assert paths[1][1].node_id not in {relay.node_id for path in after for relay in path[1:]}
    chooser.not_built(paths[0], 0.1, NOW + 2)
    chooser.built(paths[1], 0.1, NOW + 2)
    chooser.not_built(paths[0], 0.1, NOW + 3)
    assert dead not in _guards(chooser.choose(directory, NOW + 4).paths)


def test_each_relay_that_loses_too_much_is_named_once(chooser: PathChooser, directory: Directory) -> None:
    (path, *others) = chooser.choose(directory, NOW).paths
    found: list[Any] = []
    for _ in range(2 * LEAST_TRIES):
        found += chooser.blamed(path, NOW)
    assert all(each.stage is Stage.USE for each in found)
    assert [(each.relay, each.level, each.is_guard) for each in found] == [
        (path[0], Level.EXTREME, True),
        (path[1], Level.EXTREME, False),
        (path[2], Level.EXTREME, False),
    ]
    later = chooser.choose(directory, NOW + 1_000).paths
    assert path[0].node_id not in _guards(later) and len(chooser.guards.guards) == 8, "a backup stands in, nobody new"
    assert not {path[1].node_id, path[2].node_id} & {relay.node_id for each in later for relay in each}
    assert [finding for other in others for finding in chooser.ended_well(other)] == []


def test_patience_follows_what_builds_take(chooser: PathChooser, directory: Directory) -> None:
    (path, *_) = chooser.choose(directory, NOW).paths
    assert chooser.patience is None
    for _ in range(LEAST_BUILDS):
        chooser.built(path, 1.3, NOW)
    assert chooser.patience == pytest.approx(2.6)


def test_what_is_remembered_is_bounded_by_the_directory(chooser: PathChooser, directory: Directory, directory_of: Any) -> None:
    for at in range(30):
        for path in chooser.choose(directory, NOW + at).paths:
            _lose(chooser, path, NOW + at)
    chooser.choose(directory_of([f"other-{i}" for i in range(40)]), NOW + 100)
    assert chooser._scores._scores == {} and chooser._history._failed_at == {} and chooser._history._prefix_failed_at == {}
    assert len(chooser._strikes) <= 12 and len(chooser._worked_at) <= 12


def _lose(chooser: PathChooser, path: Path, now: float) -> None:
    chooser.built(path, 0.1, now)
    chooser.lost(path, now, linked=True)


def test_too_small_a_directory_is_said_in_numbers(chooser: PathChooser, directory_of: Any) -> None:
    with pytest.raises(NoCircuits, match="12 relays of 12 families; the directory has 11 relays of 11 families"):
        chooser.choose(directory_of([f"family-{i}" for i in range(11)]), NOW)
