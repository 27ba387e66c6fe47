"""The simulator's tables: `python -m evals.forwarding.tables entries|policies|churn|confidential [--output json]`.

`entries`: N entry points against how often nodes speak, reuse held against a central exact index. `policies`: ours beside the
rules of other routers. `churn`: nodes that fail and come back empty. `confidential`: a modelled cost, labelled so.
Cells that are done are kept in `build/forwarding/cells.jsonl` and not run again, so that a long table may be stopped.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from evals.anonymity.present import Canvas, Table, emit, figure, judged
from evals.forwarding.cells import HEAD, Result, simulate
from evals.forwarding.engines import Speed
from evals.forwarding.flight import NEVER, Fleet
from evals.forwarding.traces import CONVERSATION, Trace, TraceError, ideal_reuse, load
from evals.report import Figure

KEPT = Path("build/forwarding/cells.jsonl")
USUAL = Fleet()
BASELINE = "central router with an exact index that is never late, same nodes"
REUSE_KEPT = 0.98
ENTRIES, SYNCS = (1, 4, 8, 16, 64), (1.0, 5.0, 30.0, NEVER)
POLICIES = (
    "none",
    "round-robin",
    "tree",
    "paper",
    "ttft",
    "least-load",
    "sglang",
    "smg",
    "dynamo",
    "lmetric",
    "central-tree",
    "central-ttft",
)
FAILURES = (NEVER, 300.0, 60.0, 20.0)
# Published of PlanetServe's own experiment: about 1 ms; of an H100 under LLM load (arXiv 2409.03992): below 7 %.
CONFIDENTIAL = {"off": Speed(), "1 ms a prompt": Speed(extra_s=0.001), "7 % of everything": Speed(factor=1.07)}


@dataclass(frozen=True)
class Run:
    """Runs cells, or remembers them."""

    trace: Trace
    kept: Path
    spread: float = 0.0

    def __call__(self, fleet: Fleet, rule: str) -> Result:
        """The result of one cell on the trace at twice its speed."""
        asked = {
            "trace": self.trace.name,
            "requests": len(self.trace.requests),
            "sources": sources(),
            "spread": self.spread,
            "rule": rule,
        }
        key = json.dumps({**asked, "fleet": asdict(fleet)}, sort_keys=True)
        for line in self.kept.read_text().splitlines() if self.kept.exists() else ():
            known = json.loads(line)
            if known["key"] == key:
                return Result(**known["result"])
        found = simulate(self.trace, fleet, rule)
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        with self.kept.open("a") as file:
            file.write(json.dumps({"key": key, "result": asdict(found)}) + "\n")
        print(f"{rule}, {fleet.entries} entry points, sync {fleet.sync_s:g} s: {found.cpu_s:.0f} s of CPU", file=sys.stderr)
        return found


Shown = tuple[Table, list[Figure]]


@cache
def sources() -> str:
    """A digest of everything that a cell's result depends on."""
    root = Path(__file__).parents[2]
    files = [
        path for folder in ("network", "serving_node", "evals/forwarding") for path in sorted((root / folder).rglob("*.py"))
    ]
    return sha256(b"".join(path.read_bytes() for path in files if path != Path(__file__))).hexdigest()


def entries(run: Run, plots: Path | None, most: int) -> Shown:
    """N entry points and nodes (8 nodes at least) against the time between a node's posts."""
    rows: list[list[str]] = []
    figures: list[Figure] = []
    curves: dict[int, list[float]] = {}
    for count in (each for each in ENTRIES if each <= most):
        fleet = _fleet(count)
        bound = run(fleet, "central-ttft")
        rows.append([str(count), "central", "100.0", *bound.cells()])
        for sync in SYNCS:
            found = run(replace(fleet, sync_s=sync), "ttft")
            kept = found.reuse / bound.reuse
            curves.setdefault(count, []).append(kept * 100)
            rows.append([str(count), f"{sync:g} s" if sync < NEVER else "never", f"{kept * 100:.1f}", *found.cells()])
            name = f"reuse_{count}_entries_sync_{sync:g}"
            against = {"baseline": BASELINE, "baseline_value": bound.reuse}
            if sync <= 5 and count >= 8:
                goal = f"ratio >= {REUSE_KEPT}"
                figures.append(judged(name, found.reuse, "share", goal, kept >= REUSE_KEPT, **against))
            else:
                figures.append(figure(name, found.reuse, "share", BASELINE, bound.reuse))
    if plots:
        _draw_entries(plots, curves)
    title = f"{_of(run.trace)}; as many nodes as entry points, at least 8, engines slower with their number: same load per node"
    return Table(title, ("entry points", "sync", "% of central", *HEAD), rows), figures


def policies(run: Run, plots: Path | None, _: int) -> Shown:
    """Ours, decided by real forwarders, beside other routers' rules in one central router."""
    found = {rule: run(USUAL, rule) for rule in POLICIES}
    base = found["none"]
    figures = [
        each
        for rule, result in found.items()
        for each in (
            figure(f"{rule}.reuse", result.reuse, "share", "none", base.reuse),
            figure(f"{rule}.ttft_mean", result.ttft_mean, "s", "none", base.ttft_mean),
            figure(f"{rule}.ttft_p99", result.ttft_p99, "s", "none", base.ttft_p99),
            figure(f"{rule}.load_ratio", result.load_ratio, "max/mean"),
            figure(f"{rule}.refused", float(result.refused), "requests"),
        )
    ]
    if plots:
        _draw_policies(plots, found)
    title = (
        f"{_of(run.trace)}; 8 nodes; the first five decide at 8 entry points, sync 5 s, the others in one router that sees all"
    )
    return Table(title, ("policy", *HEAD), [[rule, *result.cells()] for rule, result in found.items()]), figures


