"""F2: the application dies inside its store write, or the disk keeps only a part of it."""

import random
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from abci_app.aio.storage import LevelStore, StoreError
from abci_app.state.app_hash import app_hash
from abci_app.tree import Tree

CHAIN_ID = "ledger-test"


def opened(path: Path, genesis: bytes) -> tuple[int, bytes] | str:
    """The height at which this copy opens and the root of its tree, or why it does not."""
    try:
        store = LevelStore(path, chain_id=CHAIN_ID, genesis_hash=sha256(genesis).digest())
    except StoreError as error:
        return str(error)
    try:
        return store.height, app_hash(Tree(store.version(store.height).nodes).root()) if store.height else b""
    finally:
        store.close()


def test_f02_a_write_that_the_kernel_cuts_short(
    make_chain: Any,
    fast: Any,
    faults: Any,
    registration: Any,
    until: Any,
    committed: Any,
    same_as_undisturbed: Any,
    measured: Any,
) -> None:
    """At a Commit, LevelDB's log may not grow beyond where the batch ends minus something: a part of it is on the disk, the
    process is dead of SIGXFSZ. The store opens at the height before, and the block is replayed."""
    validator = make_chain(1, params=fast).validators[0]
    fault = faults(validator)
    validator.start()
    validator.wait_height(2)
    for number, part in enumerate((1, 100, 1500)):
        log = max((validator.home / "app.db").glob("*.log"), key=lambda path: path.name)
        before, height = validator.children()["app"], validator.height()
        raw = registration(number)
        validator.send(raw)
        fault.order("torn", bytes=log.stat().st_size + part)
        until(lambda pid=before: validator.children().get("app") not in (None, pid), validator.log)
        assert "killed by SIGXFSZ" in validator.log()
        seconds = until(lambda h=height: validator.height() >= h + 3, validator.log)
        assert committed(validator, raw).get("code", 0) == 0
        measured("F2", torn_after_bytes=part, recovered_s=round(seconds, 2))
    same_as_undisturbed(validator)


def test_f02_truncated_copies_open_at_a_whole_height_or_not_at_all(
    make_chain: Any, fast: Any, registration: Any, committed: Any, until: Any, measured: Any, tmp_path: Path
) -> None:
    """Every copy of the data directory whose last file lost its tail is a height that was, with that height's root; and one
    of them, put in place of the data, follows the chain again."""
    chain = make_chain(1, params=fast)
    validator = chain.validators[0]
    validator.start()
    validator.wait_height(2)
    for number in range(3):
        committed(validator, registration(number))
    validator.wait_height(12)
    pid = validator.children()["app"]
    validator.stop()
    assert not Path(f"/proc/{pid}").exists()
    genesis, data = chain.genesis.read_bytes(), validator.home / "app.db"
    log = max(data.glob("*.log"), key=lambda path: path.name)
    size, rng, copy = log.stat().st_size, random.Random(2), tmp_path / "copy"
    roots: dict[int, bytes] = {}
    refusals = 0
    for cut in [*rng.sample(range(size), 60), size - 1, 0]:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(data, copy)
        with (copy / log.name).open("r+b") as file:
            file.truncate(cut)
        found = opened(copy, genesis)
        if isinstance(found, str):
            assert "remove it" in found, found
            refusals += 1
        elif found[0]:
            assert roots.setdefault(*found) == found[1]
    assert len(roots) > 3
    measured("F2", truncations=62, refusals=refusals, heights=len(roots))
    shutil.rmtree(data)
    shutil.copytree(copy, data)
    validator.start()
    until(lambda: validator.height() >= max(roots) + 2, validator.log)
    assert {at: validator.app_hash(at + 1) for at in roots} == {at: root.hex().upper() for at, root in roots.items()}


@pytest.mark.slow
def test_f02_torn_writes_at_many_places(
    make_chain: Any, fast: Any, faults: Any, until: Any, same_as_undisturbed: Any, measured: Any
) -> None:
    validator = make_chain(1, params=fast).validators[0]
    fault, rng = faults(validator), random.Random(3)
    seconds: list[float] = []
    for _ in range(20):
        validator.start()
        until(lambda: validator.height() > 1, validator.log)
        height = validator.height()
        until(lambda h=height: validator.height() > h, validator.log)
        log = max((validator.home / "app.db").glob("*.log"), key=lambda path: path.name)
        pid = validator.children()["app"]
        fault.order("torn", bytes=log.stat().st_size + int(2 ** rng.uniform(0, 12)))
        until(lambda p=pid: validator.children().get("app") not in (None, p), validator.log)
        seconds.append(until(lambda h=height: validator.height() >= h + 3, validator.log))
        assert validator.stop() == 0
    measured("F2", torn=len(seconds), slowest_recovery_s=round(max(seconds), 2))
    validator.start()
    until(lambda: validator.height() > 1, validator.log)
    same_as_undisturbed(validator)
