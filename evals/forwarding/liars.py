"""Model nodes that lie to their group, among honest ones, on a virtual clock: what it costs the honest nodes' users.

Every node is a real `Forwarder`, and what they tell each other are real signed posts; a liar is one whose hand is in its own
mind: in what it claims, in the load it reports, in the cached tokens it says it had, in what it does with a prompt it was
given. `python -m evals.forwarding.liars` prints the table of `docs/forwarding.md` section 11.
"""

import argparse
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from evals.adversary.attack import standing
from evals.forwarding.engines import Job, Speed
from evals.forwarding.flight import Choice, Fleet, Flight, Turn
from evals.forwarding.members import Members, key_of
from evals.forwarding.simulator import Simulation
from evals.forwarding.traces import BLOCK_TOKENS, Request, Trace
from evals.report import Row, row, show
from network.hrtree.delta import ChangeKind
from network.ids import node_id
from serving_node.forwarder import Forwarder
from serving_node.load_factor import EngineLoad

FLEET = Fleet(nodes=8, entries=8, sync_s=1.0, cache_blocks=600, slots=16, seed=7)
LIARS = frozenset({0, 1})
HONEST = tuple(number for number in range(FLEET.nodes) if number not in LIARS)
CLAIMED_AT_ONCE = 8
# Room for one prompt and no more.
NO_CACHE = 1
# A machine that should not be in the group: five times slower than the others.
SLOW = Speed(token_s=250e-6, step_s=0.04)


@dataclass(frozen=True, slots=True)
class Lie:
    """One way of lying. Each part left out is honest."""

    name: str
    claims: Callable[[Forwarder, float], None] | None = None
    load: Callable[[EngineLoad], EngineLoad] | None = None
    cached: Callable[[Choice, Job], int] | None = None
    speed: Speed | None = None
    passes_on: bool = False
    cache_blocks: int = 0


def claim_everything(mind: Forwarder, now: float) -> None:
    """Claims whatever honest nodes have claimed of late."""
    index = mind.index
    for generation in index.generations():
        tree = index.tree(generation)
        for peer in HONEST:
            for _, path in sorted(tree.paths(node_id(key_of(peer).public)), reverse=True)[:CLAIMED_AT_ONCE]:
                if tree.insert(path, mind.own, now):
                    mind.sync.journal.record(generation, ChangeKind.HOLD, path)


def idle(load: EngineLoad) -> EngineLoad:
    """Nothing to do, says who has much."""
    return replace(load, running=0, waiting=0, queued_tokens=0)


def swift(load: EngineLoad) -> EngineLoad:
    """A hundred times the speed it has, and nothing to do."""
    return replace(idle(load), capacity_tokens_per_s=100 * (load.capacity_tokens_per_s or 20_000.0))


def as_claimed(choice: Choice, job: Job) -> int:
    """Says it had cached what it had claimed."""
    return max(job.cached_tokens, choice.held_tokens)


LIES = (
    Lie("claims-all", claims=claim_everything, cache_blocks=NO_CACHE),
    Lie("claims-and-swears", claims=claim_everything, cached=as_claimed, cache_blocks=NO_CACHE),
    Lie("hides-load", load=idle, speed=SLOW),
    Lie("inflates-speed", load=swift, speed=SLOW),
    Lie("passes-on", claims=claim_everything, cached=as_claimed, passes_on=True),
    Lie("everything-at-once", claims=claim_everything, load=swift, cached=as_claimed, speed=SLOW, cache_blocks=NO_CACHE),
)


class LyingMembers(Members):
    """Real forwarders, some of whose owners lie."""

    def __init__(self, simulation: Simulation, policy: str, lie: Lie | None) -> None:
        self.lie = lie
        self.liars = LIARS if lie else frozenset[int]()
        super().__init__(simulation, policy)
        for number in self.liars:
            engine = simulation.nodes[number].engine
            engine.speed = (lie and lie.speed) or engine.speed
            engine.cache_blocks = (lie and lie.cache_blocks) or engine.cache_blocks

    def tell(self, node: int, now: float) -> None:
        """A liar's flush has its claims in it."""
        if node in self.liars and self.lie and self.lie.claims:
            self.lie.claims(self.minds[node], now)
        super().tell(node, now)

    def loaded(self, node: int, load: EngineLoad, now: float) -> None:
        """A liar's report is what it likes."""
        if node in self.liars and self.lie and self.lie.load:
            load = self.lie.load(load)
        super().loaded(node, load, now)

    def answered(self, turn: Turn, asked: int, flight: Flight, ttft_s: float, now: float) -> None:
        """A liar's word about its cache is what it likes; who was asked is judged by it, whoever answered."""
        job = flight.job
        assert job is not None
        if asked in self.liars and self.lie and self.lie.cached:
            said = min(self.lie.cached(turn.choice, job), job.request.prompt_tokens - 1)
            flight.job = replace(job, cached_tokens=said)
        super().answered(turn, asked, flight, ttft_s, now)
        flight.job = job

    def weight(self, node: int, at: float) -> float:
        """What a node's claims and speed count for, in the mean over the honest nodes: 1 is full weight."""
        own = self._ids[node]
        honest = [mind for number, mind in enumerate(self.minds) if number not in self.liars and number != node]
        seen = [mind.experience for mind in honest]
        return fmean(each.confidence(own, at) * each.word(own, at) / each.slowness(own, at) for each in seen)


