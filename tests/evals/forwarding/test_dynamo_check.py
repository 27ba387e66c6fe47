"""The comparison with Dynamo's replayer: what is judged, its timing, and what it says when it cannot run."""

from dataclasses import replace
from pathlib import Path

import pytest

from evals.forwarding import dynamo_replay
from evals.forwarding.cells import summary
from evals.forwarding.dynamo_check import MOCKER, SETTINGS, ReplayError, figures, replayed

NOTHING = replace(summary("dynamo", [], 8, 0, 0.0), reuse=0.20)


def test_reuse_is_judged_and_time_is_not() -> None:
    near = figures("a", NOTHING, {"prefix_cache_reused_ratio": 0.22, "mean_ttft_ms": 10.0})
    assert [each.figure.holds for each in near] == [True, None, None]
    far = figures("a", NOTHING, {"prefix_cache_reused_ratio": 0.24, "mean_ttft_ms": 10.0})
    assert [each.figure.holds for each in far] == [False, None, None]


def test_a_piece_of_a_prompt_takes_what_the_replayer_reports() -> None:
    """One prompt of 23,141 tokens alone in the replayer: 476.591327 ms."""
    assert MOCKER.prefill(23_141) == pytest.approx(0.476591327, rel=1e-4)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.forwarding.dynamo_check.ENVIRONMENT", tmp_path / "none")
    with pytest.raises(ReplayError, match="--install"):
        replayed(tmp_path / "trace.jsonl", SETTINGS[0], "kv_router")


def test_the_replay_needs_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["dynamo_replay", "t", "kv_router", "8", "16384", "2"])
    with pytest.raises(ModuleNotFoundError, match="dynamo"):
        dynamo_replay.main()
