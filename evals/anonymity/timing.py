"""What time alone links, whatever the bytes look like: two first relays of one prompt, and the two ends of one circuit.

No claim of defence: the overlay does not withstand whoever clocks many links at once. This says how many users it takes to
hide among, by mode. Jitter and ticks are the product's, delays of links are drawn (20 ms in the mean, differing by pair).
"""

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from evals.adversary.network import seeded_delays
from evals.anonymity.answers import load, more_like
from evals.anonymity.present import Canvas, Table, emit, figure, options
from evals.anonymity.reply_stream import MODES, ticked
from evals.anonymity.simulation import Estimate, share
from network.geometry import GEOMETRY
from network.modes import PACES, Mode, jitter

RATES = (0.1, 1.0, 10.0, 100.0)  # prompts per second that all users together send
LINK_S = 0.025  # the mean delay of one link, jitter of the network included
SHAKE_S = 0.015  # how much the way through the network adds or takes, as an attacker would guess it


@dataclass(frozen=True)
class Sight:
    """What one relay clocks of one circuit: the first cell out, the first and the last cell home."""

    out: float
    first: float
    last: float


def sights(mode: Mode, rate: float, users: int, seed: int) -> tuple[list[list[Sight]], list[list[float]]]:
    """For every prompt, what its four first relays clock, and when its four proxies see the first cell out."""
    draw = random.Random(f"{seed}/{mode}/{rate}")
    delay = seeded_delays(seed)
    lengths = [len(ticked(answer, mode)[0]) for answer in more_like(load(), 50, seed)]
    guards: list[list[Sight]] = []
    proxies: list[list[float]] = []
    for user in range(users):
        begun = draw.uniform(0.0, users / rate)
        out, at_proxy, at_model, home = [], [], [], []
        for path in range(GEOMETRY.n):
            names = [f"u{user}", *(f"r{user}.{path}.{hop}" for hop in range(GEOMETRY.hops)), "m"]
            left = begun + jitter(PACES[mode], draw.randbytes)
            steps = [delay(source, target) for source, target in pairwise(names)]
            out.append(left + steps[0])
            at_proxy.append(left + sum(steps[:-1]))
            at_model.append(left + sum(steps))
            home.append(sum(delay(source, target) for source, target in pairwise(reversed(names[1:]))))  # to the first relay
        opened = sorted(at_model)[GEOMETRY.k - 1]
        lasts = PACES[mode].tick_s * (draw.choice(lengths) - 1)
        guards.append([Sight(sent, opened + way, opened + way + lasts) for sent, way in zip(out, home, strict=True)])
        proxies.append(at_proxy)
    return guards, proxies


def matched(left: Sequence[Sight], right: Sequence[Sight], far: Callable[[Sight, Sight], float]) -> Estimate:
    """How often the nearest on the other side is the right one."""
    wins = 0
    for number, one in enumerate(left):
        wins += min(range(len(right)), key=lambda other: far(one, right[other])) == number
    return share(wins, len(left))


def attacks(mode: Mode, rate: float, users: int, seed: int) -> dict[str, Estimate]:
    """Three attackers: with two first relays, by the way out or by both ways; with both ends of a circuit."""
    guards, proxies = sights(mode, rate, users, seed)
    first, second = [each[0] for each in guards], [each[1] for each in guards]
    ends = [Sight(each[0] - (GEOMETRY.hops - 1) * LINK_S, 0.0, 0.0) for each in proxies]
    spread = SHAKE_S + PACES[mode].jitter_s

    def by_out(one: Sight, other: Sight) -> float:
        return abs(one.out - other.out)

    def by_all(one: Sight, other: Sight) -> float:
        home = abs(one.first - other.first) + abs(one.last - other.last)
        return abs(one.out - other.out) / spread + home / SHAKE_S

    return {
        "two first relays, way out": matched(first, second, by_out),
        "two first relays, both ways": matched(first, second, by_all),
        "first relay and proxy, way out": matched(first, ends, by_out),
    }


def draw(found: dict[tuple[str, Mode, float], Estimate], folder: Path) -> Path:
    """A panel per attacker."""
    names = list(dict.fromkeys(name for name, _, _ in found))
    canvas = Canvas(names, width=3.6)
    for axis, name in zip(canvas.axes, names, strict=True):
        for number, mode in enumerate(MODES):
            axis.plot(
                RATES,
                [found[name, mode, rate].mean for rate in RATES],
                "o-",
                color=canvas.COLOURS[number],
                label=mode.name.lower(),
            )
        axis.set_xscale("log")
        axis.minorticks_off()
        axis.set_ylim(0, 1.03)
        axis.set_xlabel("prompts per second in the network", fontsize=8)
    canvas.axes[0].set_ylabel("matched by time alone", fontsize=8)
    return canvas.save(folder, "timing")


def main() -> int:
    parser = options(__doc__ or "")
    parser.add_argument("--users", type=int, default=400, help="prompts per rate and mode (default: 400)")
    args = parser.parse_args()
    found = {
        (name, mode, rate): estimate
        for mode in MODES
        for rate in RATES
        for name, estimate in attacks(mode, rate, args.users, args.seed).items()
    }
    names = list(dict.fromkeys(name for name, _, _ in found))
    rows = [
        [mode.name.lower(), f"{rate:g}", *(f"{found[name, mode, rate].mean:.3f}" for name in names)]
        for mode in MODES
        for rate in RATES
    ]
    figures = [
        figure(f"timing.{name.replace(', ', '.').replace(' ', '_')}.{mode.name.lower()}.rate{rate:g}", each.mean, "")
        for (name, mode, rate), each in found.items()
    ]
    note = f"share of {args.users} prompts whose right partner is the nearest in time; guessing: {1 / args.users:.4f}"
    if not args.no_plot:
        draw(found, args.plots)
    table = Table("Linked by time alone", ["mode", "prompts / s", *names], rows, note)
    return emit("anonymity.timing", [table], figures, args.output)


if __name__ == "__main__":
    sys.exit(main())