class LyingSimulation(Simulation):
    """A fleet some of whose nodes hand on whatever they are given."""

    def _reach(self, flight: Flight, target: int, now: float) -> None:
        mind = self.mind
        assert isinstance(mind, LyingMembers)
        if mind.lie and mind.lie.passes_on and target in mind.liars and target != flight.turn.decider:
            target = self._draw.choice([node for node in range(self.fleet.nodes) if node not in mind.liars])
            self._at(now + self.fleet.forward_s + self.fleet.rtt_s / 2, lambda then: self._admit(flight, target, then))
        else:
            super()._reach(flight, target, now)


@dataclass(frozen=True, slots=True)
class Damage:
    """What the users of honest nodes saw, and what the group made of the liars.

    Mean seconds to the first token, of all and of the second half; prompts that a liar got from an honest node, per pair of
    them, and the share of the second half's; cached share of prompt tokens; the weights at the end.
    """

    mean_s: float
    later_s: float
    lost: float
    drawn: float
    reuse: float
    liars_weight: float
    honest_weight: float
    audited: float


def measured(lie: Lie | None, trace: Trace, *, defended: bool = True, policy: str = "ttft") -> Damage:
    """One run. Undefended, no node learns anything from what others did."""

    def unmoved(*_: object) -> None:
        return None

    experience = "serving_node__experience__Experience__saw_"
    off: dict[str, Any] = {experience + "cache": unmoved, experience + "first_token": unmoved, experience + "word": unmoved}
    with standing(defended, **off):
        simulation = LyingSimulation(trace, FLEET, lambda fleet: LyingMembers(fleet, policy, lie))
        outcomes = simulation.run()
    mind = simulation.mind
    assert isinstance(mind, LyingMembers)
    at = max(outcome.request.at + outcome.total_s for outcome in outcomes)
    mine = [outcome for outcome in outcomes if outcome.entry not in LIARS]
    later = [outcome for outcome in mine if outcome.request.number >= len(trace.requests) // 2]
    return Damage(
        mean_s=fmean(outcome.ttft_s for outcome in mine),
        later_s=fmean(outcome.ttft_s for outcome in later),
        lost=sum(outcome.tries > 0 and outcome.node in LIARS for outcome in mine) / len(LIARS) / len(HONEST),
        drawn=sum(outcome.node in LIARS for outcome in later) / len(later),
        reuse=sum(outcome.cached_tokens for outcome in mine) / sum(outcome.request.prompt_tokens for outcome in mine),
        liars_weight=fmean(mind.weight(node, at) for node in LIARS),
        honest_weight=fmean(mind.weight(node, at) for node in range(FLEET.nodes) if node not in LIARS),
        audited=sum(mind.minds[node].audits.made for node in HONEST) / len(mine),
    )


def workload(count: int = 240, rate: float = 4.0, seed: int = 11) -> Trace:
    """Conversations over 24 long preambles, chosen by Zipf 1.1; each turn adds one to three blocks of its own."""
    draw = random.Random(f"liars/{seed}")
    preambles = [tuple(range(number * 100, number * 100 + draw.randint(12, 32))) for number in range(24)]
    weights = [1 / (rank + 1) ** 1.1 for rank in range(len(preambles))]
    talks: list[tuple[int, ...]] = []
    requests: list[Request] = []
    at, fresh = 0.0, 1_000_000
    for number in range(count):
        at += draw.expovariate(rate)
        go_on = bool(talks) and draw.random() < 0.5
        before = talks.pop(draw.randrange(len(talks))) if go_on else draw.choices(preambles, weights)[0]
        turn = draw.randint(1, 3)
        blocks = (*before, *range(fresh, fresh + turn))
        fresh += turn
        talks = [*talks, blocks][-64:]
        requests.append(Request(number, at, len(blocks) * BLOCK_TOKENS - draw.randint(0, 300), draw.randint(40, 120), blocks))
    return Trace("conversations over shared preambles", tuple(requests))


def figures(trace: Trace) -> list[Row]:
    """Every lie with the defence and without, beside the same machines when their owners tell the truth."""
    rows: list[Row] = []
    for lie in LIES:
        truthful = measured(Lie("", speed=lie.speed, cache_blocks=lie.cache_blocks), trace)
        held, bare = measured(lie, trace), measured(lie, trace, defended=False)
        rows += [
            row(f"{lie.name}.later_mean_ttft", held.later_s, "s", baseline="undefended", baseline_value=bare.later_s),
            row(f"{lie.name}.truthful_later_mean_ttft", truthful.later_s, "s"),
            row(f"{lie.name}.mean_ttft", held.mean_s, "s", baseline="undefended", baseline_value=bare.mean_s),
            row(f"{lie.name}.prompts_per_pair", held.lost, "", baseline="undefended", baseline_value=bare.lost),
            row(f"{lie.name}.liars_weight", held.liars_weight, "", baseline="honest nodes", baseline_value=held.honest_weight),
            row(f"{lie.name}.audited_share", held.audited, ""),
        ]
    return rows


def main() -> int:
    """The table, or the document of `--output json`."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.liars", description=__doc__)
    parser.add_argument("--prompts", type=int, default=240, help="prompts of the workload, four a second (default: 240)")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    rows = figures(workload(arguments.prompts))
    show("forwarding-liars", rows, arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
