"""One cell of a table: a fleet, a rule and a trace, simulated once; and what is read off its outcomes.

A rule is one of the product's policies (`serving_node/routing.py`), decided by real forwarders, or one of the central routers
of `central.py`. Reuse is the share of all prompt tokens that the answering engine had cached. Wrong depth is the share of the
matched tokens that the chosen engine lacked: `never` it had not held them at all (a fingerprint taken for another), else
they had been evicted since, or not been read yet.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evals.forwarding.central import RULES, Central
from evals.forwarding.flight import Fleet, Mind, Outcome
from evals.forwarding.members import Members, SharedMembers
from evals.forwarding.simulator import Simulation
from evals.forwarding.traces import Trace
from serving_node.routing import POLICIES

EXCHANGES = {"messages": Members, "shared": SharedMembers}
# From here on every post to every peer would cost more than it shows.
SHARED_FROM = 9


@dataclass(frozen=True, slots=True)
class Result:
    """What one cell came to. Seconds; `bytes_per_request` without HTTP headers; loads are prompt tokens computed per node."""

    rule: str
    requests: int
    refused: int
    reuse: float
    ttft_mean: float
    ttft_p50: float
    ttft_p99: float
    total_mean: float
    load_ratio: float
    forwarded: float
    retried: float
    wrong_depth: float
    wrong_never: float
    bytes_per_request: float
    cpu_s: float

    def cells(self) -> list[str]:
        """As a table shows it."""
        return [
            f"{self.reuse:.3f}",
            f"{self.ttft_mean * 1000:.0f}",
            f"{self.ttft_p50 * 1000:.0f}",
            f"{self.ttft_p99 * 1000:.0f}",
            str(self.refused),
            f"{self.load_ratio:.2f}",
            f"{self.forwarded:.2f}",
            f"{self.wrong_depth * 100:.1f}",
            f"{self.wrong_never * 100:.2f}",
            f"{self.bytes_per_request:.0f}",
        ]


HEAD = (
    "reuse",
    "mean TTFT ms",
    "p50",
    "p99",
    "refused",
    "max/mean load",
    "forwarded",
    "wrong depth %",
    "of it never held %",
    "B/request",
)


def rules() -> list[str]:
    """Every rule that a cell can have."""
    return [*POLICIES, *RULES]


def simulate(trace: Trace, fleet: Fleet, rule: str, exchange: str = "") -> Result:
    """Runs one cell. `exchange` is `messages`, `shared`, or empty for whichever suits the fleet's size."""
    chosen = EXCHANGES[exchange or ("shared" if fleet.nodes >= SHARED_FROM else "messages")]
    started = time.process_time()

    def mind_of(simulation: Simulation) -> Mind:
        return Central(simulation, rule) if rule in RULES else chosen(simulation, rule)

    simulation = Simulation(trace, fleet, mind_of)
    outcomes = simulation.run()
    sent = simulation.mind.sent_bytes if isinstance(simulation.mind, Members) else 0
    return summary(rule, outcomes, fleet.nodes, sent, time.process_time() - started)


def summary(rule: str, outcomes: Sequence[Outcome], nodes: int, sent_bytes: int, cpu_s: float) -> Result:
    """The figures of a cell's outcomes."""
    answered = [each for each in outcomes if each.node is not None]
    prompt = sum(each.request.prompt_tokens for each in outcomes)
    cached = sum(each.cached_tokens for each in answered)
    ttft = sorted(each.ttft_s for each in answered) or [0.0]
    work: Counter[int | None] = Counter({number: 0 for number in range(nodes)})
    for each in answered:
        work[each.node] += each.request.prompt_tokens - each.cached_tokens
    held = sum(each.held_tokens for each in answered) or 1
    answers = len(answered) or 1
    return Result(
        rule=rule,
        requests=len(outcomes),
        refused=len(outcomes) - len(answered),
        reuse=cached / prompt if prompt else 0.0,
        ttft_mean=sum(ttft) / len(ttft),
        ttft_p50=ttft[len(ttft) // 2],
        ttft_p99=ttft[int(len(ttft) * 0.99)],
        total_mean=sum(each.total_s for each in answered) / answers,
        load_ratio=max(work.values()) * nodes / (sum(work.values()) or 1),
        forwarded=sum(each.node != each.entry for each in answered) / answers,
        retried=sum(each.tries > 1 for each in outcomes) / (len(outcomes) or 1),
        wrong_depth=sum(max(0, each.held_tokens - each.cached_tokens) for each in answered) / held,
        wrong_never=sum(max(0, each.held_tokens - each.ever_held_tokens) for each in answered) / held,
        bytes_per_request=sent_bytes / (len(outcomes) or 1),
        cpu_s=cpu_s,
    )
