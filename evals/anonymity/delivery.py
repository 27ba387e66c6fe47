"""What arrives when relays die: (4, 3) beside one path, in the virtual network of real cores, against the closed form.

Claim: with relays that die with chance phi before the prompt leaves, a request is answered with chance 4 s^3 - 3 s^4 for
s = (1 - phi)^3, and its clove on one path arrives with chance s; dispersal wins above s = 0.7676 and loses below. An answer
that has begun goes on over fresh circuits.
"""

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from evals.adversary.network import VirtualNetwork
from evals.anonymity import closed_forms as forms
from evals.anonymity.present import Canvas, Table, emit, figure, judged, options
from evals.anonymity.simulation import Estimate, share
from evals.report import Figure
from network.geometry import GEOMETRY
from network.inference import FrameKind, ReplyFrame
from network.modes import Mode

SURVIVALS = (0.60, 0.65, 0.70, 0.7676, 0.80, 0.85, 0.90, 0.95, 0.99)
ANSWER_SECONDS = 2.0
BEGUN_SECONDS = 0.2  # by then the first piece has come
SPARE_PATHS = 12  # disjoint ones, whose relays die like all others
SLOPE_AT_CROSSING = 12 * forms.CROSSOVER_4_3**2 - 12 * forms.CROSSOVER_4_3**3 - 1  # of 4 s^3 - 3 s^4 - s
RESUMED_AT_LEAST = 0.99
RESUMED_FROM = 0.8  # below this s a third of the relays in use die within two seconds
PATIENCE = 120.0


@dataclass(frozen=True)
class Outcome:
    """One prompt: on how many paths all relays lived, how many cloves arrived, and whether the whole answer came."""

    standing: int
    cloves: int
    whole: bool


class Deaths(Enum):
    """When relays die, and whether the user node may build fresh circuits then."""

    BEFORE = "before the prompt leaves"
    ANSWERING = "while it is answered"
    RESUMED = "while it is answered, fresh circuits join"


def exchange(seed: int, failing: float, deaths: Deaths = Deaths.BEFORE) -> Outcome:
    """One user asks once. Relays die just before the prompt leaves, or at random moments before the answer is complete."""
    spares = SPARE_PATHS if deaths is Deaths.RESUMED else 0
    network = VirtualNetwork(seed, relays=(GEOMETRY.n + spares) * GEOMETRY.hops, answer=lambda _: _answer())
    user, paths = network.add_user(), network.paths(GEOMETRY.n + spares)
    own, fresh = paths[: GEOMETRY.n], paths[GEOMETRY.n :]
    circuits = user.path_set(own)
    chance = random.Random(f"{seed}/deaths")
    dying = [name for name in network.relays if chance.random() < failing]
    standing = sum(not any(relay.name in dying for relay in path) for path in own)
    for name in dying:
        if deaths is Deaths.BEFORE:
            network.kill(name)
        else:
            moment = chance.uniform(BEGUN_SECONDS, BEGUN_SECONDS + 0.9 * ANSWER_SECONDS)
            network.clock.after(moment, lambda name=name: network.kill(name))  # type: ignore[misc]
    asked = user.ask(b"what is the weather in Paris?", network.model.entry, circuits, fresh, mode=Mode.SPEEDY)
    network.run_until(lambda: asked.ended, PATIENCE)
    network.run(1.0)  # a clove may be under way when the user has given up
    return Outcome(standing, network.model.inbox.counts["cloves"], asked.whole)


def _answer() -> list[tuple[float, ReplyFrame]]:
    """Twenty pieces of text over two seconds."""
    step = ANSWER_SECONDS / 20
    pieces = [(number * step, ReplyFrame(kind=FrameKind.DELTA, payload=b"a piece of text ")) for number in range(1, 20)]
    return [(0.0, ReplyFrame(kind=FrameKind.ACCEPTED)), *pieces, (ANSWER_SECONDS, ReplyFrame(kind=FrameKind.FINAL))]


@dataclass(frozen=True)
class Point:
    """Many exchanges at one survival: found beside closed."""

    s: float
    dispersed: Estimate
    one_path: Estimate
    answering: Estimate
    resumed: Estimate

    def figures(self) -> list[Figure]:
        """Three sigma each; the last is what fresh circuits must achieve."""
        closed = forms.delivery(self.s, GEOMETRY.n, GEOMETRY.k)
        found = []
        for name, estimate, expected in (("dispersed", self.dispersed, closed), ("one_path", self.one_path, self.s)):
            sigmas = estimate.sigmas(expected)
            goal = f"within 3 sigma of {expected:.4f} ({sigmas:.2f})"
            base = {"baseline": "closed form", "baseline_value": expected}
            found.append(judged(f"delivery.{name}.s{self.s:g}", estimate.mean, "", goal, sigmas <= 3.0, **base))
        sigmas = self.answering.sigmas(closed)
        base = {"baseline": "closed form", "baseline_value": closed}
        goal = f"within 3 sigma of {closed:.4f} ({sigmas:.2f})"
        found.append(judged(f"delivery.answering.s{self.s:g}", self.answering.mean, "", goal, sigmas <= 3.0, **base))
        resumed = figure(f"delivery.resumed.s{self.s:g}", self.resumed.mean, "", **base)
        if self.s >= RESUMED_FROM:
            enough = self.resumed.mean >= RESUMED_AT_LEAST
            resumed = judged(resumed.id, self.resumed.mean, "", f">= {RESUMED_AT_LEAST}", enough, **base)
        found.append(resumed)
        return found


