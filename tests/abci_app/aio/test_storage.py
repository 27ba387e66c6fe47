"""The store against its twin, a list of dictionaries; directories that must be refused; a torn write."""

import subprocess
import sys
from pathlib import Path

import plyvel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app.aio import storage
from abci_app.aio.storage import LevelStore, StoreError
from abci_app.application import Staged
from abci_app.state.app_hash import app_hash
from abci_app.tree import Tree
from network.errors import ConfigError

GENESIS = b"g" * 32
keys = st.binary(min_size=1, max_size=2)
blocks = st.lists(st.dictionaries(keys, st.one_of(st.none(), st.binary(min_size=1, max_size=4)), max_size=6), max_size=8)


def open_store(path: Path, **changed: object) -> LevelStore:
    arguments: dict[str, object] = {"chain_id": "store-test", "genesis_hash": GENESIS, **changed}
    return LevelStore(path, **arguments)  # type: ignore[arg-type]


def stage(tree: Tree, height: int, rows: dict[bytes, bytes | None]) -> Staged:
    ordered = tuple(sorted(rows.items()))
    root, nodes = tree.update(ordered)
    return Staged(height, app_hash(root), ordered, tuple(sorted(nodes.items())))


def begin(store: LevelStore) -> list[dict[bytes, bytes]]:
    """Genesis and block 1."""
    genesis = stage(Tree({}), 0, {b"g": b"0", b"h": b"0"})
    nodes = {key: value for key, value in genesis.nodes if value is not None}
    store.save(stage(Tree(nodes), 1, {b"g": b"1", b"h": None}), genesis)
    return [{b"g": b"0", b"h": b"0"}, {b"g": b"1"}]


@settings(max_examples=12, deadline=None)
@given(history=blocks)
def test_every_kept_version_reads_as_it_was(
    history: list[dict[bytes, bytes | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("store")
    store = open_store(path)
    twin = begin(store)
    hashes = {1: store.app_hash}
    for height, rows in enumerate(history, start=2):
        store.save(stage(Tree(store.version(store.height).nodes), height, rows), None)
        hashes[height] = store.app_hash
        after = {**twin[-1], **rows}
        twin.append({key: value for key, value in after.items() if value is not None})
        if height % 3 == 0:
            store.close()
            store = open_store(path)
    assert (store.height, store.oldest) == (len(twin) - 1, 0)
    everything = {key for rows in twin for key in rows} | {b"never"}
    for height, rows in enumerate(twin):
        version = store.version(height)
        assert all(version.get(key) == rows.get(key) for key in everything)
        if height:
            assert app_hash(Tree(version.nodes).root()) == hashes[height]
        assert list(version.scan(b"")) == sorted(rows.items())
        for prefix, start in ((b"", b"g"), (b"g", b""), (b"g", b"a"), (b"\xff", b"\xff\x10"), (b"a", b"b")):
            wanted = sorted((k, v) for k, v in rows.items() if k.startswith(prefix) and k >= start)
            assert list(version.scan(prefix, start)) == wanted
    store.close()


def test_a_commit_between_two_rows_of_a_scan_changes_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "db")
    begin(store)
    store.save(stage(Tree(store.version(1).nodes), 2, {b"a": b"2", b"b": b"2", b"z": b"2"}), None)
    rows = {height: store.version(height).scan(b"") for height in (1, 2)}
    first = {height: next(found) for height, found in rows.items()}
    store.save(stage(Tree(store.version(2).nodes), 3, {b"a": None, b"b": b"3", b"g": None, b"c": b"3"}), None)
    assert [first[1], *rows[1]] == [(b"g", b"1")]
    assert [first[2], *rows[2]] == [(b"a", b"2"), (b"b", b"2"), (b"g", b"1"), (b"z", b"2")]


def test_old_versions_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "KEPT_VERSIONS", 3)
    store = open_store(tmp_path / "db")
    begin(store)
    for height in range(2, 9):
        store.save(stage(Tree(store.version(store.height).nodes), height, {b"k": bytes([height])}), None)
    assert store.oldest == 5
    assert store.version(5).get(b"k") == b"\x05"
    with pytest.raises(AssertionError):
        store.version(4)
    store.close()
    undo = plyvel.DB(str(tmp_path / "db")).iterator(prefix=b"u", include_value=False)
    assert {key[1:9] for key in undo} == {height.to_bytes(8, "big") for height in (6, 7, 8)}


def test_a_fresh_directory_has_no_height(tmp_path: Path) -> None:
    store = open_store(tmp_path / "deep" / "db")
    assert (store.height, store.oldest, store.app_hash) == (0, 0, b"")
    store.close()
    assert open_store(tmp_path / "deep" / "db").height == 0


def test_directories_that_are_not_this_chains_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = open_store(path)
    begin(store)
    with pytest.raises(StoreError, match="in use by another process"):
        open_store(path)
    store.close()
    with pytest.raises(StoreError, match="belongs to the chain 'store-test'"):
        open_store(path, chain_id="another")
    with pytest.raises(StoreError, match="another genesis"):
        open_store(path, genesis_hash=b"h" * 32)
    foreign = plyvel.DB(str(tmp_path / "foreign"), create_if_missing=True)
    foreign.put(b"a", b"b")
    foreign.close()
    with pytest.raises(StoreError, match="not PlanetServe's"):
        open_store(tmp_path / "foreign")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(StoreError, match="not a LevelDB database"):
        open_store(tmp_path / "notes")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="not a directory"):
        open_store(tmp_path / "file")


