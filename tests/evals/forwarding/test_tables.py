"""Tables of cells: done cells are not run again, goals are judged against the central router, plots are drawn."""

import json
from pathlib import Path

import pytest

from evals.forwarding import tables
from evals.forwarding.cells import Result
from evals.forwarding.flight import Fleet
from evals.forwarding.traces import Request, Trace

TRACE = Trace("t", tuple(Request(number, float(number), 1024, 5, (number % 2, 2 + number)) for number in range(8)))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, float]]:
    """Instead of simulating: reuse falls with the time between posts, and the central router has 0.5."""
    cells: list[tuple[str, int, float]] = []

    def simulate(_: Trace, fleet: Fleet, rule: str) -> Result:
        cells.append((rule, fleet.entries, fleet.sync_s))
        reuse = 0.5 if rule == "central-ttft" else 0.5 - fleet.sync_s / 400
        return Result(rule, 8, 0, max(0.0, reuse), 1.0, 1.0, 2.0, 3.0, 1.1, 0.5, 0.0, 0.0, 0.0, 80.0, 1.0)

    monkeypatch.setattr(tables, "simulate", simulate)
    return cells


def test_a_cell_is_run_once(tmp_path: Path, asked: list[tuple[str, int, float]]) -> None:
    run = tables.Run(TRACE, tmp_path / "kept" / "cells.jsonl")
    assert run(Fleet(), "ttft") == run(Fleet(), "ttft")
    run(Fleet(seed=2), "ttft")
    assert len(asked) == 2
    assert len({json.loads(line)["key"] for line in run.kept.read_text().splitlines()}) == 2


def test_reuse_is_judged_from_eight_entry_points_on(tmp_path: Path, asked: list[tuple[str, int, float]]) -> None:
    table, figures = tables.entries(tables.Run(TRACE, tmp_path / "cells.jsonl"), None, 8)
    judged = {each.id: each.holds for each in figures if each.holds is not None}
    assert judged == {"reuse_8_entries_sync_1": True, "reuse_8_entries_sync_5": False}
    assert len(table.rows) == 3 * 5 and len(asked) == 15


@pytest.mark.parametrize("name", list(tables.TABLES))
def test_every_table_has_rows_as_wide_as_its_head(name: str, tmp_path: Path, asked: list[tuple[str, int, float]]) -> None:
    table, figures = tables.TABLES[name](tables.Run(TRACE, tmp_path / "cells.jsonl"), None, 8)
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert figures and asked
