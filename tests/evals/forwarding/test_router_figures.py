"""What a side by side concludes from its cells, and that a cell survives being put down and taken up."""

import json
from dataclasses import asdict

import pytest

from evals.forwarding.load import Summary
from evals.forwarding.router_figures import CONFLICT, MESH, NONE, OURS, RATE, Cell, Reading, goals, middle, rows, show_table


def cell(
    router: str, ttft: float, *, scenario: str = CONFLICT, turn: int = 0, between: int | None = 0, cpu: float = 0.01
) -> Cell:
    said = Summary(100, 0, ttft, ttft, 4 * ttft, 2 * ttft, 8 * ttft, 1.0, ())
    seen = Reading(7.5, cpu, between, [400, 200, 200, 200], 600)
    return Cell(scenario, router, turn, said, seen, Reading(1.0, 0.0, 0, [0] * 4, 0))


def test_a_reading_is_compared_with_an_earlier_one() -> None:
    seen = Reading(9.0, 2.0, 500, [10, 90], 50).since(Reading(4.0, 1.0, 100, [10, 10], 10))
    assert seen == Reading(5.0, 1.0, 400, [0, 80], 40)
    assert (seen.hit, seen.spread) == (0.5, 2.0)
    assert Reading(9.0, 2.0, None, [1, 1], 1).since(seen).between is None


def test_the_best_of_the_others_is_the_one_to_beat() -> None:
    cells = [cell(OURS, 60.0), cell("smg", 90.0), cell("sglang-router", 80.0), cell(NONE, 300.0)]
    found = {each.figure.id: each.figure for each in goals(cells)}
    beaten = found["goal.conflict.mean_ttft"]
    assert beaten.baseline is not None and "sglang-router" in beaten.baseline
    assert (beaten.ratio, beaten.holds) == (0.75, True)
    assert found["goal.conflict.mean_latency"].ratio == 0.2 and found["goal.conflict.mean_latency"].holds
    assert found["goal.conflict.p99_latency"].holds


def test_cpu_is_judged_where_requests_are_many_and_bytes_beside_the_mesh() -> None:
    cells = [cell(OURS, 5.0, scenario=RATE, cpu=0.06, between=4000), cell(MESH, 5.0, scenario=RATE, between=90_000)]
    cells += [cell(OURS, 5.0, between=4000), cell(MESH, 6.0, between=90_000)]
    found = {each.figure.id: each.figure for each in goals(cells)}
    assert (found["goal.rate.cpu_per_request"].value, found["goal.rate.cpu_per_request"].holds) == (600.0, False)
    bytes_between = found["goal.conflict.bytes_between"]
    assert (bytes_between.value, bytes_between.baseline_value, bytes_between.holds) == (40.0, 900.0, True)


def test_medians_over_rounds_and_cells_that_failed() -> None:
    cells = [cell("smg", ttft, turn=turn) for turn, ttft in enumerate((10.0, 90.0, 20.0))]
    cells.append(Cell(CONFLICT, "vllm-router", 0, error="did not start"))
    assert middle(cells, CONFLICT, "smg", "mean_ttft") == 20.0
    assert middle(cells, CONFLICT, "vllm-router", "mean_ttft") is None
    assert {each.figure.id for each in rows(cells)} >= {"conflict.smg.mean_ttft", "conflict.smg.hit"}


def test_a_cell_comes_back_from_its_line() -> None:
    for each in (cell("smg", 10.0), Cell(CONFLICT, "smg", 1, error="no")):
        assert Cell.from_json(json.loads(json.dumps(asdict(each)))) == each


def test_the_table_says_who_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    show_table([cell(OURS, 60.0), cell("smg", 90.0), Cell(CONFLICT, "x", 0, error="said no")], {"production-stack": "not here"})
    said = capsys.readouterr().out
    assert "left out: production-stack: not here" in said and "failed: x: said no" in said and "did not run" in said
