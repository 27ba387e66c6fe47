"""The supervisor at an upgrade's height: it goes on with the registered environment, and without one it says what to do.

The old release is ours with one fault added from outside: a `sitecustomize` lets it need an upgrade at block 4.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abci_app.aio import upgrades
from abci_app.aio.settings import load_config
from abci_app.upgrades import Environment, Plan, Upgrades
from network.errors import ConfigError

OLD_RELEASE = """
import os, sys
if "abci_app.app" in sys.orig_argv and "NEW_RELEASE" not in os.environ:
    from abci_app.application import Application
    from abci_app.state.errors import UpgradeNeeded
    sound = Application.finalize_block
    def finalize_block(self, block, txs):
        if block.height >= 4:
            raise UpgradeNeeded("spring", 4, 2)
        return sound(self, block, txs)
    Application.finalize_block = finalize_block
"""


@pytest.fixture
def old(make_chain: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(OLD_RELEASE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return make_chain(1).validators[0]


def new_release(folder: Path) -> Path:
    """An environment's interpreter."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nNEW_RELEASE=1 exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def test_without_an_environment_the_validator_stops_and_says_what_to_do(old: Any) -> None:
    for _ in range(2):
        old.start()
        assert old.process.wait() == 4, old.log()
        old.process = None
        assert "planetserve validator upgrade add spring --python PATH" in old.log()
        assert json.loads((old.home / "upgrade-info.json").read_text()) == {"name": "spring", "height": 4, "version": 2}


def test_a_registered_environment_takes_over_at_the_height_and_stays(old: Any, tmp_path: Path) -> None:
    config = load_config(old.home / "config.toml")
    python = new_release(tmp_path)
    upgrades.save(config, Upgrades().add("spring", str(python)))
    old.start()
    before = old.process.pid
    old.wait_height(6)
    assert old.process.pid == before, "the supervisor itself goes on"
    assert "application goes on with" in old.log()
    app = old.children()["app"]
    assert b"NEW_RELEASE=1" in Path(f"/proc/{app}/environ").read_bytes()
    assert upgrades.load(config) == Upgrades((Environment("spring", str(python), 4),), "spring")
    assert old.stop() == 0
    old.start()
    old.wait_height(8)
    assert b"NEW_RELEASE=1" in Path(f"/proc/{old.children()['app']}/environ").read_bytes(), "a new start uses it at once"


def test_an_environment_that_is_not_new_enough_is_said(old: Any) -> None:
    config = load_config(old.home / "config.toml")
    upgrades.save(config, Upgrades().add("spring", sys.executable))
    old.start()
    assert old.process.wait() == 4, old.log()
    old.process = None
    assert "is not that release" in old.log()


def test_an_environment_that_has_gone_is_said(old: Any, tmp_path: Path) -> None:
    config = load_config(old.home / "config.toml")
    python = new_release(tmp_path)
    registry = Upgrades().add("spring", str(python)).switch(Plan("spring", 4, 2))
    assert upgrades.python(registry) == str(python)
    upgrades.save(config, registry)
    python.unlink()
    old.start()
    assert old.process.wait() == 3, old.log()
    old.process = None
    assert "does not exist any more" in old.log()


def test_a_lost_note_or_a_foreign_registry_is_said(make_chain: Callable[..., Any]) -> None:
    home = make_chain(1).validators[0].home
    config = load_config(home / "config.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        upgrades.announced(config)
    (home / "upgrades.json").write_text("[]")
    with pytest.raises(ConfigError, match="not a JSON object"):
        upgrades.load(config)


def test_only_a_python_with_a_release_is_registered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not run"):
        upgrades.probe(tmp_path / "none")
    empty = tmp_path / "python"
    empty.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    empty.chmod(0o755)
    with pytest.raises(ConfigError, match="does not hold a PlanetServe"):
        upgrades.probe(empty)
