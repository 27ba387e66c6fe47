"""F9: rows, tree nodes, the app hash or LevelDB's own files are changed, or gone; and an application that is simply wrong."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import plyvel
import pytest

from abci_app.aio.storage import LevelStore, StoreError

CHAIN_ID = "ledger-test"


def damage_entry(prefix: bytes, change: Callable[[bytes], bytes | None]) -> Callable[[Path], None]:
    """Changes, or deletes, one entry of this kind."""

    def damage(path: Path) -> None:
        database = plyvel.DB(str(path))
        entries = list(database.iterator(prefix=prefix))
        key, value = entries[len(entries) // 2]
        changed = change(value)
        database.put(key, changed) if changed is not None else database.delete(key)
        database.close()

    return damage


def damage_file(pattern: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        change(max(path.glob(pattern), key=lambda file: file.stat().st_size))

    return damage


def flip(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


def flip_many(file: Path) -> None:
    raw, rng = bytearray(file.read_bytes()), random.Random(9)
    for at in rng.sample(range(len(raw)), max(1, len(raw) // 200)):
        raw[at] ^= 0x55
    file.write_bytes(raw)


DAMAGES = {
    "row changed": damage_entry(b"s", flip),
    "row deleted": damage_entry(b"s", lambda _: None),
    "tree node changed": damage_entry(b"t", flip),
    "tree node deleted": damage_entry(b"t", lambda _: None),
    "app hash changed": damage_entry(b"m", lambda raw: flip(raw[:-4]) + raw[-4:]),
    "format unknown": damage_entry(b"m", lambda raw: b"\x08\x63" + raw[2:]),
    "table file damaged": damage_file("*.ldb", flip_many),
    "CURRENT lost": damage_file("CURRENT", Path.unlink),
    "CURRENT damaged": damage_file("CURRENT", lambda file: file.write_bytes(b"MANIFEST-999999\n")),
    "manifest damaged": damage_file("MANIFEST-*", flip_many),
    "table file lost": damage_file("*.ldb", Path.unlink),
}


def damaged(data: Path, copy: Path, damage: Callable[[Path], None]) -> Path:
    shutil.copytree(data, copy)
    damage(copy)
    return copy


def opened(path: Path, genesis: bytes) -> str:
    """Why a start refuses this directory; empty when it does not."""
    try:
        LevelStore(path, chain_id=CHAIN_ID, genesis_hash=genesis).close()
    except StoreError as error:
        return str(error)
    return ""


def test_f09_each_damage_is_refused_with_advice(
    make_chain: Any, fast: Any, registration: Any, committed: Any, until: Any, measured: Any, tmp_path: Path
) -> None:
    chain = make_chain(1, params=fast)
    validator = chain.validators[0]
    validator.start()
    validator.wait_height(2)
    for number in range(2):
        committed(validator, registration(number))
    assert validator.stop() == 0
    data, genesis = validator.home / "app.db", sha256(chain.genesis.read_bytes()).digest()
    LevelStore(data, chain_id=CHAIN_ID, genesis_hash=genesis).close()  # reads the log into a table file
    said = {name: opened(damaged(data, tmp_path / name.replace(" ", "-"), damage), genesis) for name, damage in DAMAGES.items()}
    unrefused = {name: reason for name, reason in said.items() if "remove it" not in reason and "name another" not in reason}
    assert not unrefused
    measured("F9", damages=len(said), refused=len(said))
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "row-deleted", data)
    validator.start()
    assert validator.process.wait() == 3
    validator.process = None
    assert "is corrupt: row" in validator.log() and "cannot start" in validator.log()
    shutil.rmtree(data)  # what the message advises
    height = 2
    validator.start()
    seconds = until(lambda: validator.height() > height, validator.log)
    measured("F9", replayed_s=round(seconds, 2))
    validator.wait_height(validator.height() + 2)


@pytest.mark.slow
def test_f09_a_wrong_app_hash_stops_one_replica_and_nobody_else(
    make_chain: Any, fast: Any, faults: Any, until: Any, same_everywhere: Any, measured: Any
) -> None:
    """A replica that computes another app hash than its peers stops with a reason, and comes back once reset."""
    chain = make_chain(4, params=fast, interval_ms=200)
    wrong = chain.validators[2]
    fault = faults(wrong)
    chain.start()
    chain.wait_height(3)
    fault.order("wrong_hash")
    until(lambda: "decides nothing any more" in wrong.log(), wrong.log)
    until(lambda: wrong.process.poll() is not None, wrong.log)
    assert wrong.stop() == 3
    assert "planetserve validator reset" in wrong.log()
    fault.revoke("wrong_hash")
    chain.validators[0].wait_height(chain.validators[0].height() + 3)
    words = [sys.executable, "-m", "abci_app.cli", "reset", "--yes", "--config", str(wrong.home / "config.toml")]
    subprocess.run(words, check=True, cwd=Path(__file__).parents[3])
    wrong.start()
    seconds = until(lambda: wrong.height() >= chain.validators[0].height(), wrong.log)
    measured("F9", wrong_hash_recovered_s=round(seconds, 2))
    same_everywhere(chain)