def measure(s: float, runs: int, seed: int) -> Point:
    """Exchanges at one per-path survival, with other seeds for each."""
    failing = 1.0 - s ** (1.0 / GEOMETRY.hops)
    first = seed * 1_000_000 + round(s * 10_000) * 100
    firsts = {deaths: first + 10_000_000 * number for number, deaths in enumerate(Deaths)}
    runs_of = {deaths: [exchange(firsts[deaths] + run, failing, deaths) for run in range(runs)] for deaths in Deaths}
    whole = {deaths: share(sum(each.whole for each in found), runs) for deaths, found in runs_of.items()}
    one_path = share(sum(each.cloves for each in runs_of[Deaths.BEFORE]), runs * GEOMETRY.n)
    return Point(s, whole[Deaths.BEFORE], one_path, whole[Deaths.ANSWERING], whole[Deaths.RESUMED])


def crossover(points: Sequence[Point]) -> Estimate | None:
    """Where the measured curves cross: the root of a parabola through dispersal's gains; None with too few points near it."""
    near = [point for point in points if abs(point.s - forms.CROSSOVER_4_3) < 0.12]
    if len(near) < 4:
        return None
    gains = [point.dispersed.mean - point.one_path.mean for point in near]
    roots = np.roots(np.polyfit([point.s for point in near], gains, 2))
    root = min((float(root.real) for root in roots), key=lambda root: abs(root - forms.CROSSOVER_4_3))
    of_gains = sum(point.dispersed.error**2 + point.one_path.error**2 for point in near) ** 0.5 / len(near)
    return Estimate(root, of_gains / SLOPE_AT_CROSSING)


def draw(points: Sequence[Point], folder: Path) -> Path:
    """Both curves and the crossing."""
    canvas = Canvas(["Answers that arrive, by survival of one path"], width=6)
    axis = canvas.axes[0]
    grid = [0.55 + number * 0.005 for number in range(91)]
    axis.plot(grid, [forms.delivery(s, 4, 3) for s in grid], color=canvas.COLOURS[0], label="4 s³ − 3 s⁴")
    axis.plot(grid, grid, color=canvas.COLOURS[5], label="one path: s")
    series = (
        ("dispersed", "o", 0, "(4, 3), relays die before"),
        ("answering", "s", 1, "(4, 3), relays die while answering"),
        ("resumed", "^", 2, "the same, fresh circuits join"),
    )
    for name, marker, colour, label in series:
        found = [getattr(point, name) for point in points]
        axis.errorbar(
            [point.s for point in points],
            [each.mean for each in found],
            [3 * each.error for each in found],
            fmt=marker,
            markersize=3,
            linewidth=0.8,
            color=canvas.COLOURS[colour],
            label=label,
        )
    axis.plot(
        [p.s for p in points], [p.one_path.mean for p in points], "x", color=canvas.COLOURS[5], label="one clove, measured"
    )
    axis.axvline(forms.CROSSOVER_4_3, color=canvas.COLOURS[3], linewidth=0.8, linestyle="--", label="crossing at 0.7676")
    axis.set_xlabel("survival s of one path, bars: 3 sigma", fontsize=8)
    return canvas.save(folder, "delivery")


def main() -> int:
    parser = options(__doc__ or "")
    parser.add_argument("--runs", type=int, default=1_000, help="exchanges per survival and kind of death (default: 1000)")
    parser.add_argument("--survivals", type=float, nargs="+", default=list(SURVIVALS), help="only these s")
    args = parser.parse_args()
    points = [measure(s, args.runs, args.seed) for s in args.survivals]
    rows = [
        [f"{p.s:g}", f"{1 - p.s ** (1 / 3):.3f}", *(f"{e.mean:.4f} ±{e.error:.4f}" for e in (p.one_path, p.dispersed)),
         f"{forms.delivery(p.s, 4, 3):.4f}", *(f"{e.mean:.4f} ±{e.error:.4f}" for e in (p.answering, p.resumed))]
        for p in points
    ]  # fmt: skip
    head = ["s", "phi", "one path", "(4, 3)", "4 s^3 - 3 s^4", "(4, 3), dying while answering", "fresh circuits join"]
    figures = [each for point in points for each in point.figures()]
    crossing = crossover(points)
    note = ""
    if crossing is not None:
        note = f"the measured curves cross at s = {crossing.mean:.3f} ±{crossing.error:.3f}"
        goal = f"within 3 sigma of {forms.CROSSOVER_4_3:.4f} ({crossing.sigmas(forms.CROSSOVER_4_3):.2f})"
        figures.append(judged("delivery.crossover", crossing.mean, "s", goal, crossing.holds(forms.CROSSOVER_4_3)))
    if not args.no_plot:
        draw(points, args.plots)
    table = Table(f"Delivery, {args.runs} exchanges per cell", head, rows, note)
    return emit("anonymity.delivery", [table], figures, args.output)


if __name__ == "__main__":
    sys.exit(main())
