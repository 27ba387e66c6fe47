"""How long until some first relay of a user is malicious: kept guards beside fresh first hops.

Claim: with guards the chance is 1 - (1-f)^4 from the first day on and does not grow with use, only as guards are replaced 60
to 120 days after their first use; without guards it passes 0.98 after 100 path sets at f = 0.01. The guard set that user nodes
keep follows the renewal equation of that policy.
"""

import random
import sys
from collections.abc import Sequence
from pathlib import Path

from evals.anonymity import closed_forms as forms
from evals.anonymity.present import Canvas, Table, emit, figure, judged, options
from evals.anonymity.selector import NOW, make_directory
from evals.anonymity.simulation import Estimate, share
from network.geometry import GEOMETRY
from network.guards import DAY, GuardRules, GuardSet

DAYS = (0, 30, 59, 90, 120, 180, 270, 365)
STEP = 2.5  # days between two looks; guards go at the first look after their end
SETS_A_DAY = 20
RELAYS = 100
RULES = GuardRules()
Worst = list[int]  # per look, how many users have met a malicious guard by then


def real_guards(f: float, users: int, seed: int) -> list[Estimate]:
    """The guard sets of so many users through a year; each look builds one circuit over every guard."""
    rng = random.Random(f"{seed}/real/{f}")
    directory, numbers = make_directory([f"family-{relay}" for relay in range(RELAYS)], seed)
    met = [0] * len(DAYS)
    for _ in range(users):
        bad = set(rng.sample(range(RELAYS), forms.malicious_nodes(RELAYS, f)))
        guards = GuardSet(RULES)
        used: set[int] = set()
        for number, looks in enumerate(_looks()):
            for day in looks:
                now = NOW + day * DAY
                guards.refresh(directory, now, rng.randbytes)
                for entry in guards.pick(directory, now, GEOMETRY.n):
                    guards.reached(entry.node_id, now)
                    guards.confirm(entry.node_id, now)
                    used.add(numbers[entry.node_id])
            met[number] += bool(used & bad)
    return [share(count, users) for count in met]


def _looks() -> list[list[float]]:
    """The days of looks up to each of `DAYS`, beyond the one before."""
    looks: list[list[float]] = []
    day = 0.0
    for until in DAYS:
        looks.append([])
        while day <= until:
            looks[-1].append(day)
            day += STEP
    return looks


def draw(f: float, real: Sequence[Estimate], folder: Path) -> Path:
    """Chance over a year."""
    canvas = Canvas([f"Some first relay was malicious, f = {f:g}"], width=6)
    axis = canvas.axes[0]
    days = list(range(0, 366, 5))
    fresh = [forms.some_first_hop_bad(f, GEOMETRY.n, max(1, day * SETS_A_DAY)) for day in days]
    axis.plot(days, fresh, color=canvas.COLOURS[1], label=f"no guards, {SETS_A_DAY} path sets a day")
    kept = [forms.some_guard_bad(f, RULES.count)] * len(days)
    axis.plot(days, kept, ":", color=canvas.COLOURS[0], label="4 guards, never replaced")
    ideal = [forms.some_guard_bad_by(f, RULES.count, day, *RULES.life_days) for day in days]
    axis.plot(days, ideal, color=canvas.COLOURS[0], label="4 guards, each kept 60 to 120 days from its first use")
    two = [forms.some_guard_bad_by(f, 2, day, *RULES.life_days) for day in days]
    axis.plot(days, two, color=canvas.COLOURS[2], label="2 guards, likewise")
    axis.plot(
        DAYS, [each.mean for each in real], "o", markersize=4, color=canvas.COLOURS[0], label="the guard set of user nodes"
    )
    axis.set_xlabel("days", fontsize=8)
    axis.set_ylim(0, 1.03)
    return canvas.save(folder, "guards_over_time")


def main() -> int:
    parser = options(__doc__ or "")
    parser.add_argument("--users", type=int, default=600, help="users per fraction (default: 600)")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.01, 0.1])
    args = parser.parse_args()
    rows, figures = [], []
    found = {f: real_guards(f, args.users, args.seed) for f in args.fractions}
    for f, real in found.items():
        for day, ours in zip(DAYS, real, strict=True):
            fixed = forms.some_guard_bad(f, RULES.count)
            closed = forms.some_guard_bad_by(f, RULES.count, day, *RULES.life_days)
            fresh = forms.some_first_hop_bad(f, GEOMETRY.n, max(1, day * SETS_A_DAY))
            rows.append(
                [f"{f:g}", str(day), *(f"{x:.4f}" for x in (fresh, fixed, closed)), f"{ours.mean:.4f} ±{ours.error:.4f}"]
            )
            goal = f"within 3 sigma of {closed:.4f} ({ours.sigmas(closed):.2f})"
            base = {"baseline": "no guards", "baseline_value": fresh}
            figures.append(judged(f"guards.f{f:.2f}.day{day}", ours.mean, "", goal, ours.holds(closed), **base))
        figures.append(figure(f"guards.f{f:.2f}.without.100_sets", forms.some_first_hop_bad(f, GEOMETRY.n, 100), ""))
    head = ["f", "day", f"no guards, {SETS_A_DAY} sets a day", "4 guards, never replaced", "closed form", "guard set"]
    if not args.no_plot:
        draw(args.fractions[-1], found[args.fractions[-1]], args.plots)
    return emit("anonymity.guards_over_time", [Table("P[some first relay was malicious]", head, rows)], figures, args.output)


if __name__ == "__main__":
    sys.exit(main())
