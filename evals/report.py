"""What every bench prints: figures beside their baselines and goals, as a table or as one JSON document.

The document is `{name, commit, machine, figures: [{id, value, unit, baseline, baseline_value, ratio, goal, holds}]}`; the
least and the greatest of a figure's samples follow it as figures of their own, `ID.min` and `ID.max`. Baselines were measured
in the same run; where others have published a figure, `ID.published` is ours once more beside theirs, measured elsewhere.
"""

import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One figure; `ratio` is value over baseline. `holds` is None where there is no goal."""

    id: str
    value: float
    unit: str
    baseline: str | None = None
    baseline_value: float | None = None
    ratio: float | None = None
    goal: str | None = None
    holds: bool | None = None


@dataclass(frozen=True)
class Row:
    """A figure; where it is the middle of many samples, the least and the greatest of them; who published which value."""

    figure: Figure
    spread: tuple[float, float] | None = None
    published: tuple[str, float] | None = None

    def figures(self) -> list[Figure]:
        """As the document lists them."""
        name, unit = self.figure.id, self.figure.unit
        found = [Figure(f"{name}.{end}", value, unit) for end, value in zip(("min", "max"), self.spread or (), strict=False)]
        if self.published is not None:
            source, value = self.published
            ours = self.figure.value
            found.append(Figure(f"{name}.published", ours, unit, source, value, _short(ours / value)))
        return [self.figure, *found]


def row(
    name: str,
    value: float,
    unit: str,
    *,
    baseline: str | None = None,
    baseline_value: float | None = None,
    at_most: float | None = None,
    at_least: float | None = None,
    ratio_at_most: float | None = None,
    samples: Sequence[float] = (),
    published: tuple[str, float] | None = None,
) -> Row:
    """A row that is judged by the one limit that is given, on what was measured and not on what is printed."""
    ratio = value / baseline_value if baseline_value else None
    goal, holds = None, None
    if at_most is not None:
        goal, holds = f"<= {at_most:.10g}", value <= at_most
    elif at_least is not None:
        goal, holds = f">= {at_least:.10g}", value >= at_least
    elif ratio_at_most is not None and ratio is not None:
        goal, holds = f"ratio <= {ratio_at_most:.10g}", ratio <= ratio_at_most
    figure = Figure(name, _short(value), unit, baseline, _short(baseline_value), _short(ratio), goal, holds)
    return Row(figure, (_short(min(samples)), _short(max(samples))) if samples else None, published)


def document(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The document that scripts read."""
    figures = [asdict(figure) for each in rows for figure in each.figures()]
    return {"name": name, "commit": commit(), "machine": machine(), "figures": figures}


def show(name: str, rows: Sequence[Row], output: str) -> None:
    """Print the document when `output` is `json`, else the table."""
    if output == "json":
        print(json.dumps(document(name, rows), indent=2))
        return
    elsewhere = any(each.published for each in rows)
    others = f" {'published':>10}" if elsewhere else ""
    print(f"{'figure':34} {'value':>12} {'min .. max':>23} {'unit':6} {'baseline':>10} {'ratio':>7}{others}  goal")
    for each in rows:
        figure = each.figure
        spread = "" if each.spread is None else f"{each.spread[0]:.2f} .. {each.spread[1]:.2f}"
        base = "" if figure.baseline_value is None else f"{figure.baseline_value:.2f}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        goal = "" if figure.goal is None else f"  {figure.goal}: {'holds' if figure.holds else 'MISSED'}"
        theirs = "" if each.published is None else f"{each.published[1]:.10g}"
        others = f" {theirs:>10}" if elsewhere else ""
        line = f"{figure.id:34} {figure.value:12.2f} {spread:>23} {figure.unit:6} {base:>10} {ratio:>7}{others}{goal}"
        print(line.rstrip())
    _show_footnotes("baseline", [(each.figure.id, each.figure.baseline) for each in rows])
    _show_footnotes("published", [(each.figure.id, each.published[0] if each.published else None) for each in rows])
    print(f"{machine()}; commit {commit()}")


def _show_footnotes(kind: str, texts: list[tuple[str, str | None]]) -> None:
    for text in dict.fromkeys(text for _, text in texts if text):
        print(f"{kind} of {', '.join(name for name, said in texts if said == text)}: {text}")


def missed(rows: Sequence[Row]) -> bool:
    """Whether any goal is missed."""
    return any(each.figure.holds is False for each in rows)


def commit() -> str:
    """The short commit of the checkout, or `unknown` outside one."""
    here = Path(__file__).parent
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def machine() -> str:
    """Processor, core count and Python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {len(names) or 1} cores, Python {platform.python_version()}"


def _short(value: Any) -> Any:
    return None if value is None else round(value, 3)
