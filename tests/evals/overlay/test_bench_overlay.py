"""The overlay's bench runs whole, sockets included, and its document has the form that scripts read."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evals.overlay.goals import GOALS

ROOT = Path(__file__).parents[3]
KEYS = {"id", "value", "unit", "baseline", "baseline_value", "ratio", "goal", "holds"}


@pytest.fixture(scope="module")
def document() -> Any:
    """What two rounds print."""
    command = [sys.executable, "-m", "evals.overlay.bench_overlay", "--repeat", "2", "--output", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "nothing but the document is said"
    return json.loads(done.stdout)


def test_the_document_has_the_form_of_every_bench(document: Any) -> None:
    assert list(document) == ["name", "commit", "machine", "figures"] and document["name"] == "overlay"
    assert all(set(figure) == KEYS for figure in document["figures"])
    names = [figure["id"] for figure in document["figures"]]
    assert len(set(names)) == len(names)


def test_figures_carry_their_baseline_and_verdict(document: Any) -> None:
    by_id = {figure["id"]: figure for figure in document["figures"]}
    for figure in by_id.values():
        assert isinstance(figure["value"], int | float)
        assert (figure["goal"] is None) == (figure["holds"] is None), figure
        assert (figure["baseline"] is None) == (figure["baseline_value"] is None) == (figure["ratio"] is None), figure
        if f"{figure['id']}.min" in by_id:
            assert by_id[f"{figure['id']}.min"]["value"] <= figure["value"] <= by_id[f"{figure['id']}.max"]["value"]
    assert by_id["split.1m"]["goal"] == "ratio <= 1.6"
    assert by_id["relay_core_forward"]["baseline"] and by_id["first_frame.p90"]["baseline"]


def test_figures_that_no_clock_decides_are_exact(document: Any) -> None:
    by_id = {figure["id"]: figure for figure in document["figures"]}
    assert [by_id[f"wire_per_prompt_byte.{size}"]["value"] for size in ("1k", "8k", "32k", "128k")] == [8, 4, 2, 2]
    held = {
        name: by_id[f"wire_8k_to_128k.{name}"]["holds"]
        for name in ("x25519.pow2", "x25519.padme", "hybrid.pow2", "hybrid.padme")
    }
    assert held == {"x25519.pow2": True, "x25519.padme": True, "hybrid.pow2": False, "hybrid.padme": False}
    assert by_id["split.1k.published"]["baseline_value"] == 51.8


def test_every_goal_is_judged(document: Any) -> None:
    held = {figure["id"]: figure["holds"] for figure in document["figures"]}
    assert [goal.number for goal in GOALS] == list(range(1, 16))
    for goal in GOALS:
        assert goal.elsewhere or goal.figures
        assert all(held[name] is not None for name in goal.figures), goal
    judged = {name for goal in GOALS for name in goal.figures}
    assert judged == {name for name, verdict in held.items() if verdict is not None}
