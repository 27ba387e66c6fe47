"""Homes: whole or absent, never somebody else's folder."""

import json
from pathlib import Path

import pytest

from localnet.aio import home as homes
from localnet.aio.commands import DEFAULT_MANIFEST
from localnet.aio.home import Home
from localnet.errors import LocalnetError
from localnet.setup.pins import Layout

TEXT = DEFAULT_MANIFEST.read_text()


def test_a_home_is_read_back_as_it_was_made(home: Home, place: Layout) -> None:
    assert homes.load(home.path, place).plan == home.plan
    assert (home.path / "network.json").stat().st_mode & 0o777 == 0o600
    assert (home.path / "manifest.toml").read_text() == TEXT
    assert [path.name for path in home.path.parent.glob("net*")] == ["net"]


def test_two_homes_are_two_networks(home: Home, place: Layout, tmp_path: Path) -> None:
    other = homes.create(tmp_path / "other", TEXT, 12_000, place)
    assert other.identity.network != home.identity.network and other.identity.seed != home.identity.seed
    assert homes.load(other.path, place).identity.port_base == 12_000


def test_a_foreign_folder_is_refused_by_everything(tmp_path: Path, place: Layout) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    for action in (lambda path: homes.load(path, place), homes.exists, homes.wipe):
        with pytest.raises(LocalnetError, match="is not a home") as caught:
            action(tmp_path / "mine")
        assert caught.value.code == 3
    assert (tmp_path / "mine" / "file").exists()


def test_an_empty_folder_may_become_a_home(tmp_path: Path, place: Layout) -> None:
    (tmp_path / "empty").mkdir()
    assert not homes.exists(tmp_path / "empty")
    assert homes.create(tmp_path / "empty", TEXT, None, place).path.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "another release"),
        ({"seed": "not hex"}, "damaged"),
        ({"hashes": {}}, "damaged"),
    ],
)
def test_a_damaged_home_says_how_to_go_on(home: Home, place: Layout, change: dict[str, object], words: str) -> None:
    path = home.path / "network.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(LocalnetError, match=words) as caught:
        homes.load(home.path, place)
    assert "down --wipe" in str(caught.value)
    homes.wipe(home.path)
    assert not home.path.exists()


def test_no_home_is_made_from_a_bad_manifest_or_without_models(tmp_path: Path, place: Layout) -> None:
    with pytest.raises(LocalnetError, match="cannot be used"):
        homes.create(tmp_path / "net", "chain_id = 1", None, place)
    with pytest.raises(LocalnetError, match="outside 1024"):
        homes.create(tmp_path / "net", TEXT, 40_000, place)
    place.model("F16").unlink()
    with pytest.raises(LocalnetError, match="make setup"):
        homes.create(tmp_path / "net", TEXT, None, place)
    assert not (tmp_path / "net").exists()


def test_a_deep_home_keeps_its_sockets_elsewhere(tmp_path: Path, place: Layout) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    made = homes.create(deep, TEXT, None, place)
    sockets = [node.config["app"]["socket"] for node in made.plan.of("validator")]
    assert all(len(path) <= homes.SOCKET_PATH and made.identity.network in path for path in sockets)


def test_one_command_at_a_time(home: Home) -> None:
    with (
        homes.alone(home.path),
        pytest.raises(LocalnetError, match="another command is starting or stopping"),
        homes.alone(home.path),
    ):
        pytest.fail("not reached")
