"""The guards' life as transcripts: chosen once, confirmed in order, backed up, retried, demoted, never walked by an outage."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network.chain_records import DirectoryEntry
from network.directory import Directory
from network.guards import DAY, GuardRules, GuardSet
from network.path_scores import LEAST_TRIES, Level, Stage
from network.relay_draw import share_nothing

NOW = 1_800_000_000.0
RULES = GuardRules()


def _ids(entries: Any) -> list[bytes]:
    return [entry.node_id for entry in entries]


@pytest.fixture
def directory(directory_of: Any) -> Directory:
    """Forty relays of forty families."""
    made: Directory = directory_of([f"family-{i}" for i in range(40)])
    return made


@pytest.fixture
def guards(directory: Directory, draw: Callable[[int], bytes]) -> GuardSet:
    """A fresh sample."""
    guards = GuardSet(RULES)
    guards.refresh(directory, NOW, draw)
    return guards


def test_a_sample_is_drawn_once_with_backups_and_lives_for_months(
    directory: Directory, guards: GuardSet, draw: Callable[[int], bytes]
) -> None:
    assert len(guards.guards) == 8 and guards.changed
    for guard in guards.guards:
        assert 60 * DAY <= guard.expires_at - NOW <= 120 * DAY
    before = _ids(guards.pick(directory, NOW, 4))
    assert before == [guard.node_id for guard in guards.guards[:4]]
    for day in range(59):
        guards.refresh(directory, NOW + day * DAY, draw)
        assert _ids(guards.pick(directory, NOW + day * DAY, 4)) == before


def test_nobody_is_chosen_before_path_sets_are_possible(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    guards = GuardSet(RULES)
    guards.refresh(directory_of([f"family-{i}" for i in range(11)]), NOW, draw)
    assert guards.guards == []


def test_a_guard_that_does_not_answer_keeps_its_place(
    directory: Directory, guards: GuardSet, draw: Callable[[int], bytes]
) -> None:
    first, second, third, fourth, backup, *_ = [guard.node_id for guard in guards.guards]
    for node in (second, third, fourth):
        guards.reached(node, NOW)
        guards.confirm(node, NOW)
    at = NOW
    for wait in (600, 5_400, 14_400, 64_800, 64_800):
        guards.unreachable(second, at)
        guards.reached(third, at + 1)
        guards.refresh(directory, at + 2, draw)
        assert _ids(guards.pick(directory, at + 2, 4)) == [third, fourth, first, backup], "the confirmed ones come first"
        assert second not in _ids(guards.pick(directory, at + wait - 1, 4))
        assert _ids(guards.pick(directory, at + wait, 4))[0] == second, "and it is tried again after its pause"
        at += wait
    guards.reached(second, at)
    assert _ids(guards.pick(directory, at, 4)) == [second, third, fourth, first] and len(guards.guards) == 8


def test_an_outage_of_our_own_changes_nothing(directory: Directory, guards: GuardSet, draw: Callable[[int], bytes]) -> None:
    before = [guard.node_id for guard in guards.guards]
    for _ in range(50):
        for entry in guards.pick(directory, NOW, 4):
            guards.unreachable(entry.node_id, NOW)
        guards.refresh(directory, NOW, draw)
    assert [guard.node_id for guard in guards.guards] == before
    guards.unreachable(before[-1], NOW)
    for guard in guards.guards:
        guards.unreachable(guard.node_id, NOW)
    assert _ids(guards.pick(directory, NOW, 4)) == before[:4], "when all have failed, all are tried again in the same order"


def test_backups_are_added_only_for_guards_that_are_down_while_others_answer(
    directory: Directory, guards: GuardSet, draw: Callable[[int], bytes]
) -> None:
    sample = [guard.node_id for guard in guards.guards]
    for node in sample[:5]:
        guards.unreachable(node, NOW)
    guards.refresh(directory, NOW + 1, draw)
    assert len(guards.guards) == 8, "nobody has answered since, so our own network may be down"
    guards.reached(sample[7], NOW + 2)
    guards.refresh(directory, NOW + 3, draw)
    assert len(guards.guards) == 8, "they may be back in a moment"
    for node in sample[:5]:
        guards.unreachable(node, NOW + 59)
    guards.refresh(directory, NOW + 61, draw)
    assert len(guards.guards) == 9 and len(guards.pick(directory, NOW + 61, 4)) == 4


def test_after_an_outage_those_that_failed_in_it_are_tried_again(
    directory: Directory, guards: GuardSet, draw: Callable[[int], bytes]
) -> None:
    sample = [guard.node_id for guard in guards.guards]
    for node in sample[:4]:
        guards.reached(node, NOW)
        guards.confirm(node, NOW)
    for node in sample[:4]:
        guards.unreachable(node, NOW + 10)
    guards.reached(sample[4], NOW + 11)
    assert _ids(guards.pick(directory, NOW + 11, 4)) == sample[:4], "our network was back in the middle of trying"
    for node in sample[:4]:
        guards.unreachable(node, NOW + 12)
    guards.reached(sample[4], NOW + 13)
    assert not set(sample[:4]) & set(_ids(guards.pick(directory, NOW + 14, 4))), "now it is they who are down"


def test_relays_that_restart_one_after_another_move_no_guard(
    directory: Directory, guards: GuardSet, draw: Callable[[int], bytes]
) -> None:
    before = [guard.node_id for guard in guards.guards]
    for second in range(400):
        now = NOW + second
        guards.refresh(directory, now, draw)
        restarting = before[second // 20 % len(before)] if second < 320 and second % 20 < 8 else b""
        picked = _ids(guards.pick(directory, now, 4))
        for node in picked:
            if node == restarting:
                guards.unreachable(node, now)
            else:
                guards.reached(node, now)
        assert len(set(picked) - {restarting}) >= 3, "a path set is always possible"
    assert [guard.node_id for guard in guards.guards] == before


@given(st.lists(st.tuples(st.integers(0, 59), st.booleans()), max_size=120))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_fails_the_sample_is_bounded(
    directory: Directory, draw: Callable[[int], bytes], happenings: list[tuple[int, bool]]
) -> None:
    guards, now = GuardSet(RULES), NOW
    for which, answers in happenings:
        guards.refresh(directory, now, draw)
        node = guards.guards[which % len(guards.guards)].node_id
        if answers:
            guards.reached(node, now)
            guards.confirm(node, now)
        else:
            guards.unreachable(node, now)
        now += 1.0
    assert len(guards.guards) <= RULES.limit(40) == 12
    picked = guards.pick(directory, now, 4)
    assert all(share_nothing(entry, [other for other in picked if other is not entry]) for entry in picked)


def test_lifetimes_end_and_the_unlisted_are_forgotten_late(
    directory: Directory, guards: GuardSet, draw: Callable[[int], bytes]
) -> None:
    gone = guards.guards[0].node_id
    rest = tuple(entry for entry in directory.record.entries if entry.node_id != gone)
    without = Directory(replace(directory.record, entries=rest), 11)
    guards.refresh(without, NOW + 1, draw)
    assert gone in [guard.node_id for guard in guards.guards] and gone not in _ids(guards.pick(without, NOW, 4))
    guards.refresh(directory, NOW + 19 * DAY, draw)
    assert guards.guards[0].unlisted_since == 0.0 and _ids(guards.pick(directory, NOW, 4))[0] == gone
    guards.refresh(without, NOW + 20 * DAY, draw)
    guards.refresh(without, NOW + 41 * DAY, draw)
    assert gone not in [guard.node_id for guard in guards.guards] and len(guards.guards) == 8
    guards.refresh(directory, NOW + 200 * DAY, draw)
    assert all(guard.sampled_at == NOW + 200 * DAY for guard in guards.guards) and len(guards.guards) == 8


def test_a_backup_lives_its_whole_life_from_its_first_circuit_on(
    directory: Directory, guards: GuardSet, draw: Callable[[int], bytes]
) -> None:
    backup = guards.guards[4]
    life, later = backup.expires_at - backup.sampled_at, NOW + 50 * DAY
    guards.confirm(backup.node_id, later)
    assert backup.expires_at == later + life
    guards.confirm(backup.node_id, later + DAY)
    assert backup.expires_at == later + life, "once"
    guards.refresh(directory, later + 59 * DAY, draw)
    assert backup in guards.guards


def test_a_clock_that_was_ahead_is_forgiven(directory: Directory, guards: GuardSet, draw: Callable[[int], bytes]) -> None:
    before, year = [guard.node_id for guard in guards.guards], 365 * DAY
    guards.unreachable(before[0], NOW + year)
    guards.guards[1].expires_at += year
    guards.refresh(directory, NOW, draw)
    assert _ids(guards.pick(directory, NOW, 8)) == before
    assert guards.guards[1].expires_at == NOW + 120 * DAY


def test_a_network_that_was_made_anew_finds_guards(directory_of: Any, draw: Callable[[int], bytes]) -> None:
    guards = GuardSet(RULES)
    for time in range(30):
        made_anew = directory_of([f"family-{i}" for i in range(16)])
        guards.refresh(made_anew, NOW + 60 * time, draw)
        assert len(guards.pick(made_anew, NOW + 60 * time, 4)) == 4
        assert len(guards.guards) <= RULES.most_sample


def test_a_directory_that_is_empty_for_a_while_forgets_nobody(
    directory: Directory, guards: GuardSet, draw: Callable[[int], bytes]
) -> None:
    before = [guard.node_id for guard in guards.guards]
    empty = Directory(replace(directory.record, entries=()), 0)
    for day in (1, 30):
        guards.refresh(empty, NOW + day * DAY, draw)
    assert [guard.node_id for guard in guards.guards] == before


def test_a_guard_that_loses_most_circuits_becomes_the_last_backup(
    directory: Directory, guards: GuardSet, draw: Callable[[int], bytes]
) -> None:
    first, *others = [guard.node_id for guard in guards.guards]
    said = [level for _ in range(LEAST_TRIES) if (level := guards.record(first, Stage.USE, False)) is not None]
    guards.refresh(directory, NOW + 1, draw)
    assert said == [Level.EXTREME] and len(guards.guards) == 8, "no new guard is chosen for it"
    assert _ids(guards.pick(directory, NOW + 1, 8)) == [*others, first]


def test_a_lost_path_gets_its_guard_back_or_a_backup(directory: Directory, guards: GuardSet) -> None:
    entries = guards.pick(directory, NOW, 8)
    others = [entry for entry in directory.relays() if entry not in entries]
    assert guards.pick(directory, NOW, 1, standing=entries[1:4], beside=others[:6]) == entries[:1]
    guards.unreachable(entries[0].node_id, NOW)
    assert guards.pick(directory, NOW, 1, standing=entries[1:4], beside=others[:6]) == entries[4:5]
    assert guards.pick(directory, NOW, 1, standing=entries[1:4], beside=[entries[4], *others[:5]]) == entries[5:6]
    assert guards.answering(directory, NOW) == 4


def test_two_guards_with_two_paths_each(directory: Directory, draw: Callable[[int], bytes]) -> None:
    guards = GuardSet(GuardRules(count=2))
    guards.refresh(directory, NOW, draw)
    one, other, backup, *_ = [directory.get(guard.node_id) for guard in guards.guards]
    assert len(guards.guards) == 4
    assert guards.pick(directory, NOW, 4) == (one, one, other, other)
    assert isinstance(one, DirectoryEntry) and isinstance(other, DirectoryEntry)
    assert guards.pick(directory, NOW, 1, standing=[one, other, other]) == (one,)
    guards.unreachable(one.node_id, NOW)
    assert guards.pick(directory, NOW, 2, standing=[other, other]) == (backup, backup)
    with pytest.raises(ValueError, match="3 guards"):
        GuardRules(count=3)
