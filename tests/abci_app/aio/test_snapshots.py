"""Snapshots on disk: taken while blocks go on, byte-identical between directories, whole or absent, and restored again."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from abci_app import snapshot as snapshots
from abci_app.aio.archive import export_snapshot, restore_snapshot
from abci_app.aio.snapshots import SnapshotFolder, SnapshotMaker, take_now
from abci_app.aio.storage import LevelStore, StoreError
from abci_app.application import Staged
from abci_app.state.app_hash import app_hash
from abci_app.state_sync import Outcome, Restore, Verdict
from abci_app.tree import Tree

CHAIN, GENESIS = "snapshots", bytes(32)


def open_store(path: Path) -> LevelStore:
    return LevelStore(path, chain_id=CHAIN, genesis_hash=GENESIS)


def block(store: LevelStore, rows: dict[bytes, bytes | None]) -> None:
    """The next height; the first one stands on an empty genesis."""
    height = store.height + 1
    ordered = tuple(sorted(rows.items()))
    root, writes = Tree(store.version(height - 1).nodes if height > 1 else {}).update(ordered)
    genesis = Staged(0, app_hash(Tree({}).root()), (), ()) if height == 1 else None
    store.save(Staged(height, app_hash(root), ordered, tuple(sorted(writes.items()))), genesis)


def grow(store: LevelStore, height: int) -> None:
    while store.height < height:
        at = store.height + 1
        block(store, {b"k%d" % (at * 100 + number): b"v%d" % at * 5 for number in range(40)} | {b"k1": b"%d" % at})


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "CHUNK_TARGET", 1_000)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_two_replicas_write_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        store = open_store(tmp_path / name)
        grow(store, 4)
        if name == "b":
            grow(store, 9)
            store.close()
            store = open_store(tmp_path / name)
            store.rollback()
        take_now(store, SnapshotFolder(tmp_path / f"{name}s"), 4)
        made.append(files(tmp_path / f"{name}s"))
        store.close()
    assert made[0] == made[1] and len(made[0]) > 3


def test_taken_while_blocks_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third height; the undo log of the height goes while the snapshot is being taken."""
    monkeypatch.setattr("abci_app.aio.storage.KEPT_VERSIONS", 2)
    store = open_store(tmp_path / "db")
    folder = SnapshotFolder(tmp_path / "snapshots")

    async def chain() -> list[int]:
        maker = SnapshotMaker(store, folder, interval=3, keep=2)
        seen = []
        for height in range(1, 14):
            grow(store, height)
            maker.committed(height)
            if height % 3 == 0:
                for later in range(height + 1, height + 3):
                    await asyncio.sleep(0.001)
                    grow(store, later)
                    maker.committed(later)
                while maker.busy:
                    await asyncio.sleep(0.001)
                seen.append(folder.list()[0].height)
        await maker.close()
        return seen

    assert asyncio.run(chain()) == [3, 6, 9, 12]
    assert [snapshot.height for snapshot in folder.list()] == [12, 9] and folder.oldest == 9
    reopened = SnapshotFolder(tmp_path / "snapshots")
    assert reopened.list() == folder.list()
    other = open_store(tmp_path / "other")
    grow(other, 12)
    assert take_now(other, SnapshotFolder(tmp_path / "again"), 12) == folder.get(12)
    assert files(tmp_path / "again" / "12") == files(tmp_path / "snapshots" / "12")


def test_a_snapshot_that_a_crash_prevented_is_taken_after_the_restart(tmp_path: Path) -> None:
    store = open_store(tmp_path / "db")
    grow(store, 13)
    path = tmp_path / "snapshots"
    (path / "10.making").mkdir(parents=True)
    (path / "10.making" / "000000").write_bytes(b"half")

    async def life(at: int) -> list[int]:
        folder = SnapshotFolder(path)
        maker = SnapshotMaker(store, folder, interval=10, keep=5)
        grow(store, at)
        maker.committed(at)
        while maker.busy:
            await asyncio.sleep(0.001)
        await maker.close()
        return [snapshot.height for snapshot in folder.list()]

    assert asyncio.run(life(14)) == [10]
    assert asyncio.run(life(15)) == [10], "once"
    grow(store, 45)
    assert asyncio.run(life(45)) == [40, 10]
    twin = open_store(tmp_path / "twin")
    grow(twin, 40)
    assert take_now(twin, SnapshotFolder(tmp_path / "twins"), 40) == SnapshotFolder(path).get(40)


def test_a_replica_that_takes_none_offers_what_it_has(tmp_path: Path) -> None:
    store = open_store(tmp_path / "db")
    grow(store, 3)
    folder = SnapshotFolder(tmp_path / "snapshots")
    take_now(store, folder, 2)
    maker = SnapshotMaker(store, folder, interval=0, keep=2)
    maker.committed(3)
    assert [offer.height for offer in maker.offers()] == [2] and maker.oldest == 2
    assert maker.chunk(2, 0) and not maker.chunk(3, 0) and not maker.chunk(2, 10_000)


def test_closing_gives_up_what_is_being_taken(tmp_path: Path) -> None:
    store = open_store(tmp_path / "db")
    grow(store, 2)

    async def life() -> None:
        maker = SnapshotMaker(store, SnapshotFolder(tmp_path / "snapshots"), interval=1, keep=2)
        maker.committed(2)
        await asyncio.sleep(0)
        await maker.close()

    asyncio.run(life())
    store.close()
    assert not SnapshotFolder(tmp_path / "snapshots").list()


