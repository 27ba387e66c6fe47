"""The operator's commands against a validator that they made themselves: a chain of one, from `init` to `reset`."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from abci_app.aio.settings import load_config
from abci_app.cli.status import look
from abci_app.cli.unit import unit

SECRETS = ("signing_seed", "onion_private", "priv_key")


def run(*words: str | Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "network.cli.main", "validator", *map(str, words)]
    return subprocess.run(command, input=typed, capture_output=True, text=True, check=False)


def document(*words: str | Path, code: int = 0) -> Any:
    done = run(*words, "--output", "json")
    assert done.returncode == code, done.stderr + done.stdout
    return json.loads(done.stdout)


@contextlib.contextmanager
def started(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`planetserve validator start`, ended with the block."""
    with (home.parent / f"{home.name}.log").open("ab") as log:
        command = [sys.executable, "-m", "network.cli.main", "validator", "start", str(home)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def height(home: Path) -> int:
    """How far a validator that follows the chain is; 0 for one that does not."""
    document = look(load_config(home / "config.toml"))
    return 0 if document["reason"] else int(document["cometbft"]["height"])


def until(holds: Callable[[], bool], home: Path) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, (home.parent / f"{home.name}.log").read_text()[-3000:]
        time.sleep(0.2)


@pytest.fixture
def ports() -> list[str]:
    found: list[str] = []
    for port in range(24300 + os.getpid() % 300, 25300):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(f"127.0.0.1:{port}")
        if len(found) == 6:
            break
    return found


@pytest.fixture
def home(tmp_path: Path, ports: list[str], comet_binary: Path) -> Path:
    """A fresh validator that begins a chain of its own."""
    made = tmp_path / "mine"
    where = ["--rpc", ports[0], "--p2p", ports[1], "--metrics", ports[2], "--cometbft", comet_binary]
    said = document("init", made, "--chain-id", "operator-test", "--block-interval", "100", *where)
    assert said["chain_id"] == "operator-test" and said["peer"].endswith(f"@{ports[1]}")
    return made


@pytest.mark.e2e
def test_a_validator_s_life(home: Path) -> None:
    (home / "config.toml").write_text((home / "config.toml").read_text().replace("= 500", "= 0"))
    before = document("status", home, code=4)
    assert not before["running"] and before["reason"] == "it does not run"
    with started(home):
        until(lambda: height(home) > 0, home)
        until(lambda: height(home) >= 5, home)
        well = document("status", home)
        assert set(well["processes"]) == {"application", "cometbft"} and well["application"]["ready"]
        assert well["verifier"] == "not enabled"
        assert well["cometbft"]["voting_power"] == 10 and well["cometbft"]["missed_blocks"].startswith("0 of ")
        assert well["disk"]["application_bytes"] > 0 and well["signed"]["height"] >= 5
        for command in (("reset", home, "--yes"), ("guard", home, "--raise-to", "900")):
            refused = run(*command)
            assert refused.returncode == 3 and "stop it first" in refused.stderr
    signed = document("guard", home)["state"]
    key = (home / "comet" / "config" / "priv_validator_key.json").read_bytes()
    declined = run("reset", home, typed="no\n")
    assert declined.returncode == 1 and "nothing is removed" in declined.stdout and (home / "app.db").exists()
    assert run("reset", home, "--yes").returncode == 0
    assert not (home / "app.db").exists() and not (home / "comet" / "data" / "blockstore.db").exists()
    assert document("guard", home)["state"] == signed, "what the key has signed is never reset"
    assert (home / "comet" / "config" / "priv_validator_key.json").read_bytes() == key
    assert "there is no data" in run("reset", home, "--yes").stdout


@pytest.mark.e2e
def test_one_block_back_and_a_snapshot_back(home: Path, tmp_path: Path) -> None:
    with started(home):
        until(lambda: height(home) >= 8, home)
        for command in (
            ("rollback", home, "--yes"),
            ("snapshot", "create", home),
            ("restore", "1", home, "--yes"),
            ("doctor", home),
        ):
            refused = run(*command)
            assert refused.returncode != 0, command
    sound = document("doctor", home)
    made = document("snapshot", "create", home)
    assert made["height"] == sound["height"] and made["app_hash"] == sound["app_hash"]
    assert document("snapshot", "list", home) == {"snapshots": [made]}
    assert run("rollback", home, typed="n\n").returncode == 1
    back = run("rollback", home, "--yes")
    assert back.returncode == 0 and f"are at height {sound['height'] - 1}" in back.stdout, back
    assert document("doctor", home)["height"] == sound["height"] - 1
    with started(home):
        until(lambda: height(home) >= sound["height"] + 3, home)
    after = document("doctor", home)
    genesis = json.loads(run("export", home, "--height", str(made["height"])).stdout)
    assert genesis["initial_height"] == str(made["height"] + 1) and genesis["app_hash"].lower() == made["app_hash"]
    assert run("export", home, "--height", "1000").returncode == 1
    assert run("export", home, "--genesis-time", "tomorrow").returncode == 3
    exported = tmp_path / "state.snapshot"
    assert document("snapshot", "export", str(made["height"]), exported, home) == made
    shutil.rmtree(home / "app.db")
    restored = run("restore", exported, home, "--yes")
    assert restored.returncode == 0 and made["app_hash"] in restored.stdout, restored
    with started(home):
        until(lambda: height(home) > after["height"], home)
    assert run("snapshot", "delete", str(made["height"]), home).returncode == 0
    assert document("snapshot", "list", home) == {"snapshots": []}
    assert run("restore", str(made["height"]), home, "--yes").returncode == 1
    assert run("reset", home, "--yes").returncode == 0
    fresh = run("restore", exported, home, "--yes")
    assert fresh.returncode == 1 and "[comet.statesync]" in fresh.stderr


@pytest.mark.e2e
def test_the_chain_goes_on_from_an_exported_genesis(home: Path, tmp_path: Path, ports: list[str], comet_binary: Path) -> None:
    with started(home):
        until(lambda: height(home) >= 5, home)
    end = document("doctor", home)
    exported = tmp_path / "exported.json"
    exported.write_text(run("export", home, "--genesis-time", "2026-01-01T00:00:00Z").stdout)
    assert exported.read_text() == run("export", home, "--genesis-time", "2026-01-01T00:00:00Z").stdout
    after = tmp_path / "after"
    where = ["--rpc", ports[3], "--p2p", ports[4], "--metrics", ports[5], "--cometbft", comet_binary]
    document("init", after, "--genesis", exported, *where)
    shutil.copy(home / "comet" / "config" / "priv_validator_key.json", after / "comet" / "config")
    with started(after):
        until(lambda: height(after) >= end["height"] + 3, after)
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "header", "params": {"height": str(end["height"] + 1)}})
        with urllib.request.urlopen(urllib.request.Request(f"http://{ports[3]}", body.encode())) as response:
            header = json.load(response)["result"]["header"]
    assert header["app_hash"].lower() == end["app_hash"], "the first block after stands on the same ledger"