@pytest.mark.parametrize("what", ["value", "node", "root", "meta", "format"])
def test_a_corrupt_directory_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "db"
    store = open_store(path)
    begin(store)
    store.save(stage(Tree(store.version(1).nodes), 2, {b"a": b"1", b"b": b"2", b"c": b"3"}), None)
    store.close()
    database = plyvel.DB(str(path))
    if what == "value":
        database.put(b"sb", b"changed")
    elif what == "node":
        leaf = next(key for key, value in database.iterator(prefix=b"t") if value[:1] == b"L")
        database.delete(leaf)
    elif what == "root":
        database.put(b"t" + bytes(9), b"B" + bytes(64))
    elif what == "meta":
        database.put(b"m", b"\xff")
    else:
        database.put(b"m", b"\x08\x09" + database.get(b"m")[2:])
    database.close()
    with pytest.raises(StoreError, match="remove it"):
        open_store(path)
    with pytest.raises(StoreError, match="remove it"):
        open_store(path)  # and is not left locked


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = open_store(path)
    begin(store)
    store.close()
    (path / "CURRENT").write_text("MANIFEST-999999\n")
    with pytest.raises(StoreError, match="remove it"):
        open_store(path)


@settings(max_examples=12, deadline=None)
@given(history=blocks, back=st.integers(1, 3))
def test_rolling_back_and_doing_it_again_leads_to_the_same(
    history: list[dict[bytes, bytes | None]], back: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rollback")
    store = open_store(path)
    begin(store)
    made: list[Staged] = []
    hashes = [b"", store.app_hash]
    for height, rows in enumerate(history, start=2):
        made.append(stage(Tree(store.version(store.height).nodes), height, rows))
        store.save(made[-1], None)
        hashes.append(store.app_hash)
    whole = contents(store, path)
    store = open_store(path)
    steps = min(back, store.height - 1)
    for _ in range(steps):
        height = store.height
        assert store.rollback() == store.height == height - 1
        assert store.app_hash == hashes[store.height]
        store.verify_all()
    store.close()
    store = open_store(path)
    for staged in made[len(made) - steps :]:
        store.save(staged, None)
    assert contents(store, path) == whole


def contents(store: LevelStore, path: Path) -> dict[bytes, bytes]:
    """Everything in the directory, which is closed for it."""
    store.close()
    database = plyvel.DB(str(path))
    found = dict(database.iterator())
    database.close()
    return found


def test_a_version_that_is_not_kept_cannot_be_rolled_back_to(tmp_path: Path) -> None:
    store = open_store(tmp_path / "db")
    begin(store)
    with pytest.raises(StoreError, match="keeps nothing before it"):
        store.rollback()
    restored = store.restoring(1, store.app_hash)
    version = store.version(1)
    restored.add(version.scan(b""), Tree({}).update(version.scan(b""))[1].items())
    restored.finish()
    store.save(stage(Tree(store.version(1).nodes), 2, {b"a": b"1"}), None)
    assert store.rollback() == 1
    with pytest.raises(StoreError, match="keeps nothing before it"):
        store.rollback()


def test_a_frozen_version_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "KEPT_VERSIONS", 2)
    store = open_store(tmp_path / "db")
    begin(store)
    with store.frozen(1) as version:
        for height in range(2, 9):
            store.save(stage(Tree(store.version(store.height).nodes), height, {b"g": bytes([height])}), None)
        assert list(version.scan(b"")) == [(b"g", b"1")]
        assert (version.get(b"g"), version.get(b"h")) == (b"1", None)