def test_what_is_damaged_is_not_offered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(tmp_path / "db")
    grow(store, 6)
    path = tmp_path / "snapshots"
    for height in (3, 4, 5, 6):
        take_now(store, SnapshotFolder(path), height)
    (path / "3" / "metadata").write_bytes(b"\xff")
    (path / "4" / "000001").unlink()
    (path / "5").rename(path / "7")
    (path / "6" / "000001").write_bytes(b"changed")
    folder = SnapshotFolder(path)
    assert [snapshot.height for snapshot in folder.list()] == [6]
    assert folder.chunk(6, 0) and not folder.chunk(6, 1)
    assert "has changed on disk" in caplog.text
    folder.delete(6)
    with pytest.raises(StoreError, match="no snapshot of height 6"):
        folder.delete(6)
    with pytest.raises(StoreError, match="is not kept"):
        take_now(store, folder, 7)


def test_a_corrupt_store_gives_no_snapshot(tmp_path: Path) -> None:
    store = open_store(tmp_path / "db")
    grow(store, 2)
    store._db.delete(b"sk1")
    folder = SnapshotFolder(tmp_path / "snapshots")
    with pytest.raises(StoreError, match="no snapshot of height 2"):
        take_now(store, folder, 2)
    assert not list((tmp_path / "snapshots").iterdir())


def test_state_sync_from_one_directory_to_another(tmp_path: Path) -> None:
    store = open_store(tmp_path / "db")
    grow(store, 5)
    folder = SnapshotFolder(tmp_path / "snapshots")
    take_now(store, folder, 5)
    fresh = open_store(tmp_path / "fresh")
    restore = Restore(CHAIN, fresh.restoring)
    offer = folder.offers()[0]
    assert restore.offer(offer, store.app_hash) is Verdict.ACCEPT
    for index in range(offer.chunks):
        assert restore.apply(index, folder.chunk(5, index), "p").outcome is Outcome.ACCEPT
    assert (fresh.height, fresh.app_hash, fresh.oldest) == (5, store.app_hash, 5)
    assert list(fresh.version(5).scan(b"")) == list(store.version(5).scan(b""))
    fresh.verify_all()
    grow(store, 6)
    grow(fresh, 6)
    assert fresh.app_hash == store.app_hash


def test_one_file_there_and_back(tmp_path: Path) -> None:
    store = open_store(tmp_path / "db")
    grow(store, 5)
    folder = SnapshotFolder(tmp_path / "snapshots")
    take_now(store, folder, 4)
    file = tmp_path / "carried"
    export_snapshot(folder, 4, file)
    with pytest.raises(StoreError, match="exists"):
        export_snapshot(folder, 4, file)
    expected = list(store.version(4).scan(b""))
    store.close()
    holder = [sys.executable, "-c", f"import plyvel; db = plyvel.DB({str(tmp_path / 'db')!r}); print(1, flush=True); input()"]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        with pytest.raises(StoreError, match="in use"):
            restore_snapshot(file, tmp_path / "db", chain_id=CHAIN, genesis_hash=GENESIS)
        process.kill()
    for source in (file, tmp_path / "snapshots" / "4"):
        (tmp_path / "db" / "CURRENT").write_text("damaged")
        restore_snapshot(source, tmp_path / "db", chain_id=CHAIN, genesis_hash=GENESIS)
        store = open_store(tmp_path / "db")
        assert (store.height, list(store.version(4).scan(b""))) == (4, expected)
        store.verify_all()
        store.close()
    restore_snapshot(file, tmp_path / "new" / "db", chain_id=CHAIN, genesis_hash=GENESIS)
    assert open_store(tmp_path / "new" / "db").height == 4


def test_what_cannot_be_restored_leaves_the_directory_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path / "db")
    grow(store, 3)
    folder = SnapshotFolder(tmp_path / "snapshots")
    take_now(store, folder, 2)
    export_snapshot(folder, 2, tmp_path / "whole")
    store.close()
    raw = (tmp_path / "whole").read_bytes()
    for name, content in {
        "empty": b"",
        "short": raw[:-10],
        "half": raw[: len(raw) // 2],
        "bent": raw[:-1] + bytes([raw[-1] ^ 1]),
        "text": b"not a snapshot at all" * 100,
        "huge": b"\xff\xff\xff\xff\x7f",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StoreError, match=name):
            restore_snapshot(tmp_path / name, tmp_path / "db", chain_id=CHAIN, genesis_hash=GENESIS)
    with pytest.raises(StoreError, match="not of 'another'"):
        restore_snapshot(tmp_path / "whole", tmp_path / "db", chain_id="another", genesis_hash=GENESIS)
    with pytest.raises(StoreError, match="is not a whole snapshot"):
        restore_snapshot(tmp_path / "absent", tmp_path / "db", chain_id=CHAIN, genesis_hash=GENESIS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep")
    with pytest.raises(StoreError, match="not a LevelDB database"):
        restore_snapshot(tmp_path / "whole", tmp_path / "mine", chain_id=CHAIN, genesis_hash=GENESIS)
    store = open_store(tmp_path / "db")
    assert store.height == 3
    store.verify_all()
