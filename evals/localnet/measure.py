"""What a running localnet costs while nobody asks, and what its ledger says about every model node, epoch by epoch.

Claims checked: design section 1 (a dishonest node falls below the threshold, honest ones stay above it) and the goals of
the localnet (memory <= 3.5 GiB as sum of PSS, load with no user <= 0.6 core). It reads what any user can read:
`planetserve localnet status`, `planetserve query`, and /proc.

usage: python -m evals.localnet.measure [--home .localnet] [--seconds 180] [--output json]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from evals.report import document, row

PLANETSERVE = str(Path(sys.executable).with_name("planetserve"))
TICKS = os.sysconf("SC_CLK_TCK")
MEMORY_GOAL_BYTES = 7 * 2**29
LOAD_GOAL_CORES = 0.6


def ask(*words: str) -> Any:
    """The JSON document that a `planetserve` command prints."""
    done = subprocess.run([PLANETSERVE, *words, "--output", "json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"planetserve {' '.join(words)} failed ({done.returncode}): {done.stderr.strip()}")
    return json.loads(done.stdout)


def process_tree(roots: list[int]) -> set[int]:
    """The given processes and all their descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except FileNotFoundError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = set(roots), list(roots)
    while queue:
        for child in children.get(queue.pop(), []):
            if child not in found:
                found.add(child)
                queue.append(child)
    return found


def cpu_seconds(pids: set[int]) -> dict[int, float]:
    """CPU time used so far by each process that still lives."""
    used = {}
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        used[pid] = (int(fields[11]) + int(fields[12])) / TICKS
    return used


def command_of(pid: int) -> str:
    """A short name of what a process runs: the module for Python, the program otherwise."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    for flag, module in pairwise(words):
        if flag == b"-m":
            return module.decode()
    return Path(words[0].decode()).name


def reputations(home: str) -> list[dict[str, Any]]:
    """One row per ended epoch: number and, per scored model node, its name, credit, reputation after it and reason."""
    names = {node["id"]: node["name"] for node in ask("query", "nodes", "--home", home)["nodes"]}
    rows = []
    for number in range(ask("query", "epoch", "--home", home)["number"]):
        found = ask("query", "epoch", str(number), "--home", home)["results"]
        rows.append({"epoch": number, "results": sorted(({"name": names[r["node_id"]], **r} for r in found), key=by_name)})
    return rows


def by_name(row: dict[str, Any]) -> str:
    """Sort key of results."""
    return str(row["name"])


def measure(home: str, seconds: float) -> dict[str, Any]:
    """Load and memory over `seconds`, then the ledger's view of all epochs."""
    status = ask("localnet", "status", "--home", home)
    roots = [node["pid"] for node in status["nodes"] if node["pid"]]
    before, started = cpu_seconds(process_tree(roots)), time.monotonic()
    time.sleep(seconds)
    after, elapsed = cpu_seconds(process_tree(roots)), time.monotonic() - started
    by_kind: dict[str, float] = {}
    for pid, used in after.items():
        kind = command_of(pid)
        by_kind[kind] = by_kind.get(kind, 0.0) + (used - before.get(pid, 0.0)) / elapsed
    status = ask("localnet", "status", "--home", home)
    memory = sum(node["pss_bytes"] or 0 for node in status["nodes"])
    figures = [
        row("processes", len(after), "count"),
        row("memory_pss", memory, "bytes", at_most=MEMORY_GOAL_BYTES),
        row("idle_load", sum(by_kind.values()), "cores", at_most=LOAD_GOAL_CORES),
        *(row(f"idle_load.{kind}", load, "cores") for kind, load in sorted(by_kind.items())),
    ]
    about = {"seconds": round(elapsed, 1), "height": status["height"], "epochs": reputations(home)}
    return {**document("localnet", figures), **about}


def main() -> None:
    """Measure, then print a table or the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--home", default=".localnet")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args()
    measured = measure(options.home, options.seconds)
    if options.output == "json":
        print(json.dumps(measured, indent=1))
        return
    for figure in measured["figures"]:
        goal = "" if figure["goal"] is None else f"  {figure['goal']}: {'holds' if figure['holds'] else 'MISSED'}"
        print(f"{figure['id']:32}{figure['value']:>16} {figure['unit']}{goal}")
    for epoch in measured["epochs"]:
        found = "  ".join(f"{r['name']}={r['reputation_after'][:6]} ({r['reason']})" for r in epoch["results"])
        print(f"epoch {epoch['epoch']:>4}  {found or 'nothing scored'}")


if __name__ == "__main__":
    main()
