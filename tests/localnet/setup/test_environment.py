"""When the environment and the models are taken as they are, and when they are made again."""

import io
import json
from pathlib import Path

import pytest

from localnet.setup.aio import environment, models
from localnet.setup.aio.stages import Stage
from localnet.setup.failures import SetupError
from localnet.setup.pins import Layout, layout


@pytest.fixture
def place(tmp_path: Path) -> Layout:
    """A checkout with the files that decide, and nothing made yet."""
    made = layout(tmp_path / "checkout", {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    for name in (*environment.LOCKS.values(), "pyproject.toml", *models.DEFINITIONS):
        path = made.checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return made


def fill(place: Layout, level: str) -> None:
    """An environment as a finished set-up leaves it."""
    for name in ("python", "planetserve"):
        path = place.venv / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (place.venv / environment.STAMP).write_text(json.dumps(environment._wanted(place, level)))


def test_an_environment_is_ready_for_its_own_lock_only(place: Layout) -> None:
    assert not environment.ready(place, "run")
    for number, level in enumerate(environment.LOCKS):
        fill(place, level)
        assert [environment.ready(place, each) for each in environment.LOCKS] == [at <= number for at in range(3)]


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_a_changed_lock_or_project_is_noticed(place: Layout, name: str) -> None:
    fill(place, "run")
    (place.checkout / name).write_text("changed")
    assert not environment.ready(place, "run")


def test_a_damaged_stamp_or_environment_is_noticed(place: Layout) -> None:
    fill(place, "run")
    (place.venv / "bin" / "planetserve").unlink()
    assert not environment.ready(place, "run")
    (place.venv / environment.STAMP).write_text("{")
    assert not environment.ready(place, "run")


def test_a_folder_that_is_no_environment_is_left_alone(place: Layout) -> None:
    place.venv.mkdir()
    (place.venv / "mine").write_text("x")
    with (
        pytest.raises(SetupError, match="is not a virtual environment"),
        Stage("x", place.cache / "log", io.StringIO()) as stage,
    ):
        environment.make(place, "run", stage)
    assert (place.venv / "mine").exists()


def test_finished_models_are_not_looked_at_again(place: Layout) -> None:
    for path in (place.model("F16"), place.model("Q4_0"), place.reference):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (place.models / models.STAMP).write_text(models._release(place))
    with Stage("x", place.cache / "log", io.StringIO()) as stage:
        models.make(place, stage)
        assert stage.result.startswith("3 files in")
        (place.checkout / models.DEFINITIONS[0]).write_text("another release")
        with pytest.raises(SetupError, match="making the published model"):
            models.make(place, stage)