def churn(run: Run, _: Path | None, __: int) -> Shown:
    """A node fails every so often, is away for a minute, and comes back with nothing."""
    rows: list[list[str]] = []
    figures: list[Figure] = []
    for every in FAILURES:
        fleet = replace(USUAL, fail_every_s=every)
        mine, bound = run(fleet, "ttft"), run(fleet, "central-ttft")
        label = "never" if every == NEVER else f"{every:g} s"
        rows += [[label, each.rule, f"{each.retried * 100:.1f}", *each.cells()] for each in (mine, bound)]
        figures += [
            figure(f"fail_{every:g}.reuse", mine.reuse, "share", BASELINE, bound.reuse),
            figure(f"fail_{every:g}.ttft_p99", mine.ttft_p99, "s", BASELINE, bound.ttft_p99),
            judged(f"fail_{every:g}.refused", float(mine.refused), "requests", "<= 0", mine.refused == 0),
        ]
    title = f"{_of(run.trace)}; 8 nodes; mean time between two failures in the fleet, 60 s away each"
    return Table(title, ("failure every", "policy", "asked twice %", *HEAD), rows), figures


def confidential(run: Run, _: Path | None, __: int) -> Shown:
    """Modelled, not measured: what was published about confidential computing, as a constant and as a factor."""
    rows: list[list[str]] = []
    figures: list[Figure] = []
    plain = run(USUAL, "ttft")
    for label, speed in CONFIDENTIAL.items():
        for rule in ("none", "ttft"):
            found = run(replace(USUAL, speed=speed), rule)
            rows.append([label, rule, f"{found.total_mean * 1000:.0f}", *found.cells()])
            if rule == "ttft":
                figures.append(figure(f"modelled {label}.ttft_mean", found.ttft_mean, "s", "off", plain.ttft_mean))
    note = "modelled: 1 ms is what was published of this system, below 7 % of an H100 under LLM load (arXiv 2409.03992)"
    return Table(_of(run.trace), ("confidential", "policy", "mean answer ms", *HEAD), rows, note), figures


TABLES: dict[str, Callable[[Run, Path | None, int], Shown]] = {
    "entries": entries,
    "policies": policies,
    "churn": churn,
    "confidential": confidential,
}


def main() -> int:
    """Runs the tables asked for."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.tables")
    parser.add_argument("tables", nargs="+", choices=list(TABLES))
    parser.add_argument("--trace", type=Path, default=CONVERSATION, help=f"default: {CONVERSATION}")
    parser.add_argument("--requests", type=int, default=0, help="only the first so many")
    parser.add_argument("--spread", type=float, default=0.0, help="arrivals at random within so many seconds of their time")
    parser.add_argument("--most", type=int, default=max(ENTRIES), help="no more entry points than this")
    parser.add_argument("--cells", type=Path, default=KEPT, help=f"where done cells are kept (default: {KEPT})")
    parser.add_argument("--plots", type=Path, default=Path("build/plots"))
    parser.add_argument("--no-plot", action="store_true")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    try:
        trace = load(options.trace).first(options.requests).spread(options.spread).scaled(2.0)
    except TraceError as error:
        print(f"tables: {error}", file=sys.stderr)
        return 2
    run, plots = Run(trace, options.cells, options.spread), None if options.no_plot else options.plots
    shown = [TABLES[name](run, plots, options.most) for name in options.tables]
    return emit("forwarding-simulation", [table for table, _ in shown], _all(each for _, each in shown), options.output)


def _fleet(count: int) -> Fleet:
    nodes = max(8, count)
    return replace(USUAL, nodes=nodes, entries=count, speed=Speed(token_s=Speed().token_s * nodes / 8))


def _of(trace: Trace) -> str:
    return f"{trace.name}, {len(trace.requests)} requests at twice their speed, ideal reuse {ideal_reuse(trace):.3f}"


def _all(figures: Iterable[list[Figure]]) -> list[Figure]:
    return [each for some in figures for each in some]


def _draw_entries(folder: Path, curves: dict[int, list[float]]) -> None:
    canvas = Canvas(["Reuse kept, % of a central exact index"], width=5.2)
    axis = canvas.axes[0]
    labels = [f"{sync:g} s" if sync < NEVER else "never" for sync in SYNCS]
    for number, (count, values) in enumerate(curves.items()):
        _line(axis, labels, values, f"{count} entry points", Canvas.COLOURS[number])
    axis.axhline(REUSE_KEPT * 100, color="#999999", linewidth=0.8, linestyle="--")
    axis.set_xlabel("a node speaks every", fontsize=8)
    axis.set_ylim(bottom=0)
    canvas.save(folder, "forwarding_sync")


def _draw_policies(folder: Path, found: dict[str, Result]) -> None:
    canvas = Canvas(["Mean time to first token, s", "Reuse, share of prompt tokens"])
    for axis, values in zip(
        canvas.axes, ([each.ttft_mean for each in found.values()], [each.reuse for each in found.values()]), strict=True
    ):
        colours = [Canvas.COLOURS[0] if number < 5 else Canvas.COLOURS[5] for number in range(len(found))]
        axis.barh(list(found), values, color=colours)
        axis.invert_yaxis()
    # Longest prefix alone may collapse onto one node, and would hide all others.
    times = sorted(each.ttft_mean for each in found.values())
    canvas.axes[0].set_xlim(0, min(times[-1], 3 * times[len(times) // 2]) * 1.05)
    canvas.save(folder, "forwarding_policies")


def _line(axis: Any, labels: Sequence[str], values: Sequence[float], label: str, colour: str) -> None:
    axis.plot(labels, values, marker="o", markersize=3, linewidth=1.2, color=colour, label=label)


if __name__ == "__main__":
    sys.exit(main())
