"""What a side by side says: cells, their middles over the rounds, the goals, the table."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.forwarding.load import Summary
from evals.report import Row, commit, machine, row

OURS, NONE, MESH = "planetserve", "none", "smg mesh pair"
CONFLICT, RATE = "conflict", "rate"


@dataclass(slots=True)
class Reading:
    """What all counters say at one moment, or what they have gone up by: the routers' CPU and bytes, the engines' work."""

    at: float
    cpu_s: float
    between: int | None
    prompt_tokens: list[int]
    cached_tokens: int

    def since(self, before: "Reading") -> "Reading":
        """What came after."""
        between = None if self.between is None or before.between is None else self.between - before.between
        read = [after - earlier for after, earlier in zip(self.prompt_tokens, before.prompt_tokens, strict=True)]
        cached = self.cached_tokens - before.cached_tokens
        return Reading(self.at - before.at, self.cpu_s - before.cpu_s, between, read, cached)

    @property
    def hit(self) -> float:
        """The share of the prompts' tokens that engines did not have to read."""
        return self.cached_tokens / max(1, sum(self.prompt_tokens))

    @property
    def spread(self) -> float:
        """The tokens of the busiest engine's prompts over the mean engine's."""
        return max(self.prompt_tokens) / max(1e-9, statistics.fmean(self.prompt_tokens))


@dataclass(slots=True)
class Cell:
    """One router under one plan, once; `quiet` is a second before the first request came."""

    scenario: str
    router: str
    turn: int
    summary: Summary | None = None
    counted: Reading | None = None
    quiet: Reading | None = None
    error: str = ""

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "Cell":
        """What a slice has kept."""
        kept = dict(said)
        if kept["summary"] is not None:
            kept["summary"] = Summary(**{**kept["summary"], "reasons": tuple(kept["summary"]["reasons"])})
        for name in ("counted", "quiet"):
            kept[name] = Reading(**kept[name]) if kept[name] is not None else None
        return cls(**kept)

    def line(self) -> str:
        """One line for who watches."""
        head = f"round {self.turn} {self.scenario:14} {self.router:20}"
        if self.summary is None or self.counted is None:
            return f"{head} {self.error}"
        said, seen = self.summary, self.counted
        shares = " ".join(f"{tokens / max(1, sum(seen.prompt_tokens)):.2f}" for tokens in seen.prompt_tokens)
        return (
            f"{head} ttft {said.mean_ttft:7.1f} / {said.p50_ttft:7.1f} / {said.p99_ttft:7.1f} ms, hit {seen.hit:.3f}, "
            f"{1e6 * seen.cpu_s / max(1, said.requests):.0f} us, engines {shares}, failed {said.failures}, "
            f"late {said.worst_late:.0f} ms {' '.join(said.reasons)}"
        )


FIGURES: dict[str, tuple[str, Callable[[Summary, Reading, Reading], float | None]]] = {
    "mean_ttft": ("ms", lambda said, seen, quiet: said.mean_ttft),
    "p50_ttft": ("ms", lambda said, seen, quiet: said.p50_ttft),
    "p99_ttft": ("ms", lambda said, seen, quiet: said.p99_ttft),
    "mean_latency": ("ms", lambda said, seen, quiet: said.mean_total),
    "p99_latency": ("ms", lambda said, seen, quiet: said.p99_total),
    "hit": ("", lambda said, seen, quiet: seen.hit),
    "max_over_mean": ("", lambda said, seen, quiet: seen.spread),
    "cpu_per_request": ("us", lambda said, seen, quiet: 1e6 * seen.cpu_s / max(1, said.requests)),
    "failed": ("%", lambda said, seen, quiet: 100 * said.failures / max(1, said.requests)),
    "bytes_between": ("B", lambda said, seen, quiet: None if seen.between is None else seen.between / max(1, said.requests)),
    "quiet_bytes": ("B/s", lambda said, seen, quiet: None if quiet.between is None else quiet.between / quiet.at),
    "quiet_cpu": ("ms/s", lambda said, seen, quiet: 1e3 * quiet.cpu_s / quiet.at),
}


def samples(cells: Sequence[Cell], scenario: str, router: str, figure: str) -> list[float]:
    """A figure's values over the rounds."""
    take = FIGURES[figure][1]
    mine = [cell for cell in cells if cell.scenario == scenario and cell.router == router]
    found = [take(cell.summary, cell.counted, cell.quiet) for cell in mine if cell.summary and cell.counted and cell.quiet]
    return [value for value in found if value is not None]


def middle(cells: Sequence[Cell], scenario: str, router: str, figure: str) -> float | None:
    """Their median."""
    found = samples(cells, scenario, router, figure)
    return statistics.median(found) if found else None


