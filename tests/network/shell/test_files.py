"""A file is replaced whole or not at all, and no half-written one stays behind."""

from pathlib import Path

import pytest

from network.aio import files


def test_a_file_is_replaced_with_the_rights_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "state"
    files.replace(path, "old")
    files.replace(path, "new")
    assert path.read_text() == "new" and path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state"
    files.replace(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.replace(path, "\ud800")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
