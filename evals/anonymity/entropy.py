"""Entropy and confidentiality against the malicious fraction f: closed forms, simulation and the real path selector.

Claim: the three agree within 3 standard errors, at the published settings, at equal settings, and for the sound posterior.
"""

import random
import sys
from dataclasses import dataclass
from math import log2
from pathlib import Path

from evals.anonymity import closed_forms as forms
from evals.anonymity.present import FRACTIONS, Canvas, Table, emit, figure, judged, options
from evals.anonymity.selector import make_directory, real_paths
from evals.anonymity.simulation import Estimate, estimate, independent_paths, play, published_confidentiality, share
from evals.report import Figure
from network.geometry import GEOMETRY

N_PUBLISHED = 10_000
N, K, HOPS = GEOMETRY.n, GEOMETRY.k, GEOMETRY.hops
DIRECTORIES = 8


@dataclass(frozen=True)
class Check:
    """One measured quantity beside the closed form that it must meet."""

    name: str
    f: float
    found: Estimate
    closed: float

    def figure(self) -> Figure:
        """Judged at three standard errors."""
        sigmas = self.found.sigmas(self.closed)
        base = {"baseline": "closed form", "baseline_value": self.closed}
        goal = f"within 3 sigma of {self.closed:.5f} ({sigmas:.2f})"
        return judged(f"{self.name}.f{self.f:.2f}", self.found.mean, "", goal, sigmas <= 3.0, **base)


def simulate(f: float, nodes: int, runs: int, seed: int) -> list[Check]:
    """Independent hops, as the closed forms of the sound posterior have them."""
    rng = random.Random(f"{seed}/{f}")
    malicious = forms.malicious_nodes(nodes, f)
    honest, q = nodes - malicious, forms.first_is_bad(f, HOPS)
    draws = (independent_paths(N, HOPS, malicious, nodes, rng) for _ in range(runs))
    tally = play(draws, lambda node: node < malicious, q, honest)
    return [
        Check("simulated.linked", f, _normalised(tally.linked, nodes), forms.entropy_linked(N, HOPS, f, nodes)),
        Check("simulated.best_guess", f, estimate(tally.guesses), forms.best_guess_linked(N, HOPS, f, nodes)),
        Check("simulated.guessed_right", f, estimate(tally.right), forms.best_guess_linked(N, HOPS, f, nodes)),
        Check("simulated.one_path", f, _normalised(tally.alone, nodes), forms.entropy_one_path(f, HOPS, nodes)),
        Check("simulated.any_hop", f, _secret(tally.captured_any), forms.confidentiality(forms.seen_on_any_hop(f, HOPS), N, K)),
        Check("simulated.last_hop", f, _secret(tally.captured_last), forms.confidentiality(f, N, K)),
    ]


Drawn = list[tuple[int, list[list[list[int]]]]]  # per directory: its number, path sets of relay numbers