def goals(cells: Sequence[Cell]) -> list[Row]:
    """What was promised, judged on the medians."""
    scenarios = list(dict.fromkeys(cell.scenario for cell in cells))
    routers = list(dict.fromkeys(cell.router for cell in cells))
    found = []
    others = {
        name: value
        for name in routers
        if name not in (OURS, NONE) and (value := middle(cells, CONFLICT, name, "mean_ttft")) is not None
    }
    ours = middle(cells, CONFLICT, OURS, "mean_ttft")
    if ours is not None and others:
        best = min(others, key=lambda name: others[name])
        text = f"the best of the others, {best}"
        told = {"baseline": text, "baseline_value": others[best], "ratio_at_most": 0.8}
        found.append(row("goal.conflict.mean_ttft", ours, "ms", **told, samples=samples(cells, CONFLICT, OURS, "mean_ttft")))
    for scenario in scenarios:
        value = middle(cells, scenario, OURS, "cpu_per_request")
        if scenario == RATE and value is not None:
            spread = samples(cells, scenario, OURS, "cpu_per_request")
            found.append(row(f"goal.{scenario}.cpu_per_request", value, "us", at_most=500, samples=spread))
            continue
        for figure, most in (("mean_latency", 0.4), ("p99_latency", 1.0)):
            mine, bare = middle(cells, scenario, OURS, figure), middle(cells, scenario, NONE, figure)
            if mine is not None and bare is not None:
                told = {"baseline": "no forwarding", "baseline_value": bare, "ratio_at_most": most}
                found.append(row(f"goal.{scenario}.{figure}", mine, "ms", **told))
        mine, mesh = (middle(cells, scenario, name, "bytes_between") for name in (OURS, MESH))
        if mine is not None and mesh:
            found.append(
                row(
                    f"goal.{scenario}.bytes_between",
                    mine,
                    "B",
                    baseline=f"{MESH}, its sockets",
                    baseline_value=mesh,
                    at_most=100,
                )
            )
    return found


def rows(cells: Sequence[Cell]) -> list[Row]:
    """Every figure of every router, then the goals."""
    found = []
    for scenario, router in dict.fromkeys((cell.scenario, cell.router) for cell in cells):
        for figure, (unit, _) in FIGURES.items():
            if values := samples(cells, scenario, router, figure):
                name = f"{scenario}.{router.replace(' ', '-')}.{figure}"
                found.append(row(name, statistics.median(values), unit, samples=values))
    return found + goals(cells)


def show_table(cells: Sequence[Cell], left_out: Mapping[str, str]) -> None:
    """One line for each router and scenario, medians over the rounds; then the goals, and who was left out and why."""
    rounds = len({cell.turn for cell in cells})
    print(f"medians of {rounds} rounds; ttft and latency in ms (mean, with its least and greatest round, p50, p99); CPU of all")
    print("processes of a router; hits at the engines, and the busiest engine's prompt tokens over the mean's; bytes between")
    print("routers per request, and per second of quiet")
    for scenario in dict.fromkeys(cell.scenario for cell in cells):
        print(f"\n{scenario}")
        print(
            f"  {'router':20} {'mean ttft':>9} {'min .. max':>17} {'p50':>7} {'p99':>8} {'latency':>8} {'p99':>8}"
            f" {'hit':>6} {'max/mean':>8} {'CPU us':>7} {'failed %':>8} {'bytes':>8} {'quiet B/s':>9}"
        )
        for router in dict.fromkeys(cell.router for cell in cells if cell.scenario == scenario):
            print(f"  {router:20} {_line(cells, scenario, router)}")
    print()
    for each in goals(cells):
        figure = each.figure
        base = "" if figure.baseline is None else f" ({figure.baseline}: {figure.baseline_value:.1f}, ratio {figure.ratio:.2f})"
        print(
            f"{figure.id:34} {figure.value:9.1f} {figure.unit:3} {figure.goal}: {'holds' if figure.holds else 'MISSED'}{base}"
        )
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}")
    for text in dict.fromkeys(f"{cell.router}: {cell.error}" for cell in cells if cell.error):
        print(f"failed: {text}")
    print(f"{machine()}; commit {commit()}")


def _line(cells: Sequence[Cell], scenario: str, router: str) -> str:
    values = {figure: middle(cells, scenario, router, figure) for figure in FIGURES}
    if values["mean_ttft"] is None:
        return "did not run"
    spread = samples(cells, scenario, router, "mean_ttft")
    between, quiet = ("-" if not values[name] else f"{values[name]:.0f}" for name in ("bytes_between", "quiet_bytes"))
    return (
        f"{values['mean_ttft']:9.1f} {f'{min(spread):.1f} .. {max(spread):.1f}':>17} {values['p50_ttft']:7.1f} "
        f"{values['p99_ttft']:8.1f} {values['mean_latency']:8.1f} {values['p99_latency']:8.1f} {values['hit']:6.3f} "
        f"{values['max_over_mean']:8.2f} {values['cpu_per_request']:7.0f} {values['failed']:8.2f} {between:>8} {quiet:>9}"
    )
