"""Which CometBFT and which Go are taken; building itself is what `make setup` does on a fresh machine."""

import io
import os
from pathlib import Path

import pytest

from localnet.setup.aio import comet
from localnet.setup.aio.stages import Stage
from localnet.setup.failures import SetupError
from localnet.setup.pins import Layout, layout

SHELL = "/bin/sh"


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{SHELL}\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return layout(tmp_path / "checkout", {"XDG_CACHE_HOME": str(tmp_path / "cache")})


def test_the_one_on_path_is_taken_if_it_fits(place: Layout, tmp_path: Path) -> None:
    assert comet.find(place) is None
    cached = program(place.cometbft, "0.38.25")
    other = program(tmp_path / "path" / "cometbft", "0.38.21")
    assert comet.find(place) == cached
    program(other, "0.38.25")
    assert comet.find(place) == other


def test_a_release_that_reports_another_is_taken_from_the_cache_alone(place: Layout, tmp_path: Path) -> None:
    following = layout(tmp_path / "checkout", {"XDG_CACHE_HOME": str(tmp_path / "cache"), "COMETBFT_VERSION": "0.40.0"})
    program(tmp_path / "path" / "cometbft", "0.39.0")
    assert comet.find(following) is None
    cached = program(following.cometbft, "0.39.0")
    assert comet.find(following) == cached and comet.find(place) is None


def test_a_broken_cache_entry_is_not_taken(place: Layout) -> None:
    program(place.cometbft, "0.38.25").write_text("half a file")
    assert comet.find(place) is None


def test_building_moves_the_binary_into_place_and_leaves_nothing_else(place: Layout, tmp_path: Path) -> None:
    go = program(tmp_path / "path" / "go", "")
    go.write_text(
        f'#!{SHELL}\nif [ "$1" = version ]; then echo "go version go1.24.11 linux/amd64"; exit; fi\n'
        f'/bin/mkdir -p "$GOBIN" "$GOPATH/pkg" && printf "#!{SHELL}\\necho 0.38.25\\n" > "$GOBIN/cometbft"\n'
        '/bin/chmod 755 "$GOBIN/cometbft"; echo x > "$GOPATH/pkg/kept"; /bin/chmod -R a-w "$GOPATH"\n'
    )
    with Stage("CometBFT", tmp_path / "log", io.StringIO()) as stage:
        comet.make(place, stage)
    assert stage.result == "v0.38.25, built with the Go at hand"
    assert comet.find(place) == place.cometbft
    assert os.listdir(place.cache) == ["bin"]


def test_a_failed_build_leaves_nothing(place: Layout, tmp_path: Path) -> None:
    go = program(tmp_path / "path" / "go", "")
    go.write_text(
        f'#!{SHELL}\nif [ "$1" = version ]; then echo "go version go1.24.11 linux/amd64"; exit; fi\n'
        'echo "go: dial tcp: lookup module.example: no such host"; exit 1\n'
    )
    with pytest.raises(SetupError, match="network"), Stage("CometBFT", tmp_path / "log", io.StringIO()) as stage:
        comet.make(place, stage)
    assert comet.find(place) is None and os.listdir(place.cache) == ["bin"]
