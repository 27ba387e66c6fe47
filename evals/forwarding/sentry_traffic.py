"""What the Sentry's chunk plan is worth: `python -m evals.forwarding.sentry_traffic [--trace FILE] [--output json]`.

One node's Sentry watches the first half of a workload under the default plan and proposes one of its own; the second half is
then matched under both. Tokens matched are those that an earlier prompt truly shares (blocks of 16 tokens); what a path matches
beyond is counted as false. Symbols are what a delta would carry, a byte each.
"""

import argparse
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

from evals.forwarding.traces import CONVERSATION, TraceError, load
from evals.report import Row, missed, row, show
from network.hrtree.fingerprint import TOKEN_BYTES, ChunkPlan
from network.hrtree.index import HRIndex
from network.hrtree.multilinear import Sums
from network.hrtree.sentry import Sentry, merge
from network.hrtree.terms import Proposal, plan_of

DEFAULT = ChunkPlan()
GRID = 16
SECRET = bytes(range(32))
ROOM = 1 << 30


@dataclass(frozen=True)
class Outcome:
    """Of one plan, per prompt of the second half."""

    matched: float
    false: float
    symbols: float


class Truth:
    """How many leading tokens of a prompt an earlier one shares, to 16 tokens."""

    def __init__(self) -> None:
        self._sums = Sums(SECRET)
        self._seen: set[bytes] = set()

    def shared(self, packed: bytes) -> int:
        """For this prompt; it is an earlier one from now on."""
        blocks = self._sums.blocks(packed, range(GRID, len(packed) // TOKEN_BYTES + 1, GRID))
        points = [blocks[at : at + 16] for at in range(0, len(blocks), 16)]
        depth = next((at for at, point in enumerate(points) if point not in self._seen), len(points))
        self._seen.update(points[depth:])
        return depth * GRID


def preambles(count: int, seed: int) -> Iterator[bytes]:
    """Three system prompts of 345, 1,210 and 2,500 tokens with shares by Zipf 1.1, then 40 to 400 tokens of one's own."""
    rng = Random(seed)
    texts = [_words(rng, length) for length in (345, 1210, 2500)]
    shares = list(accumulate(1 / rank**1.1 for rank in (1, 2, 3)))
    for _ in range(count):
        yield _packed(rng.choices(texts, cum_weights=shares)[0] + _words(rng, rng.randrange(40, 400)))


def tools(count: int, seed: int) -> Iterator[bytes]:
    """A system prompt of 210 tokens, one of 200 tool descriptions of 150 to 1,500 by Zipf 1.1, then 20 to 200 of its own."""
    rng = Random(seed)
    system = _words(rng, 210)
    described = [_words(rng, rng.randrange(150, 1500)) for _ in range(200)]
    shares = list(accumulate(1 / rank**1.1 for rank in range(1, 201)))
    for _ in range(count):
        yield _packed(system + rng.choices(described, cum_weights=shares)[0] + _words(rng, rng.randrange(20, 200)))


def conversations(path: Path, count: int) -> Iterator[bytes]:
    """The first requests of a trace; its prompts part at multiples of 512 tokens alone."""
    trace = load(path).first(count)
    for request in trace.requests:
        yield _packed(trace.tokens(request))


def propose(prompts: Sequence[bytes]) -> tuple[Proposal, list[float]]:
    """What a Sentry asks for that has seen these prompts, and how long it took over each."""
    sentry, index = Sentry(SECRET, DEFAULT), HRIndex("eval", "m", max_bytes=ROOM)
    index.adopt(0, DEFAULT, SECRET)
    took = []
    for packed in prompts:
        held = index.match(packed).get(b"n")
        started = perf_counter()
        sentry.observe(packed, held.tokens if held else 0, DEFAULT)
        took.append(perf_counter() - started)
        index.tree(0).insert(index.path(packed), b"n", 0.0)
    return merge([(1, sentry.propose())], DEFAULT), took


def replay(prompts: Sequence[bytes], shared: Sequence[int], plan: ChunkPlan) -> Outcome:
    """All prompts through an index with this plan; the second half is judged."""
    index = HRIndex("eval", "m", max_bytes=ROOM)
    index.adopt(0, plan, SECRET)
    matched = false = symbols = 0
    for at, (packed, true) in enumerate(zip(prompts, shared, strict=True)):
        held = index.match(packed).get(b"n")
        believed = held.tokens if held else 0
        added = index.tree(0).insert(index.path(packed), b"n", 0.0)
        if at >= len(prompts) // 2:
            matched += min(believed, true)
            false += max(0, believed - true)
            symbols += added
    judged = len(prompts) - len(prompts) // 2
    return Outcome(matched / judged, false / judged, symbols / judged)


def rows_of(name: str, prompts: Sequence[bytes], *, at_least: float | None = None) -> tuple[list[Row], list[float]]:
    """The rows of one workload. `at_least`: the share of the default plan's matched tokens that must be reached."""
    found, took = propose(prompts[: len(prompts) // 2])
    truth = Truth()
    shared = [truth.shared(packed) for packed in prompts]
    usual, ours = (replay(prompts, shared, plan) for plan in (DEFAULT, plan_of(found, DEFAULT)))
    judged = len(prompts) - len(prompts) // 2
    possible = sum(shared[len(prompts) // 2 :]) / judged
    base = "the default plan, same prompts"
    goal = None if at_least is None else at_least * usual.matched
    lost = [(possible - each.matched) for each in (usual, ours)]
    rows = [
        row(f"{name}.matched", ours.matched, "tok", baseline=base, baseline_value=usual.matched, at_least=goal),
        row(f"{name}.shared_not_matched", lost[1], "tok", baseline=base, baseline_value=lost[0]),
        row(f"{name}.false", ours.false, "tok", baseline=base, baseline_value=usual.false),
        row(f"{name}.symbols", ours.symbols, "B", baseline=base, baseline_value=usual.symbols),
        row(f"{name}.lengths", len(found.lengths), ""),
    ]
    return rows, took


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when no goal is missed, 1 otherwise, 2 when the trace cannot be read."""
    options = _parser().parse_args(arguments)
    made: list[tuple[str, Callable[[], Iterator[bytes]], float]] = [
        ("preambles", lambda: preambles(options.requests, options.seed), 1.01),
        ("tools", lambda: tools(options.requests, options.seed), 1.0),
        ("conversation", lambda: conversations(options.trace, options.requests), 0.999),
    ]
    rows: list[Row] = []
    took: list[float] = []
    for name, prompts, least in made:
        try:
            more, times = rows_of(name, list(prompts()), at_least=least)
        except TraceError as error:
            print(error, file=sys.stderr)
            return 2
        rows += more
        took += times
    rows.append(row("observe", median(took) * 1e6, "us"))
    show("sentry", rows, options.output)
    return 1 if missed(rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evals.forwarding.sentry_traffic", description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="prompts of each workload")
    parser.add_argument("--trace", type=Path, default=CONVERSATION)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    return parser


def _words(rng: Random, count: int) -> list[int]:
    return rng.choices(range(1, 50_000), k=count)


def _packed(tokens: Sequence[int]) -> bytes:
    return array("I", tokens).tobytes()


if __name__ == "__main__":
    sys.exit(main())
