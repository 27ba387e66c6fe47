"""Draws the cells of an ablation: `python -m evals.forwarding.ablation_plot build/ablation.jsonl docs/plots/NAME.svg`.

Mean and 99th percentile of the latency, and the share of prompt tokens found cached, by workload and policy.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

COLOURS = {"none": "#9aa0a6", "tree": "#e8a33d", "paper": "#5b8def", "ttft": "#1f7a4d"}
NAMES = {"none": "none", "tree": "tree", "paper": "tree + load", "ttft": "ours"}


def draw(cells: list[dict[str, Any]], path: Path) -> None:
    """Write the figure."""
    workloads = list(dict.fromkeys(cell["workload"] for cell in cells))
    policies = list(dict.fromkeys(cell["policy"] for cell in cells))
    found = {(cell["workload"], cell["policy"]): cell for cell in cells}
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    columns = (("latency_mean_s", "mean latency, s"), ("latency_p99_s", "99th percentile, s"), ("hit_rate", "tokens cached"))
    for panel, (column, title) in zip(panels, columns, strict=True):
        for at, policy in enumerate(policies):
            places = [number + (at - (len(policies) - 1) / 2) * 0.2 for number in range(len(workloads))]
            values = [found[workload, policy].get(column, 0.0) for workload in workloads]
            panel.bar(places, values, 0.19, color=COLOURS[policy], label=NAMES[policy])
        panel.set_xticks(range(len(workloads)), workloads)
        panel.set_title(title, fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Read the state file of a run, write the figure."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.ablation_plot")
    parser.add_argument("state", type=Path)
    parser.add_argument("svg", type=Path)
    options = parser.parse_args()
    draw([json.loads(line) for line in options.state.read_text().splitlines()], options.svg)


if __name__ == "__main__":
    main()
