"""Files that are whole and right, or not there."""

import os
from pathlib import Path

import pytest

from serving_node.models.catalogue import ModelFile
from serving_node.models.cli import store
from serving_node.models.cli.store import check_made, file_sha256, is_right, prepare_folder, replacing
from serving_node.models.errors import ModelError, PreflightError


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "x") as part:
        part.write_bytes(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_finished_write_is_renamed_and_stale_parts_go(tmp_path: Path) -> None:
    stale, living = tmp_path / ".x.999999999.part", tmp_path / f".x.{os.getppid()}.part"
    stale.write_bytes(b"old")
    living.write_bytes(b"another's")
    with replacing(tmp_path / "x") as part:
        part.write_bytes(b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [living.name, "x"]
    assert (tmp_path / "x").read_bytes() == b"whole"


def test_a_wrong_file_is_not_right(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert not is_right(path, ModelFile("x", "", 0))
    path.write_bytes(b"abc")
    digest = file_sha256(path)
    assert is_right(path, ModelFile("x", digest, 3)) and is_right(path, ModelFile("x", "", 0))
    assert not is_right(path, ModelFile("x", digest, 4)) and not is_right(path, ModelFile("x", "0" * 64, 3))
    with pytest.raises(ModelError, match="expects 0000"):
        check_made(path, ModelFile("x", "0" * 64, 3))


def test_no_disk_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="MiB are needed"):
        prepare_folder(tmp_path / "models", 1 << 60)
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(PreflightError, match="cannot make"):
        prepare_folder(blocked / "models", 1)


def test_a_folder_that_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.os, "access", lambda *_: False)
    with pytest.raises(PreflightError, match="may not be written"):
        prepare_folder(tmp_path, 1)
