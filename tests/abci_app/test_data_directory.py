"""A real validator's data: a height rolled back, a damaged directory restored, the chain exported, blocks pruned."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from abci_app.aio.archive import export_snapshot, restore_snapshot
from abci_app.aio.snapshots import SnapshotFolder
from abci_app.aio.storage import LevelStore
from abci_app.genesis_document import export_genesis

CHAIN_ID = "ledger-test"


def open_store(validator: Any, genesis: Path) -> LevelStore:
    raw = genesis.read_bytes()
    return LevelStore(validator.home / "app.db", chain_id=CHAIN_ID, genesis_hash=sha256(raw).digest())


def rewrite_genesis(chain: Any, document: dict[str, Any]) -> None:
    text = json.dumps(document)
    chain.genesis.write_text(text)
    for validator in chain.validators:
        (validator.home / "comet" / "config" / "genesis.json").write_text(text)


def last_hashes(validator: Any) -> dict[int, str]:
    """The app hashes in the newest headers."""
    height = validator.height()
    return {at: validator.app_hash(at) for at in range(height - 3, height + 1)}


def wait_same(validator: Any, hashes: dict[int, str]) -> None:
    """The validator goes on, and these headers have not changed."""
    validator.wait_height(max(hashes) + 3)
    assert {at: validator.app_hash(at) for at in hashes} == hashes


def test_the_life_of_a_data_directory(make_chain: Callable[..., Any], comet_binary: Path, tmp_path: Path) -> None:
    chain = make_chain(1)
    validator = chain.validators[0]
    document = json.loads(chain.genesis.read_text())
    with (validator.home / "config.toml").open("a") as file:
        file.write("snapshot_interval = 10\nsnapshot_keep = 1\n")
    validator.start()
    validator.wait_height(12)
    hashes = last_hashes(validator)
    assert validator.stop() == 0

    # One height back, in the application and in CometBFT.
    store = open_store(validator, chain.genesis)
    store.verify_all()
    said = subprocess.run(
        [str(comet_binary), "rollback", "--home", str(validator.home / "comet")], capture_output=True, text=True, check=True
    ).stdout
    back_to = int(said.split("height ")[1].split()[0])
    assert store.height == back_to + 1 and store.rollback() == back_to
    store.close()
    validator.start()
    wait_same(validator, hashes)
    hashes = last_hashes(validator)
    assert validator.stop() == 0

    # A damaged directory is refused, and restored from a snapshot; CometBFT hands the rest over again.
    carried = tmp_path / "carried"
    snapshots = SnapshotFolder(validator.home / "snapshots")
    export_snapshot(snapshots, snapshots.list()[0].height, carried)
    for table in (validator.home / "app.db").glob("*.ldb"):
        table.write_bytes(os.urandom(len(table.read_bytes())))
    (validator.home / "app.db" / "CURRENT").write_text("MANIFEST-999999\n")
    validator.start()
    assert validator.process.wait() == 3
    validator.process = None
    assert "restore" in validator.log()
    genesis_hash = sha256(chain.genesis.read_bytes()).digest()
    restore_snapshot(carried, validator.home / "app.db", chain_id=CHAIN_ID, genesis_hash=genesis_hash)
    validator.start()
    wait_same(validator, hashes)
    assert validator.stop() == 0

    # The chain ends, and goes on from an exported genesis with the same validator.
    store = open_store(validator, chain.genesis)
    height, ended_with = store.height, store.app_hash
    text = export_genesis(document, store.version(height), height, ended_with, document["genesis_time"])
    store.close()
    for name in ("app.db", "snapshots", "comet/data"):
        target = validator.home / name
        state = target / "priv_validator_state.json"
        guard = state.read_bytes() if state.exists() else b""
        shutil.rmtree(target)
        if guard:
            target.mkdir()
            state.write_bytes(guard)
    rewrite_genesis(chain, json.loads(text))
    validator.start()
    validator.wait_height(height + 4)
    first = validator.call("block", height=str(height + 1))["block"]["header"]
    assert first["app_hash"] == ended_with.hex().upper()
    assert validator.query(b"\x03params", height=height + 2)["value"]
    assert validator.stop() == 0


@pytest.mark.slow
def test_blocks_go_when_nothing_needs_them(make_chain: Callable[..., Any], wait_until: Callable[..., None]) -> None:
    """Up to the oldest snapshot, and no further than the oldest of the 100 versions that are kept."""
    chain = make_chain(1)
    validator = chain.validators[0]
    document = json.loads(chain.genesis.read_text())
    document["consensus_params"]["evidence"] |= {"max_age_num_blocks": "5", "max_age_duration": "1000000000"}
    rewrite_genesis(chain, document)
    with (validator.home / "config.toml").open("a") as file:
        file.write("snapshot_interval = 15\nsnapshot_keep = 10\nretain_blocks = 8\n")
    validator.start()
    validator.wait_height(130)
    wait_until(lambda: base(validator) > 20, validator.log)
    oldest = min(int(entry.name) for entry in (validator.home / "snapshots").iterdir() if entry.name.isdigit())
    assert base(validator) <= validator.height() - 100 + 1 and base(validator) <= oldest + 15
    os.kill(validator.children()["app"], signal.SIGKILL)
    validator.wait_height(validator.height() + 10)
    fresh = chain.join("fresh")
    fresh.start()
    time.sleep(5)
    assert fresh.height() == 0, "no peer has the first block any more"
    fresh.stop()
    assert validator.stop() == 0


def base(validator: Any) -> int:
    return int(validator.call("status")["sync_info"]["earliest_block_height"])