def draw_real(nodes: int, runs: int, seed: int) -> Drawn:
    """Path sets of the real selector over several directories: the user is one of `nodes`, the others are relays."""
    drawn: Drawn = []
    for number in range(DIRECTORIES):
        directory, numbers = make_directory([f"family-{relay}" for relay in range(nodes - 1)], seed * 1000 + number)
        drawn.append((number, list(real_paths(directory, numbers, runs // DIRECTORIES, seed * 77 + number))))
    return drawn


def select(drawn: Drawn, f: float, nodes: int, seed: int) -> tuple[list[Check], int]:
    """What the real selector's path sets give an adversary that holds a fixed random share of each directory's relays."""
    relays, malicious = nodes - 1, forms.malicious_nodes(nodes, f)
    q = forms.first_is_bad_distinct(relays, malicious, HOPS)
    linked: list[float] = []
    any_hop: list[int] = []
    last_hop: list[int] = []
    most = 0
    for number, path_sets in drawn:
        bad = set(random.Random(f"{seed}/{f}/{number}").sample(range(relays), malicious))
        tally = play(path_sets, bad.__contains__, q, nodes - malicious)
        linked += tally.linked
        any_hop += tally.captured_any
        last_hop += tally.captured_last
        most = max(most, tally.held_by_one)
    checks = [
        Check("selector.linked", f, _normalised(linked, nodes), forms.entropy_linked_distinct(nodes, malicious, HOPS, N)),
        Check("selector.any_hop", f, _secret(any_hop), forms.confidentiality_distinct(relays, malicious, HOPS, N, K)),
        Check("selector.last_hop", f, _secret(last_hop), forms.confidentiality_distinct(relays, malicious, 1, N, K)),
    ]
    return checks, most


def one_operator(f: float, nodes: int, runs: int, seed: int) -> Estimate:
    """Confidentiality when all malicious relays declare one operator family: at most one of them fits into a path set."""
    malicious = forms.malicious_nodes(nodes, f)
    directory, numbers = make_directory(
        ["the operator" if relay < malicious else f"family-{relay}" for relay in range(nodes)], seed
    )
    tally = play(real_paths(directory, numbers, runs, seed), lambda node: node < malicious, 0.5, nodes - malicious)
    return _secret(tally.captured_any)


def published(f: float, runs: int, seed: int) -> list[Check]:
    """The published confidentiality script's model, at its settings and at three hops."""
    rng = random.Random(f"{seed}/published/{f}")
    malicious = forms.malicious_nodes(N_PUBLISHED, f)
    checks = []
    for hops in (3, 4, 6):
        pooled, alone = published_confidentiality(f, 4, 3, hops, malicious, runs, rng)
        seen = forms.seen_on_any_hop(f, hops)
        checks.append(Check(f"published.pooled.l{hops}", f, pooled, forms.confidentiality(seen, 4, 3)))
        checks.append(Check(f"published.alone.l{hops}", f, alone, forms.confidentiality_single_node(seen, malicious)))
    return checks


def _normalised(bits: list[float], nodes: int) -> Estimate:
    found = estimate(bits)
    return Estimate(found.mean / log2(nodes), found.error / log2(nodes))


def _secret(captured: list[int]) -> Estimate:
    return share(sum(count < K for count in captured), len(captured))


def entropy_tables() -> list[Table]:
    """What needs no run: published settings, equal settings, the sound posteriors."""
    d, g, s = forms.published_entropy, forms.published_entropy_garlic_cast, N_PUBLISHED
    fractions = (0.001, *FRACTIONS)
    settings = [
        [
            f"{f:g}",
            *(f"{x:.4f}" for x in (d(4, 4, f, s), g(4, 4, f, s), d(1, 5, f, s), d(4, 3, f, s), g(4, 3, f, s), d(1, 3, f, s))),
        ]
        for f in fractions
    ]
    sound = [
        [
            f"{f:g}",
            f"{forms.entropy_one_path(f, HOPS, s):.4f}",
            f"{forms.entropy_last_hop_knows(f, HOPS, s):.4f}",
            f"{forms.entropy_position_known(f, s):.4f}",
            f"{forms.entropy_linked(N, HOPS, f, s):.4f}",
            f"{s ** forms.entropy_linked(N, HOPS, f, s):.0f}",
            f"{forms.best_guess_linked(N, HOPS, f, s):.4f}",
            f"{forms.both_ends_bad(f, N):.4f}",
        ]
        for f in fractions
    ]
    head = ["f", "PS(4,4)", "GC(4,4)", "onion(1,5)", "PS l=3", "GC l=3", "onion l=3"]
    sound_head = ["f", "one path", "last hop knows", "position known", "4 linked", "set size", "best guess", "both ends bad"]
    return [
        Table(
            f"Normalised entropy as published, N = {s}: (paths, hops); left their settings, right equal ones", head, settings
        ),
        Table(f"Normalised entropy of the sound posterior, N = {s}, 3 hops", sound_head, sound),
    ]


def confidentiality_table() -> Table:
    """The closed forms beside each other."""
    rows = []
    for f in FRACTIONS:
        any_hop = [forms.confidentiality(forms.seen_on_any_hop(f, hops), 4, 3) for hops in (4, 6, 3)]
        rows.append([f"{f:g}", *(f"{x:.5f}" for x in (*any_hop, forms.confidentiality(f, 4, 3))), "1"])
    head = ["f", "published PS l=4", "published GC l=6", "any hop l=3", "last hop alone", "sealed"]
    note = "`sealed`: encrypted to the model node; relays and proxies can read nothing, however many collude."
    return Table("Confidentiality against colluders: P[fewer than 3 of 4 cloves are read]", head, rows, note)


def check_table(checks: list[Check], title: str) -> Table:
    """Measured beside closed: one row per fraction, one column per quantity."""
    names = list(dict.fromkeys(check.name for check in checks))
    rows = []
    for f in FRACTIONS:
        cells = [next(check for check in checks if check.name == name and check.f == f) for name in names]
        rows.append([f"{f:g}", *(f"{c.found.mean:.4f} ±{c.found.error:.4f} / {c.closed:.4f}" for c in cells)])
    worst = max(checks, key=lambda check: check.found.sigmas(check.closed))
    gap = f"{worst.name} at f = {worst.f:g}, {worst.found.sigmas(worst.closed):.2f} sigma"
    note = f"found ±standard error / closed form; farthest apart: {gap}"
    return Table(title, ["f", *(name.partition(".")[2] for name in names)], rows, note)


def draw(checks: list[Check], folder: Path) -> Path:
    """Both figures: entropy on the left, confidentiality on the right."""
    canvas = Canvas(["Normalised entropy of who asks", "Confidentiality against colluders"])
    left, right = canvas.axes
    grid = [0.001, *(number / 100 for number in range(1, 51))]
    colours = canvas.COLOURS
    d, s = forms.published_entropy, N_PUBLISHED
    left.plot(grid, [d(4, 4, f, s) for f in grid], ":", color=colours[5], label="published PS (4 paths, 4 hops)")
    left.plot(
        grid, [forms.published_entropy_garlic_cast(4, 4, f, s) for f in grid], ":", color=colours[3], label="published GC"
    )
    left.plot(grid, [forms.entropy_one_path(f, HOPS, s) for f in grid], color=colours[0], label="sound, one path")
    left.plot(
        grid, [forms.entropy_position_known(f, s) for f in grid], "--", color=colours[0], label="sound, hop 1 knows it is first"
    )
    left.plot(grid, [forms.entropy_linked(N, HOPS, f, s) for f in grid], color=colours[1], label="sound, 4 paths linked")
    for name, axis, colour in (("simulated.linked", left, colours[1]), ("simulated.one_path", left, colours[0])):
        _points(axis, [c for c in checks if c.name == name], colour, "o", "simulated" if "linked" in name else "")
    right.plot(
        grid,
        [forms.confidentiality(forms.seen_on_any_hop(f, 6), 4, 3) for f in grid],
        ":",
        color=colours[3],
        label="published GC, 6 hops",
    )
    right.plot(
        grid,
        [forms.confidentiality(forms.seen_on_any_hop(f, 4), 4, 3) for f in grid],
        ":",
        color=colours[5],
        label="published PS, 4 hops",
    )
    right.plot(
        grid,
        [forms.confidentiality(forms.seen_on_any_hop(f, 3), 4, 3) for f in grid],
        color=colours[1],
        label="read at any of 3 hops",
    )
    right.plot(grid, [forms.confidentiality(f, 4, 3) for f in grid], color=colours[0], label="read at the last hop")
    right.plot([0, 0.5], [1, 1], color=colours[2], label="sealed to the model node")
    _points(right, [c for c in checks if c.name == "selector.any_hop"], colours[1], "s", "real path selector")
    _points(right, [c for c in checks if c.name == "selector.last_hop"], colours[0], "s", "")
    for axis in canvas.axes:
        axis.set_xlabel("malicious fraction f", fontsize=8)
        axis.set_xlim(0, 0.5)
        axis.set_ylim(0, 1.03)
    return canvas.save(folder, "entropy")


def _points(axis: object, checks: list[Check], colour: str, marker: str, label: str) -> None:
    axis.plot(  # type: ignore[attr-defined]
        [c.f for c in checks], [c.found.mean for c in checks], marker, color=colour, markersize=4, label=label or None
    )


def main() -> int:
    parser = options(__doc__ or "")
    parser.add_argument("--runs", type=int, default=20_000, help="path sets per fraction in the simulation (default: 20000)")
    parser.add_argument("--selector-runs", type=int, default=4_000, help="path sets of the real selector (default: 4000)")
    parser.add_argument("--nodes", type=int, default=400, help="nodes of the real selector's directory, user included")
    args = parser.parse_args()
    simulated = [check for f in FRACTIONS for check in simulate(f, N_PUBLISHED, args.runs, args.seed)]
    script = [check for f in FRACTIONS for check in published(f, args.runs, args.seed)]
    drawn = draw_real(args.nodes, args.selector_runs, args.seed)
    found = [select(drawn, f, args.nodes, args.seed) for f in FRACTIONS]
    chosen = [check for checks, _ in found for check in checks]
    most = max(held for _, held in found)
    family = one_operator(0.3, args.nodes, args.selector_runs // 20, args.seed)
    tables = [
        *entropy_tables(),
        confidentiality_table(),
        check_table(simulated, f"Simulation, {args.runs} path sets per f, N = {N_PUBLISHED}"),
        check_table(chosen, f"Real path selector, {args.selector_runs} path sets per f, N = {args.nodes}, distinct relays"),
        check_table(script, f"The published script's model, {args.runs} messages per f"),
    ]
    figures = [check.figure() for check in (*simulated, *chosen, *script)]
    figures.append(judged("selector.cloves_one_node_sees", most, "", "<= 1: no node serves two paths", most <= 1))
    figures.append(
        judged(
            "selector.one_operator_family.f0.30", family.mean, "", "1: its relays never share a path set", family.mean == 1.0
        )
    )
    figures += [figure(f"closed.linked.f{f:.2f}", forms.entropy_linked(N, HOPS, f, N_PUBLISHED), "") for f in FRACTIONS]
    if not args.no_plot:
        draw([*simulated, *chosen], args.plots)
    return emit("anonymity.entropy", tables, figures, args.output)


if __name__ == "__main__":
    sys.exit(main())