@pytest.mark.e2e
def test_a_lost_signing_state_is_raised_and_never_lowered(home: Path) -> None:
    with started(home):
        until(lambda: height(home) > 0, home)
    state = home / "comet" / "data" / "priv_validator_state.json"
    signed = document("guard", home)["mark"]["height"]
    state.unlink()
    refused = run("start", home)
    assert refused.returncode == 3 and f"has signed height {signed}" in refused.stderr and "--raise-to" in refused.stderr
    assert run("guard", home, "--raise-to", str(signed - 1)).returncode == 3
    assert "no chain has" in run("guard", home, "--raise-to", str(2**63)).stderr
    raised = document("guard", home, "--raise-to", str(signed + 50))
    assert raised["state"] == raised["mark"] == {"height": signed + 50, "round": 0, "step": 3}
    assert json.loads(state.read_text()).keys() == {"height", "round", "step"}, "no signature that could be used again"


@pytest.mark.e2e
def test_a_second_validator_joins_the_chain_of_the_first(
    home: Path, tmp_path: Path, ports: list[str], comet_binary: Path
) -> None:
    with started(home):
        until(lambda: height(home) > 0, home)
        shown = subprocess.run(
            [comet_binary, "show-node-id", f"--home={home / 'comet'}"], capture_output=True, text=True, check=True
        )
        joined = tmp_path / "joined"
        peer = f"{shown.stdout.strip()}@{ports[1]}"
        where = ["--rpc", ports[3], "--p2p", ports[4], "--metrics", ports[5], "--cometbft", comet_binary]
        said = document("init", joined, "--genesis", home / "genesis.json", "--peer", peer, *where)
        assert said["chain_id"] == "operator-test" and any("tx propose validator" in step for step in said["next"])
        with started(joined):
            until(lambda: height(joined) >= 5, joined)
            assert document("status", joined)["cometbft"]["peers"] == 1
            assert document("status", joined)["cometbft"]["missed_blocks"] is None, "it has no vote yet"
            step = next(step for step in said["next"] if "tx propose validator" in step)
            words = step[step.index("tx propose validator") : step.index("--keys")].split()
            where = ["--keys", home / "verifier_keys.json", "--rpc", f"http://{ports[0]}", "--genesis", home / "genesis.json"]
            command = [sys.executable, "-m", "network.cli.main", *words, *map(str, where)]
            proposed = subprocess.run(command, capture_output=True, text=True, check=False)
            assert proposed.returncode == 0, proposed.stderr + proposed.stdout
            until(lambda: signs(joined), joined)


