"""How every measure shows itself: one command line, tables for people, one JSON document for scripts, plots as SVG files.

The document is that of every bench (`evals/report.py`): figures with a baseline, a ratio and a goal that holds or not.
"""

import argparse
import importlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evals.report import Figure, commit, machine

FRACTIONS = (0.01, 0.05, 0.10, 0.20, 0.30, 0.40, 0.50)


@dataclass(frozen=True)
class Table:
    """Rows of text under a title."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __str__(self) -> str:
        cells = [list(self.head), *(list(row) for row in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.head))]
        lines = ["| " + " | ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in cells]
        lines.insert(1, "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
        return "\n".join([self.title, "", *lines, *([self.note] if self.note else []), ""])


def options(about: str, seed: int = 1) -> argparse.ArgumentParser:
    """The arguments that every measure takes."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--seed", type=int, default=seed, help=f"every draw follows from it (default: {seed})")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument("--plots", type=Path, default=Path("build/plots"), help="where plots go (default: build/plots)")
    parser.add_argument("--no-plot", action="store_true", help="draw nothing; needs no matplotlib")
    return parser


def figure(name: str, value: float, unit: str, baseline: str | None = None, baseline_value: float | None = None) -> Figure:
    """A figure without a goal, with all its digits."""
    ratio = value / baseline_value if baseline_value else None
    return Figure(name, value, unit, baseline, baseline_value, ratio)


def judged(name: str, value: float, unit: str, goal: str, holds: bool, **baseline: Any) -> Figure:
    """A figure with a goal."""
    plain = figure(name, value, unit, **baseline)
    return Figure(**{**asdict(plain), "goal": goal, "holds": holds})


def emit(name: str, tables: Sequence[Table], figures: Sequence[Figure], output: str) -> int:
    """Print everything; 1 when a goal is missed."""
    missed = [each for each in figures if each.holds is False]
    if output == "json":
        rows = [asdict(each) for each in figures]
        print(json.dumps({"name": name, "commit": commit(), "machine": machine(), "figures": rows}, indent=2))
        return 1 if missed else 0
    for table in tables:
        print(table)
    judgements = [each for each in figures if each.holds is not None]
    for each in missed:
        print(f"MISSED  {each.id} = {each.value:.6g} {each.unit}: {each.goal}")
    print(f"{len(judgements) - len(missed)} of {len(judgements)} goals hold; {machine()}; commit {commit()}")
    return 1 if missed else 0


class Canvas:
    """Panels side by side in one SVG. Line colours are fixed, so that one series looks the same in every plot."""

    COLOURS = ("#0b5394", "#d1495b", "#2a9d5c", "#b07d00", "#7a4fb5", "#4d4d4d", "#00a3b4", "#a34a1c")

    def __init__(self, panels: Sequence[str], width: float = 4.4) -> None:
        self._pyplot = _pyplot()
        self.figure, axes = self._pyplot.subplots(1, len(panels), figsize=(width * len(panels), 4.0), squeeze=False)
        self.axes = list(axes[0])
        for axis, title in zip(self.axes, panels, strict=True):
            axis.set_title(title, fontsize=9)
            axis.tick_params(labelsize=8)
            axis.grid(alpha=0.25, linewidth=0.5)
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)

    def save(self, folder: Path, name: str, legends: Sequence[int] | None = None) -> Path:
        """Write NAME.svg and NAME.png; `legends` are the panels that get one (all of them otherwise)."""
        for number, axis in enumerate(self.axes):
            if (legends is None or number in legends) and axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.svg"
        self.figure.tight_layout()
        self.figure.savefig(path, metadata={"Date": None})
        path.write_text(re.sub(r"(\.\d\d)\d+", r"\1", path.read_text()))  # hundredths of a point are enough
        self.figure.savefig(path.with_suffix(".png"), dpi=110)
        self._pyplot.close(self.figure)
        return path


def _pyplot() -> Any:
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ModuleNotFoundError as error:
        raise SystemExit("matplotlib is not installed: install requirements-evals.txt, or pass --no-plot") from error
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "planetserve", "path.simplify": True})
    return importlib.import_module("matplotlib.pyplot")
