"""None, tree, tree + load, ours, on real engines: `python -m evals.forwarding.ablation [--entry gateway|nodes] [--quick]`.

Claim (design section 6): forwarding by cache and load answers sooner than no forwarding, on average and at the 99th percentile.
Each cell is a fresh, cold network of four SmolLM2 engines under one workload and one policy; the plan of requests is the same
for every policy of a workload. Cells run in an order that changes from workload to workload and are kept in --state, so that
a run that was ended goes on where it stopped. The baseline of every policy is `none` on the same workload, in the same run.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from evals.forwarding.ablation_load import drive, reasons, summary
from evals.forwarding.ablation_networks import ENTRIES
from evals.forwarding.workloads import WORKLOADS, plan
from evals.report import Row, commit, missed, row, show

POLICIES = ("none", "tree", "paper", "ttft")
SEED = 11
ENDED = 128 + signal.SIGTERM
WARM_S = 20.0
COLUMNS = (
    ("requests", "", 1.0), ("refused", "", 1.0), ("failed", "", 1.0), ("hit_rate", "", 1.0), ("latency_mean_s", "s", 1.0),
    ("latency_p50_s", "s", 1.0), ("latency_p99_s", "s", 1.0), ("ttft_mean_s", "s", 1.0), ("ttft_p50_s", "s", 1.0),
    ("ttft_p99_s", "s", 1.0), ("tpot_ms", "ms", 1.0), ("answer_tokens_per_s", "1/s", 1.0),
)  # fmt: skip
# Design goal: at least 60 % lower mean latency than without forwarding, and a lower 99th percentile.
MEAN_RATIO, P99_RATIO = 0.4, 1.0


def main() -> int:
    """Runs the cells that are not there yet, prints, and fails when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.ablation")
    parser.add_argument(
        "--entry", choices=sorted(ENTRIES), default="gateway", help="a localnet's gateway, or its nodes' fronts"
    )
    parser.add_argument("--workloads", nargs="+", choices=sorted(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--seconds", type=float, default=110.0, help="of load per cell; the first 20 warm up")
    parser.add_argument("--quick", action="store_true", help="ToolBench-like only, 40 s a cell")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--port-base", type=int, default=23700)
    parser.add_argument("--model", type=Path, help="the GGUF file of --entry nodes (the localnet's own: SmolLM2, F16)")
    parser.add_argument("--state", type=Path, default=Path("build/ablation.jsonl"), help="where finished cells are kept")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    if options.quick:
        options.workloads, options.seconds = ["toolbench"], 40.0
    if options.entry == "nodes" and options.model is None:
        parser.error("--entry nodes needs --model FILE, a GGUF file")
    try:
        cells = asyncio.run(run(options))
    except asyncio.CancelledError:
        print("ended; the same command goes on with the cells that are missing", file=sys.stderr)
        return ENDED
    rows = figures(cells)
    show(f"forwarding-ablation-{options.entry}", rows, options.output)
    return 1 if missed(rows) else 0


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every cell asked for, measured now or found in the state file."""
    task = asyncio.current_task()
    assert task is not None
    # Ended from outside, a cell must still take its network down.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    options.state.parent.mkdir(parents=True, exist_ok=True)
    known = {json.dumps(each["cell"]): each for each in _read(options.state)}
    found = []
    for workload, policy in order(options.workloads, options.policies):
        cell = [options.entry, workload, policy, options.seed, options.seconds, commit()]
        name = json.dumps(cell)
        if name not in known:
            started = time.monotonic()
            known[name] = {"cell": cell, "workload": workload, "policy": policy, **await measured(options, workload, policy)}
            with options.state.open("a") as file:
                file.write(json.dumps(known[name]) + "\n")
            took = time.monotonic() - started
            print(f"{workload:10} {policy:6} {took:5.0f} s  {_short(known[name])}", file=sys.stderr, flush=True)
        found.append(known[name])
    return sorted(found, key=lambda each: (options.workloads.index(each["workload"]), options.policies.index(each["policy"])))


def order(workloads: list[str], policies: list[str]) -> list[tuple[str, str]]:
    """Cells in the order in which they run: each workload begins with another policy, so that drift favours none."""
    turned = [policies[at % len(policies) :] + policies[: at % len(policies)] for at in range(len(workloads))]
    return [(workload, policy) for workload, row_ in zip(workloads, turned, strict=True) for policy in row_]


async def measured(options: argparse.Namespace, workload: str, policy: str) -> dict[str, Any]:
    """One cell: a cold network, the plan, the sums."""
    warm_s = min(WARM_S, options.seconds / 4)
    async with ENTRIES[options.entry](policy, options.port_base, options.model) as entries:
        prompts = plan(WORKLOADS[workload], options.seconds, len(entries.urls), options.seed)
        answers = await drive(prompts, entries.urls, entries.model, warm_s)
        return {**summary(answers, options.seconds - warm_s), "reasons": reasons(answers)}


def figures(cells: list[dict[str, Any]]) -> list[Row]:
    """Every column of every cell beside `none` on the same workload; goals for ours."""
    base = {cell["workload"]: cell for cell in cells if cell["policy"] == "none"}
    rows = []
    for cell in cells:
        none = base.get(cell["workload"])
        for column, unit, scale in COLUMNS:
            if column not in cell:
                continue
            name = f"{cell['workload']}.{cell['policy']}.{column}"
            compared = none is not None and cell is not none and column in none
            options: dict[str, Any] = {}
            if compared and none is not None:
                options = {"baseline": "the same workload without forwarding", "baseline_value": none[column] * scale}
            if compared and cell["policy"] == "ttft" and column in ("latency_mean_s", "latency_p99_s"):
                options["ratio_at_most"] = MEAN_RATIO if column == "latency_mean_s" else P99_RATIO
            rows.append(row(name, cell[column] * scale, unit, **options))
    return rows


def _read(state: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in state.read_text().splitlines()] if state.exists() else []


def _short(cell: dict[str, Any]) -> str:
    words = ("requests", "failed", "refused", "hit_rate", "latency_mean_s", "latency_p99_s", "ttft_mean_s")
    return "  ".join([*(f"{word} {cell[word]:.2f}" for word in words if word in cell), *cell["reasons"]])


if __name__ == "__main__":
    sys.exit(main())