def signs(home: Path) -> bool:
    """Whether the validator has a vote and its signature is in one of the latest commits."""
    comet = look(load_config(home / "config.toml"))["cometbft"]
    if not comet or not comet["voting_power"] or not comet["missed_blocks"]:
        return False
    missed, seen = comet["missed_blocks"].split(" of ")
    return int(missed) < int(seen)


def test_init_overwrites_nothing_and_leaves_nothing_half(tmp_path: Path, comet_binary: Path) -> None:
    made = tmp_path / "v"
    cometbft = ["--cometbft", comet_binary]
    for words, reason in (
        ([], "--chain-id ID to begin one"),
        (["--genesis", tmp_path / "none.json"], "cannot be read"),
        (["--chain-id", "c", "--rpc", "0.0.0.0:1"], "loopback only"),
        (["--chain-id", "c", "--rpc", "nowhere"], "must be HOST:PORT"),
    ):
        refused = run("init", made, *words, *cometbft)
        assert refused.returncode == 3 and reason in refused.stderr, refused
        assert os.listdir(tmp_path) == []
    done = run("init", made, "--chain-id", "c", *cometbft)
    assert done.returncode == 0 and "planetserve validator start" in done.stdout
    secret = json.loads((made / "verifier_keys.json").read_text())["signing_seed"]
    assert secret not in done.stdout and all(word not in done.stdout for word in SECRETS)
    for path in made.rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o077 == 0, path
    again = run("init", made, "--chain-id", "c", *cometbft)
    assert again.returncode == 3 and "exists already" in again.stderr
    other = run("init", tmp_path / "w", "--genesis", made / "genesis.json", "--chain-id", "d", *cometbft)
    assert other.returncode == 3 and "is of the chain 'c'" in other.stderr


def test_upgrades_are_registered_listed_and_forgotten(home: Path, tmp_path: Path) -> None:
    missing = run("upgrade", "add", "spring", home, "--python", tmp_path / "none")
    assert missing.returncode == 3 and "there is no" in missing.stderr
    foreign = run("upgrade", "add", "spring", home, "--python", shutil.which("true") or "")
    assert foreign.returncode == 3 and "does not hold a PlanetServe" in foreign.stderr
    assert document("upgrade", "list", home) == {"environments": [], "current": ""}
    added = run("upgrade", "add", "spring", home, "--python", sys.executable)
    assert added.returncode == 0 and "application version" in added.stdout, added.stderr
    entry = {"name": "spring", "python": sys.executable, "height": 0, "in_use": False}
    assert document("upgrade", "list", home)["environments"] == [entry]
    assert run("upgrade", "remove", "spring", home).returncode == 0
    unknown = run("upgrade", "remove", "spring", home)
    assert unknown.returncode == 3 and "no environment is registered" in unknown.stderr


def test_a_validator_is_named_in_one_way(home: Path) -> None:
    for words in ([], ["mine", "--config", home / "config.toml"]):
        refused = run("status", *words)
        assert refused.returncode == 3 and "name one validator" in refused.stderr
    assert run("status", "mine", "--home", home.parent).returncode == 4
    assert run("status", "--config", home / "config.toml").returncode == 4
    assert run("status", "nobody", "--home", home.parent).returncode == 3


def test_the_systemd_unit_is_one_that_systemd_takes(home: Path, tmp_path: Path) -> None:
    done = run("systemd", home)
    assert done.returncode == 0 and f'--config "{home}/config.toml"' in done.stdout
    odd = unit('50% "x"', Path("/srv/a b%/config.toml"), Path("/opt/p$y"), "nobody", Path("/srv/a b%/comet"))
    assert '--config "/srv/a b%%/config.toml"' in odd and '"/opt/p$$y"' in odd
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("no systemd-analyze here to judge the unit")
    path = tmp_path / "planetserve-validator.service"
    path.write_text(done.stdout)
    judged = subprocess.run([analyze, "verify", path], capture_output=True, text=True, check=False)
    assert path.name not in judged.stderr, judged.stderr


def test_a_service_manager_is_told_that_the_validator_runs(home: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(120)
        command = [sys.executable, "-m", "abci_app", "--config", str(home / "config.toml")]
        environ = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
        assert manager.recv(64) == b"READY=1"
        assert manager.recv(64) == b"WATCHDOG=1"
        process.send_signal(signal.SIGTERM)
        while (word := manager.recv(64)) == b"WATCHDOG=1":
            continue
        assert word == b"STOPPING=1"
        assert process.wait() == 0
