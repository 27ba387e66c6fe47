"""The ablation's plans, cells and sums."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.forwarding.ablation import COLUMNS, figures, order
from evals.forwarding.ablation_load import Answer, summary
from evals.forwarding.ablation_networks import manifest_of
from evals.forwarding.workloads import LONGDOC, MIXED, TOOLBENCH, WORKLOADS, plan
from localnet.manifest import parse

MANIFEST = Path(__file__).resolve().parents[3] / "localnet/manifests/default.toml"


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_plan_is_its_seeds(name: str) -> None:
    made = plan(WORKLOADS[name], 200.0, 4, 1)
    assert made == plan(WORKLOADS[name], 200.0, 4, 1) != plan(WORKLOADS[name], 200.0, 4, 2)
    assert 0.6 < len(made) / (200 * WORKLOADS[name].rate) < 1.5
    assert [each.due_s for each in made] == sorted(each.due_s for each in made) and {each.entry for each in made} <= set(
        range(4)
    )
    # One request may use 2,048 tokens of a localnet's engine, prompt, template and answer together.
    assert max(len((each.system + " " + each.user).split()) + each.max_tokens for each in made) < 1700


def test_beginnings_are_shared_by_zipfs_law_and_questions_are_not() -> None:
    made = plan(TOOLBENCH, 4000.0, 4, 1)
    shares = sorted(
        (sum(each.system == one for each in made) / len(made) for one in {each.system for each in made}), reverse=True
    )
    assert len(shares) == TOOLBENCH.shared and 0.25 < shares[0] < 0.4
    assert len({each.user for each in made}) == len(made)
    assert len({each.system for each in plan(LONGDOC, 4000.0, 4, 1)}) == LONGDOC.shared
    assert len({each.max_tokens for each in plan(MIXED, 400.0, 4, 1)}) == 3


def test_every_cell_runs_once_and_no_policy_is_always_first() -> None:
    cells = order(["a", "b", "c"], ["x", "y"])
    assert sorted(cells) == sorted((w, p) for w in "abc" for p in "xy")
    assert [policy for _, policy in cells[::2]] == ["x", "y", "x"]


def test_the_manifest_is_honest_and_of_one_policy() -> None:
    manifest = parse(manifest_of(MANIFEST.read_text(), "paper"))
    assert {node.policy for node in manifest.model_nodes} == {"paper"} and all(node.honest for node in manifest.model_nodes)


def cell(policy: str, latency: float) -> dict[str, Any]:
    return {"workload": "toolbench", "policy": policy, **{column: latency for column, _, _ in COLUMNS}}


def test_ours_is_judged_beside_none() -> None:
    rows = {each.figure.id: each.figure for each in figures([cell("none", 4.0), cell("tree", 9.0), cell("ttft", 2.0)])}
    mean, p99 = rows["toolbench.ttft.latency_mean_s"], rows["toolbench.ttft.latency_p99_s"]
    assert (mean.ratio, mean.holds, p99.holds) == (0.5, False, True)
    assert rows["toolbench.tree.latency_mean_s"].holds is None and rows["toolbench.none.hit_rate"].baseline is None


def test_sums_keep_refusals_and_failures_apart() -> None:
    good = Answer(True, 200, 1.0, 3.0, 100, 60, 5, True)
    answers = [good, Answer(True, 200, 2.0, 4.0, 100, 0, 1, True), Answer(True, 503), Answer(True, 200), Answer(False, 0)]
    found = summary(answers, 10.0)
    assert (found["requests"], found["refused"], found["failed"]) == (4, 1, 1)
    assert (found["hit_rate"], found["tpot_ms"], found["latency_mean_s"], found["ttft_p99_s"]) == (0.3, 500.0, 3.5, 2.0)
    assert json.dumps(summary([], 1.0))
