"""Who may be relied upon: silence, failures, doubt, and the directory's last word."""

from collections.abc import Callable
from typing import Any

import pytest

from network.chain_records import DirectoryRecord
from network.directory import Directory
from network.liveness import BEAT_SECONDS, FAILED_SECONDS, PATIENCE, Liveness

NOW = 1_800_000_000.0
SILENT_SECONDS = PATIENCE * BEAT_SECONDS
LATER = NOW + SILENT_SECONDS + 1


class Town:
    """Twelve listed relays, and what this process has heard of them."""

    def __init__(self, directory_of: Callable[[list[str]], Directory]) -> None:
        self.listed = directory_of([f"family-{number}" for number in range(12)])
        self.relays = self.listed.relays()
        self.liveness = Liveness(lambda: self.listed)

    def hear(self, count: int, now: float) -> None:
        for relay in self.relays[:count]:
            self.liveness.heard(relay.node_id, now)

    def usable(self, now: float) -> list[bool]:
        return [self.liveness.usable(relay, now) for relay in self.relays]


@pytest.fixture
def town(directory_of: Any) -> Town:
    return Town(directory_of)


def test_everybody_is_usable_while_nothing_is_known(town: Town) -> None:
    assert all(town.usable(NOW + 1e6)) and not town.liveness.is_doubted(NOW + 1e6)


def test_who_stays_silent_is_out_and_a_sign_of_life_brings_it_back(town: Town) -> None:
    town.hear(12, NOW)
    town.hear(11, LATER)
    assert town.usable(LATER) == [True] * 11 + [False]
    assert town.liveness.silent_relays(LATER) == 1
    town.hear(12, LATER)
    assert all(town.usable(LATER))


def test_who_was_never_heard_is_out_once_the_others_were(town: Town) -> None:
    town.hear(9, NOW)
    assert all(town.usable(NOW + SILENT_SECONDS))
    town.hear(9, LATER)
    assert town.usable(LATER) == [True] * 9 + [False] * 3


def test_gossip_is_doubted_when_more_than_a_third_are_silent(town: Town) -> None:
    town.hear(12, NOW)
    town.hear(8, LATER)
    assert not town.liveness.is_doubted(LATER) and town.usable(LATER).count(False) == 4
    town.hear(12, NOW + 100)
    town.hear(7, LATER + 100)
    assert town.liveness.is_doubted(LATER + 100) and all(town.usable(LATER + 100))


def test_our_own_failures_count_at_once_and_for_a_while_even_in_doubt(town: Town) -> None:
    first = town.relays[0]
    town.liveness.failed(first.node_id, NOW)
    assert town.usable(NOW) == [False] + [True] * 11
    assert all(town.usable(NOW + FAILED_SECONDS))
    town.liveness.failed(first.node_id, NOW)
    town.liveness.worked(first.node_id)
    assert all(town.usable(NOW))


def test_a_newly_listed_node_has_time_to_be_heard_and_strangers_leave_no_trace(town: Town) -> None:
    full, last = town.listed, town.relays[-1]
    record = full.record
    town.listed = Directory(DirectoryRecord(record.chain_id, 1, 9, b"", record.entries[:-1]), 9)
    town.hear(11, NOW)
    town.liveness.heard(last.node_id, NOW)
    assert not town.liveness.is_silent(last.node_id, LATER)
    town.listed = full
    town.hear(11, LATER)
    assert town.liveness.usable(last, LATER)
    much_later = LATER + SILENT_SECONDS + 1
    town.hear(11, much_later)
    assert not town.liveness.usable(last, much_later)


def test_the_more_are_listed_the_slower_they_beat(town: Town) -> None:
    assert (town.liveness.period(), town.liveness.patience()) == (2.0, 10.0)
    record = town.listed.record
    town.listed = Directory(DirectoryRecord(record.chain_id, 1, 11, b"", record.entries * 250), 11)
    assert (town.liveness.period(), town.liveness.patience()) == (6.0, 30.0)
