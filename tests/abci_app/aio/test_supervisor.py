"""The supervisor with real processes: a hanging CometBFT, the verifier's own life, and signals at any moment."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abci_app.aio.comet import environment
from abci_app.aio.preflight import preflight
from abci_app.aio.settings import load_config
from abci_app.aio.supervisor import is_ready
from abci_app.config import StateSync
from network.config import Address
from network.errors import ConfigError


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def await_true(holds: Callable[[], bool], validator: Any) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, validator.log()[-3000:]
        time.sleep(0.05)


def test_a_hanging_cometbft_is_killed_with_its_application(make_chain: Callable[..., Any]) -> None:
    validator = make_chain(1).validators[0]
    validator.start()
    validator.wait_height(2)
    before = validator.children()
    os.kill(before["comet"], signal.SIGSTOP)
    os.kill(before["app"], signal.SIGKILL)
    validator.wait_height(5)
    after = validator.children()
    assert gone(before["comet"]) and after["comet"] != before["comet"]
    assert "the application was killed by SIGKILL" in validator.log()


@pytest.mark.parametrize("moment", [0.0, 0.4])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_at_any_moment_of_the_start_leaves_nothing(
    make_chain: Callable[..., Any], moment: float, number: signal.Signals
) -> None:
    validator = make_chain(1).validators[0]
    validator.start()
    # Until Python has set its handlers, a signal ends the process by its default, which leaves nothing either.
    await_true(lambda: bool(validator.children()), validator)
    time.sleep(moment)
    pids = validator.children()
    assert validator.process is not None
    os.killpg(validator.process.pid, number) if number == signal.SIGINT else validator.process.send_signal(number)
    assert validator.process.wait() == 0, validator.log()
    validator.process = None
    assert all(gone(pid) for pid in pids.values())


def test_children_die_with_a_killed_supervisor(make_chain: Callable[..., Any]) -> None:
    validator = make_chain(1).validators[0]
    validator.start()
    validator.wait_height(2)
    pids = validator.children()
    validator.stop(signal.SIGKILL)
    await_true(lambda: all(gone(pid) for pid in pids.values()), validator)
    validator.start()
    validator.wait_height(5)


def test_the_verifier_lives_its_own_life(make_chain: Callable[..., Any]) -> None:
    """With settings it cannot work with, the verifier ends; the chain goes on, and the supervisor says so."""
    validator = make_chain(1).validators[0]
    with (validator.home / "config.toml").open("a") as config:
        config.write('[verifier]\nenabled = true\nkeys = "no/keys.json"\n')
        config.write('model_path = "no.gguf"\nreference = "no.npy"\ngroup = "no"\n')
    validator.start()
    await_true(lambda: "the verifier exited with code" in validator.log(), validator)
    validator.wait_height(validator.height() + 2)


def test_is_ready_is_false_where_nobody_answers() -> None:
    assert not is_ready(Address("127.0.0.1", 1))


def test_preflight_names_what_is_missing(make_chain: Callable[..., Any]) -> None:
    validator = make_chain(1).validators[0]
    config = load_config(validator.home / "config.toml")
    preflight(config)
    comet = validator.home / "comet"
    for path, words in (
        (comet / "config" / "node_key.json", "node_key.json is missing"),
        (validator.home.parent / "genesis.json", "cannot be read"),
    ):
        kept = path.read_bytes()
        path.unlink()
        with pytest.raises(ConfigError, match=words):
            preflight(config)
        path.write_bytes(kept)
    genesis = comet / "config" / "genesis.json"
    genesis.write_text(genesis.read_text() + " ")
    with pytest.raises(ConfigError, match="a foreign chain's home"):
        preflight(config)


@pytest.mark.parametrize(
    ("said", "refused"),
    [("0.38.25", ""), ("0.39.0", ""), ("0.40.1", ""), ("0.39.4", "0.39.4"), ("1.0.1", "1.0.1"), ("", "of no version")],
)
def test_two_lines_of_cometbft_are_taken(make_chain: Callable[..., Any], tmp_path: Path, said: str, refused: str) -> None:
    validator = make_chain(1).validators[0]
    binary = tmp_path / "cometbft"
    binary.write_text(f"#!/bin/sh\necho {said}\n")
    binary.chmod(0o755)
    config = load_config(validator.home / "config.toml")
    config = replace(config, comet=replace(config.comet, binary=binary))
    if not refused:
        preflight(config)
        return
    with pytest.raises(ConfigError, match=f"is CometBFT {refused}; v0.38 or v0.40 is needed"):
        preflight(config)


def test_state_sync_and_metrics_reach_cometbft_by_its_environment(make_chain: Callable[..., Any]) -> None:
    validator = make_chain(1).validators[0]
    config = load_config(validator.home / "config.toml")
    sync = StateSync(("http://127.0.0.1:1", "http://127.0.0.1:2"), 7, "AB" * 32, "1h0m0s")
    wanted = replace(config, comet=replace(config.comet, statesync=sync, prometheus=Address("127.0.0.1", 5)))
    assert environment(config).keys() == {"GOMAXPROCS", "GOGC"}
    words = environment(wanted)
    assert words["CMT_STATESYNC_RPC_SERVERS"] == "http://127.0.0.1:1,http://127.0.0.1:2"
    assert words["CMT_INSTRUMENTATION_PROMETHEUS_LISTEN_ADDR"] == "127.0.0.1:5"
    preflight(wanted)
    own = config.comet.home / "config" / "config.toml"
    own.write_text(own.read_text().partition("[statesync]")[0])
    with pytest.raises(ConfigError, match=r"no \[statesync\] table to be set from ours"):
        preflight(wanted)
    preflight(config)
