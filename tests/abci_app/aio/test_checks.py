"""`verify_all` finds what a start does not look at: any one row, node or undo entry that is lost or changed."""

from pathlib import Path

import plyvel
import pytest

from abci_app.aio.checks import check_all
from abci_app.aio.database import Meta
from abci_app.aio.storage import LevelStore, StoreError
from abci_app.application import Staged
from abci_app.state.app_hash import app_hash
from abci_app.tree import Tree
from network.codec import decode

NAMES = {"chain_id": "checks", "genesis_hash": bytes(32)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory of 20 rows at height 4, with two kept versions that differ from it."""
    store = LevelStore(tmp_path / "db", **NAMES)  # type: ignore[arg-type]
    genesis: dict[bytes, bytes | None] = {b"k%02d" % number: b"v%d" % number for number in range(20)}
    blocks: list[dict[bytes, bytes | None]] = [genesis, {b"k01": b"x", b"new": b"1"}, {b"k02": None}, {}, {b"k01": b"y"}]
    first: Staged | None = None
    for height, rows in enumerate(blocks):
        ordered = tuple(sorted(rows.items()))
        nodes = dict(first.nodes) if first is not None and height == 1 else store.version(height - 1).nodes if height else {}
        root, writes = Tree(nodes).update(ordered)  # type: ignore[arg-type]
        staged = Staged(height, app_hash(root), ordered, tuple(sorted(writes.items())))
        if height == 0:
            first = staged
        else:
            store.save(staged, first if height == 1 else None)
    found = store.verify_all()
    assert (found.height, found.rows) == (4, 20) and found.nodes > 20 and found.undo_entries > 4
    store.close()
    return tmp_path / "db"


def test_every_lost_or_changed_entry_is_found(path: Path) -> None:
    database = plyvel.DB(str(path))
    entries = {bytes(key): bytes(value) for key, value in database.iterator()}
    meta = decode(Meta, entries.pop(b"m"))
    missed = []
    for key, value in entries.items():
        for damage in (None, value[:-1] + bytes([value[-1] ^ 1])):
            database.put(key, damage) if damage is not None else database.delete(key)
            try:
                check_all(path, database, meta)
                missed.append((key.hex(), damage))
            except StoreError:
                pass
            database.put(key, value)
    check_all(path, database, meta)
    database.close()
    assert not missed


def refused(path: Path) -> bool:
    try:
        store = LevelStore(path, **NAMES)  # type: ignore[arg-type]
    except StoreError:
        return True
    try:
        store.verify_all()
    except StoreError:
        return True
    finally:
        store.close()
    return False


def test_what_does_not_belong_is_found(path: Path) -> None:
    for strange in (b"z", b"u" + (9).to_bytes(8, "big") + b"sk"):
        database = plyvel.DB(str(path))
        database.put(strange, b"\x00")
        database.close()
        assert refused(path)
        database = plyvel.DB(str(path))
        database.delete(strange)
        database.close()
    assert not refused(path)
