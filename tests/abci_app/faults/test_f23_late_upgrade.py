"""F23: the chain upgrades at a height, and one of four validators has no release for it, then the wrong one, then the right."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from network.chain_tx import Propose, UpgradePlan

ROOT = Path(__file__).parents[3]
VERSION = re.compile(r"^SUPPORTED_APP_VERSION = (\d+)$", re.MULTILINE)


def release(folder: Path, version: int) -> Path:
    """A release of its own: these sources in another place with this application version, and a python that runs them."""
    for package in ("abci_app", "network"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    source = folder / "abci_app" / "state" / "upgrade.py"
    text, count = VERSION.subn(f"SUPPORTED_APP_VERSION = {version}", source.read_text())
    assert count == 1
    source.write_text(text)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\ncd {folder} && exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def register(validator: Any, name: str, python: Path, *, verb: str = "add") -> None:
    words = [sys.executable, "-m", "abci_app.cli", "upgrade", verb, name, "--config", str(validator.home / "config.toml")]
    words += ["--python", str(python)] if verb == "add" else []
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def app_version(validator: Any) -> int:
    return int(validator.call("abci_info")["response"].get("app_version", 0))


@pytest.mark.slow
def test_f23_a_late_node_halts_cleanly_and_catches_up(
    make_chain: Any,
    fast: Any,
    decide: Any,
    until: Any,
    registration: Any,
    committed: Any,
    same_everywhere: Any,
    measured: Any,
    tmp_path: Path,
) -> None:
    chain = make_chain(4, params=fast, interval_ms=200)
    chain.start()
    chain.wait_height(3)
    newer, same = release(tmp_path / "newer", 2), release(tmp_path / "same", 1)
    witness, late = chain.validators[0], chain.validators[3]
    for validator in chain.validators[:3]:
        register(validator, "second", newer)
    at = witness.height() + 25
    decide(chain.validators, Propose("the second version", upgrade=UpgradePlan("second", at, 2)))
    until(lambda: late.process.poll() is not None, late.log)
    assert late.stop() == 4
    assert "upgrade" in late.log() and "'second'" in late.log() and "planetserve validator upgrade add second" in late.log()
    until(lambda: witness.height() >= at + 4, witness.log)
    assert app_version(witness) == 2, "three of four went on with the new release by themselves"
    assert witness.call("header", height=str(at + 1))["header"]["version"]["app"] == "2"
    raw = registration(1)
    assert committed(witness, raw).get("code", 0) == 0

    register(late, "second", same)
    late.start()
    until(lambda: late.process.poll() is not None, late.log)
    assert late.stop() == 4 and "is not that release" in late.log()

    registry = late.home / "upgrades.json"
    register_again(late, registry, newer)
    late.start()
    seconds = until(lambda: late.height() >= witness.height(), late.log)
    assert app_version(late) == 2
    measured("F23", halted_at=at - 1, caught_up_s=round(seconds, 2), heights=same_everywhere(chain))
    assert late.stop() == 0
    late.start()
    until(lambda: late.height() >= witness.height(), late.log)


def register_again(validator: Any, registry: Path, python: Path) -> None:
    """What the message advises: install the right release where the wrong one is."""
    (wrong,) = re.findall(r'"python": "([^"]+)"', registry.read_text())
    shutil.copy(python, wrong)
    assert validator.home in registry.parents
