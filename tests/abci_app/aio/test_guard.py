"""The guard with real files and processes: who may run with a consensus key, and with which signing state."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abci_app.aio.guard import Running, SigningGuard, holder, mark_path, read_signed, read_state
from abci_app.aio.settings import load_config
from abci_app.guard import Signed
from network.errors import ConfigError

STATE = "data/priv_validator_state.json"


def sign(home: Path, height: int) -> None:
    (home / STATE).write_text(json.dumps({"height": str(height), "round": 0, "step": 3, "signature": "AA=="}))


def test_the_mark_follows_and_never_goes_back(make_chain: Callable[..., Any]) -> None:
    validator = make_chain(1).validators[0]
    config = load_config(validator.home / "config.toml")
    guard = SigningGuard(config)
    guard.check()
    assert read_signed(mark_path(config)) == Signed()
    for height, mark in ((5, 5), (3, 5), (9, 9)):
        sign(config.comet.home, height)
        guard.tick()
        assert read_signed(mark_path(config)) == Signed(mark, 0, 3 if mark else 0)
    sign(config.comet.home, 8)
    with pytest.raises(ConfigError, match="says height 8 round 0 step 3, but this key has signed height 9"):
        guard.check()
    (config.comet.home / STATE).unlink()
    with pytest.raises(ConfigError, match="missing; it guards against signing twice"):
        guard.check()
    (config.comet.home / STATE).write_text("{")
    guard.tick()
    with pytest.raises(ConfigError, match="not a signing state"):
        guard.check()
    guard.close()


def test_a_mark_that_cannot_be_written_is_tried_again(
    make_chain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    validator = make_chain(1).validators[0]
    config = load_config(validator.home / "config.toml")
    guard = SigningGuard(config)
    guard.check()
    sign(config.comet.home, 7)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        guard.tick()
        guard.tick()
    assert caplog.text.count("cannot follow what the key signs") == 1
    assert read_signed(mark_path(config)) == Signed()
    guard.tick()
    assert read_signed(mark_path(config)) == Signed(7, 0, 3)
    guard.close()


def test_one_process_per_home_and_one_per_key(make_chain: Callable[..., Any]) -> None:
    validator = make_chain(1).validators[0]
    config = load_config(validator.home / "config.toml")
    copied = validator.home.with_name("copied")
    shutil.copytree(validator.home, copied)
    other = load_config(copied / "config.toml")
    guard = SigningGuard(config)
    assert holder(config.comet.home) == os.getpid()
    with pytest.raises(Running, match=f"pid {os.getpid()}"):
        SigningGuard(config)
    with pytest.raises(Running, match="would sign twice"):
        SigningGuard(other)
    guard.close()
    assert holder(config.comet.home) is None
    SigningGuard(other).close()
    assert read_state(other.comet.home) == Signed()


def test_the_locks_last_as_long_as_cometbft(make_chain: Callable[..., Any]) -> None:
    """A supervisor that was killed does not free its key while the process that signs still lives."""
    validator = make_chain(1).validators[0]
    config = load_config(validator.home / "config.toml")
    guard = SigningGuard(config)
    heir = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=guard.descriptors)
    guard.close()
    with pytest.raises(Running):
        SigningGuard(config)
    heir.kill()
    heir.wait()
    SigningGuard(config).close()


def test_a_validator_killed_whole_can_start_at_once(make_chain: Callable[..., Any]) -> None:
    """CometBFT needs a moment to follow its supervisor; the next start waits for it instead of giving up."""
    validator = make_chain(1).validators[0]
    validator.start()
    for height in (2, 4, 6):
        validator.wait_height(height)
        validator.stop(signal.SIGKILL)
        validator.start()
    validator.wait_height(8)


def test_a_copied_home_does_not_start_beside_the_first(make_chain: Callable[..., Any]) -> None:
    chain = make_chain(1)
    validator = chain.validators[0]
    validator.start()
    validator.wait_height(2)
    copied = validator.home.with_name("copied")
    shutil.copytree(validator.home, copied, ignore=shutil.ignore_patterns("*.sock"))
    text = (copied / "config.toml").read_text()
    for port in (validator.rpc_port, validator.rpc_port + 1, validator.metrics_port):
        text = text.replace(f":{port}", f":{port + 900}")
    (copied / "config.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "abci_app", "--config", str(copied / "config.toml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3 and "another validator on this machine runs with the consensus key" in done.stderr
    validator.stop()


def test_a_validator_that_signed_is_marked_within_moments(make_chain: Callable[..., Any]) -> None:
    validator = make_chain(1).validators[0]
    validator.start()
    validator.wait_height(5)
    config = load_config(validator.home / "config.toml")
    deadline = time.monotonic() + 60
    while (mark := read_signed(mark_path(config))) is None or mark.height < 5:
        assert time.monotonic() < deadline, mark
        time.sleep(0.1)
    assert validator.stop(signal.SIGTERM) == 0
    assert read_signed(mark_path(config)) == read_state(config.comet.home)
