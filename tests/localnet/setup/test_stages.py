"""A step's line, the tools it runs, and what it says when they fail."""

import io
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from localnet.setup.aio.stages import Stage, need_space
from localnet.setup.failures import SetupError


def test_a_step_prints_its_name_result_and_time(tmp_path: Path) -> None:
    out = io.StringIO()
    with Stage("model files", tmp_path / "log", out) as stage:
        output = stage.run("making", [sys.executable, "-c", "print('one'); print('two')"])
        stage.result = "3 files"
    assert output == "one\ntwo\n"
    assert "...  model files: making" in out.getvalue()
    assert "ok  model files: 3 files (" in out.getvalue()


def test_a_failing_tool_is_explained_and_its_output_kept(tmp_path: Path) -> None:
    out, log = io.StringIO(), tmp_path / "deep" / "log"
    program = "import sys; print('OSError: No space left on device'); sys.exit(3)"
    with (
        pytest.raises(SetupError, match=r"installing failed \(exit status 3\)") as caught,
        Stage("packages", log, out) as stage,
    ):
        stage.run("installing", [sys.executable, "-c", program])
    assert "disk is full" in caught.value.cause
    assert "No space left" in log.read_text()
    assert "FAILED  packages" in out.getvalue()


def test_a_tool_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file"), Stage("x", tmp_path / "log", io.StringIO()) as stage:
        stage.run("running it", [tmp_path / "absent"])


def test_no_room_stops_a_step_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_space(tmp_path / "a" / "b", 1, "anything")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=5_000_000))
    with pytest.raises(SetupError, match=r"needs about 900 MB .* and 5 MB are free"):
        need_space(tmp_path, 900, "the environment")
