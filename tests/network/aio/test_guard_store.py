"""The guards' file: private, replaced whole, bounded, and refused with a remedy when it is damaged."""

import asyncio
import stat
import threading
from pathlib import Path

import pytest

from network.aio.files import replace
from network.aio.guard_store import GuardStore
from network.errors import ConfigError
from network.guard_file import LONGEST_FILE
from network.guards import Guard, GuardRules, GuardSet

RULES = GuardRules()
GUARDS = GuardSet(RULES, [Guard(b"g" * 20, 1.0, 2.0)])


async def test_what_is_saved_is_loaded_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "guards.json"
    store = GuardStore(path, "chain")
    assert store.load(RULES).guards == []
    for _ in range(2):
        await store.save(GUARDS)
    assert store.load(RULES).guards == GUARDS.guards
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("raw", [b"{", b"\xff", b" " * (LONGEST_FILE + 1)])
def test_a_damaged_file_is_refused_with_a_remedy(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "guards.json"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"guards.json.*remove it to have new guards chosen"):
        GuardStore(path, "chain").load(RULES)
    assert path.read_bytes() == raw


async def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = GuardStore(tmp_path / "guards.json", "chain")
    await store.save(GUARDS)
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        await store.save(GuardSet(RULES))
    assert store.load(RULES).guards == GUARDS.guards and len(list(tmp_path.iterdir())) == 1


async def test_a_cancelled_writing_ends_before_the_next_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, running, most = threading.Event(), 0, 0

    def slow(path: Path, text: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        go.wait(10)
        replace(path, text)
        running -= 1

    monkeypatch.setattr("network.aio.guard_store.replace", slow)
    store = GuardStore(tmp_path / "guards.json", "chain")
    first = asyncio.create_task(store.save(GuardSet(RULES)))
    await asyncio.sleep(0.01)
    first.cancel()
    second = asyncio.create_task(store.save(GUARDS))
    await asyncio.sleep(0.01)
    go.set()
    await second
    assert first.cancelled() and most == 1 and store.load(RULES).guards == GUARDS.guards
