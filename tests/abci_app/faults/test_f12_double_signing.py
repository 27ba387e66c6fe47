"""F12: one consensus key signs in two places at once. The committee goes on, and the ledger punishes the key once."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from abci_app.config import render_node_key, render_validator_state
from network.chain_records import ValidatorRecord, validator_key
from network.codec import decode
from network.crypto import SigningKey, sha256
from network.ids import node_id

ROOT = Path(__file__).parents[3]


class Twin:
    """A second CometBFT with a validator's key, and an application of its own, started as no operator would: the supervisor
    refuses a key that is in use on this machine."""

    def __init__(self, validator: Any, ports: list[int], binary: Path) -> None:
        self.home = validator.home.parent / "twin"
        shutil.copytree(validator.home, self.home, ignore=shutil.ignore_patterns("app.db", "data", "log", "app.sock", "faults"))
        comet = self.home / "comet"
        (comet / "data").mkdir()
        (comet / "data" / "priv_validator_state.json").write_text(render_validator_state())
        (comet / "config" / "node_key.json").write_text(render_node_key(SigningKey(sha256(b"the twin's node"))))
        self._ports, self._binary = ports, binary
        config = self.home / "config.toml"
        config.write_text(config.read_text().replace(f":{validator.metrics_port}", f":{ports[2]}"))
        self.folder = self.home / "faults"
        self.folder.mkdir()
        (self.folder / "refuse.json").write_text("{}")
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "inject"), "PLANETSERVE_FAULTS": str(self.folder)}
        log = (self.home / "log").open("ab")
        app = [sys.executable, "-m", "abci_app.app", "--config", str(self.home / "config.toml")]
        comet = [str(self._binary), "start", f"--home={self.home / 'comet'}", f"--proxy_app=unix://{self.home / 'app.sock'}"]
        comet += [f"--rpc.laddr=tcp://127.0.0.1:{self._ports[0]}", f"--p2p.laddr=tcp://127.0.0.1:{self._ports[1]}"]
        for command in (app, comet):
            self.processes.append(subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log))
        log.close()

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.processes = []


@pytest.fixture
def twin_of(comet_binary: Path, free: Any) -> Iterator[Any]:
    made: list[Twin] = []

    def make(validator: Any) -> Twin:
        made.append(Twin(validator, free(3), comet_binary))
        return made[-1]

    yield make
    for twin in made:
        twin.stop()


def evidence(validator: Any, low: int, high: int) -> list[tuple[int, Any]]:
    """(height, piece of evidence) in these blocks."""
    found = []
    for height in range(low, high + 1):
        block = validator.call("block", height=str(height))["block"]
        found += [(height, piece) for piece in block["evidence"]["evidence"]]
    return found


def record(validator: Any, address: bytes) -> ValidatorRecord | None:
    value = validator.query(validator_key(address)).get("value")
    return decode(ValidatorRecord, base64.b64decode(value)) if value else None


def test_f12_a_key_in_use_is_refused(make_chain: Any, measured: Any) -> None:
    """The guard: a copy of a validator's folder does not start beside the original."""
    validator = make_chain(1).validators[0]
    validator.start()
    validator.wait_height(2)
    copy = validator.home.parent / "copy"
    shutil.copytree(validator.home, copy, ignore=shutil.ignore_patterns("app.sock", "log"))
    command = [sys.executable, "-m", "abci_app", "--config", str(copy / "config.toml")]
    config = copy / "config.toml"
    for port in (validator.rpc_port, validator.rpc_port + 1, validator.metrics_port):
        config.write_text(config.read_text().replace(f":{port}", f":{port + 2000}"))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3, done.stderr
    assert "key" in done.stderr
    measured("F12", outcome="refused", said=done.stderr.strip()[:300])


@pytest.mark.slow
def test_f12_double_signing_is_punished_once(
    make_chain: Any, fast: Any, twin_of: Any, until: Any, measured: Any, registration: Any, committed: Any
) -> None:
    chain = make_chain(4, params=fast, interval_ms=200)
    chain.start()
    chain.wait_height(3)
    offender, witness = chain.validators[3], chain.validators[0]
    address = node_id(offender.key.public)
    twin = twin_of(offender)
    twin.start()
    low = witness.height()
    until(lambda: evidence(witness, max(1, witness.height() - 3), witness.height()), lambda: (twin.home / "log").read_text())
    twin.stop()
    until(lambda: witness.height() >= low + 12, witness.log)
    found = evidence(witness, low, witness.height())
    assert {piece["type"] for _, piece in found} == {"tendermint/DuplicateVoteEvidence"}
    first = found[0][0]
    until(lambda: witness.height() >= first + 4, witness.log)
    powers = {
        str(at): {v["address"] for v in witness.call("validators", height=str(at))["validators"]} for at in (first, first + 2)
    }
    assert address.hex().upper() in powers[str(first)] and address.hex().upper() not in powers[str(first + 2)]
    punished = record(witness, address)
    assert punished is None or punished.power == 0
    raw = registration(1)
    assert committed(witness, raw).get("code", 0) == 0, "three are left, and go on"
    kinds = [
        (at, event["type"])
        for at in range(low, witness.height())
        for event in witness.call("block_results", height=str(at)).get("finalize_block_events") or ()
    ]
    measured("F12", evidence=len(found), first=first, events=json.dumps([k for k in kinds if "epoch" not in k[1]])[:400])