def test_a_restored_directory_takes_the_place_of_the_other(tmp_path: Path) -> None:
    store = open_store(tmp_path / "db")
    begin(store)
    rows: dict[bytes, bytes | None] = {b"k%d" % number: b"v" for number in range(50)}
    target = stage(Tree({}), 7, rows)
    dropped = store.restoring(7, target.app_hash)
    dropped.add(target.rows[:3], ())
    dropped.drop()
    restored = store.restoring(7, target.app_hash)
    restored.add(target.rows[:20], Tree(restored.nodes).update(target.rows[:20])[1].items())
    with pytest.raises(AssertionError, match="does not lead"):
        restored.finish()
    assert store.version(1).get(b"g") == b"1", "untouched until the last part"
    restored.add(target.rows[20:], Tree(restored.nodes).update(target.rows[20:])[1].items())
    restored.finish()
    assert (store.height, store.oldest, store.app_hash) == (7, 7, target.app_hash)
    assert dict(store.version(7).scan(b"")) == rows
    store.verify_all()
    store.save(stage(Tree(store.version(7).nodes), 8, {b"k1": None}), None)
    store.close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["db"]
    assert open_store(tmp_path / "db").version(7).get(b"k1") == b"v"


def test_a_mount_point_is_refused_before_anything_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "db")
    begin(store)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "db")
    with pytest.raises(ConfigError, match="folder below it"):
        store.restoring(7, bytes(32))
    assert store.version(1).get(b"g") == b"1"


@pytest.mark.parametrize("crash", ["while restoring", "before the old one goes", "between the two names", "before clearing"])
def test_a_crash_while_restoring_leaves_one_or_the_other(tmp_path: Path, crash: str) -> None:
    path, side, old = (tmp_path / name for name in ("db", "db.restoring", "db.replaced"))
    store = open_store(path)
    begin(store)
    store.close()
    if crash == "while restoring":
        side.mkdir()
        (side / "CURRENT").write_text("half")
    else:
        other = open_store(side)
        begin(other)
        other.save(stage(Tree(other.version(1).nodes), 2, {b"a": b"1"}), None)
        other.close()
    if crash in ("between the two names", "before clearing"):
        path.rename(old)
    if crash == "before clearing":
        side.rename(path)
    store = open_store(path)
    assert store.height == (1 if crash in ("while restoring", "before the old one goes") else 2)
    assert not side.exists() and not old.exists()


KILLED = """
import os, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from pathlib import Path
import test_storage as t
store = t.open_store(Path(sys.argv[3]))
t.begin(store)
for height in range(2, 2000):
    rows = {b"a": height.to_bytes(4, "big"), b"k%d" % height: b"v"}
    store.save(t.stage(t.Tree(store.version(store.height).nodes), height, rows), None)
    print(height, flush=True)
"""


def test_kill_9_leaves_a_height_and_never_something_between(tmp_path: Path) -> None:
    here = Path(__file__).resolve()
    command = [sys.executable, "-c", KILLED, str(here.parents[3]), str(here.parent), str(tmp_path / "db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 40:
                process.kill()
                break
        said = [int(line) for line in process.stdout if line.strip().isdigit()]
    store = open_store(tmp_path / "db")
    assert store.height >= max([40, *said])
    version = store.version(store.height)
    assert version.get(b"a") == store.height.to_bytes(4, "big")
    assert app_hash(Tree(version.nodes).root()) == store.app_hash
    assert store.version(store.height - 1).get(b"a") == (store.height - 1).to_bytes(4, "big")


FULL = """
import resource, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from pathlib import Path
import test_storage as t
store = t.open_store(Path(sys.argv[3]))
t.begin(store)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
try:
    for height in range(2, 2000):
        rows = {b"a": height.to_bytes(4, "big"), b"k%d" % height: b"v" * 100}
        store.save(t.stage(t.Tree(store.version(store.height).nodes), height, rows), None)
except t.StoreError as error:
    assert "Free space and start again" in str(error), error
    print(store.height)
"""


def test_a_full_disk_is_an_error_and_leaves_the_height_before(tmp_path: Path) -> None:
    """The size limit of files stands in for a full disk: the write fails, Commit raises, the server ends the process."""
    here = Path(__file__).resolve()
    command = [sys.executable, "-c", FULL, str(here.parents[3]), str(here.parent), str(tmp_path / "db")]
    said = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    store = open_store(tmp_path / "db")
    assert store.height == said > 1
    assert store.version(said).get(b"a") == said.to_bytes(4, "big")
    store.save(stage(Tree(store.version(said).nodes), said + 1, {b"a": b"on"}), None)
    assert store.version(said + 1).get(b"a") == b"on"
