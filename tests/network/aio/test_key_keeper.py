"""The keeper: stored before used, used before announced, and nothing changes when the disk is full."""

import random
from pathlib import Path
from typing import Any

import pytest

from network.aio.key_keeper import KeyKeeper
from network.aio.keys import create, load, save
from network.chain_records import DirectoryEntry
from network.hpke import OnionPrivate

HOUR = 3600.0


class Node:
    """A node whose directory entry, clock and use of keys are the test's."""

    def __init__(self, path: Path, *, hybrid: bool = False) -> None:
        self.path, self.now, self.used = path, 1_800_000_000.0, [()]
        self.entry: DirectoryEntry | None = None
        self.keeper = KeyKeeper(
            path, create(path), lambda: self.entry, self.use, random.Random(1).randbytes, hybrid=hybrid, clock=lambda: self.now
        )

    def use(self, generations: tuple[OnionPrivate, ...]) -> None:
        """What opens is on the disk already."""
        assert load(self.path).onion.generations == generations
        self.used.append(generations)

    def ledger_hears(self) -> None:
        keys = self.keeper.keys
        self.entry = DirectoryEntry(onion_key=keys.onion_public, hybrid_key=keys.hybrid_public)

    def pass_hours(self, hours: float) -> None:
        self.now += hours * HOUR
        self.keeper.check()


@pytest.mark.parametrize("hybrid", [False, True])
def test_keys_change_over_the_days(tmp_path: Path, hybrid: bool) -> None:
    node = Node(tmp_path / "keys.json", hybrid=hybrid)
    node.keeper.start()
    first = node.keeper.keys.onion.current
    assert node.used[-1] == (first,) and bool(first.hybrid) is hybrid
    node.pass_hours(100)
    assert node.used[-1] == (first,), "not listed: nobody uses the key yet"
    node.ledger_hears()
    node.pass_hours(0.1)
    node.pass_hours(1)
    second = node.keeper.keys.onion.current
    assert node.used[-1] == (second, first) != (first,)
    node.ledger_hears()
    node.pass_hours(0.1)
    node.pass_hours(24)
    assert node.used[-1] == (node.keeper.keys.onion.current, second) and len(node.used) == 4


def test_a_restart_goes_on_with_the_same_keys(tmp_path: Path) -> None:
    node = Node(tmp_path / "keys.json", hybrid=True)
    node.keeper.start()
    node.ledger_hears()
    node.pass_hours(0.1)
    node.pass_hours(24)
    used: list[Any] = []
    again = KeyKeeper(node.path, load(node.path), lambda: node.entry, used.append, random.Random(9).randbytes, hybrid=True)
    again.start()
    assert used == [node.used[-1]] and len(used[0]) == 2


def test_a_full_disk_leaves_the_keys_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(tmp_path / "keys.json")
    node.keeper.start()
    node.ledger_hears()
    node.pass_hours(0.1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", full)
        node.pass_hours(24)
    assert len(node.used[-1]) == 1
    node.pass_hours(0.1)
    assert len(node.used[-1]) == 2


def test_a_file_that_cannot_be_written_does_not_keep_a_node_from_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(tmp_path / "keys.json", hybrid=True)
    bare = node.keeper.keys.onion

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.replace", read_only)
    node.keeper.start()
    assert node.used[-1] == bare.generations and not node.keeper.keys.hybrid_public
    node.ledger_hears()
    for _ in range(3):
        node.pass_hours(24)
    assert node.used[-1] == bare.generations and len(caplog.records) == 1, "told once"
    assert list(tmp_path.iterdir()) == [node.path]


def test_save_is_what_load_reads(tmp_path: Path) -> None:
    keys = create(tmp_path / "keys.json")
    save(tmp_path / "keys.json", keys)
    assert load(tmp_path / "keys.json").onion == keys.onion
