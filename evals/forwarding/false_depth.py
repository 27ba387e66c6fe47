"""How often a match goes deeper than the truth: `python -m evals.forwarding.false_depth [--trace FILE] [--output json]`.

Every prompt is matched before it is held by one of eight nodes, drawn at random; nothing is evicted, so all that is wrong is
chance. The truth is an exact index over hashes of 64 bits. Three ways to cut chance: none, 16 bits on the first two symbols,
and taking back a match that ends where many prompts part (`network/hrtree/tree.py`, PARTING).
"""

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from evals.forwarding.traces import CONVERSATION, TraceError, load
from evals.report import Row, missed, row, show
from network.hrtree.fingerprint import ChunkPlan, Space, pack_tokens
from network.hrtree.tree import PARTING, HRTree

NODES = 8
TREE_BYTES = 2**30
PLAN = ChunkPlan()
SPACE = Space("bench", "m", 0, plan=PLAN)
WIDE = 2
NAMES = [bytes([number]) * 20 for number in range(NODES)]


@dataclass
class Count:
    """Predictions of one way: pairs of a prompt and a holder, and tokens."""

    pairs: int = 0
    wrong: int = 0
    tokens: int = 0
    wrong_tokens: int = 0
    lost_tokens: int = 0
    true_tokens: int = 0

    def add(self, predicted: int, true: int) -> None:
        """One holder's depth as predicted and as it is, in chunks."""
        guess, fact = PLAN.tokens(predicted), PLAN.tokens(true)
        self.pairs += 1
        self.wrong += predicted > true
        self.tokens += guess
        self.wrong_tokens += max(0, guess - fact)
        self.lost_tokens += max(0, fact - guess)
        self.true_tokens += fact


@dataclass
class Exact:
    """The truth: which holders have each prefix."""

    masks: dict[bytes, int] = field(default_factory=dict)

    def depths(self, prefixes: Sequence[bytes]) -> list[int]:
        """How many chunks each holder holds."""
        depths, live = [0] * NODES, 2**NODES - 1
        for depth, prefix in enumerate(prefixes, 1):
            live &= self.masks.get(prefix, 0)
            if not live:
                break
            for holder in range(NODES):
                if live >> holder & 1:
                    depths[holder] = depth
        return depths

    def hold(self, prefixes: Sequence[bytes], holder: int) -> None:
        for prefix in prefixes:
            self.masks[prefix] = self.masks.get(prefix, 0) | 1 << holder


def main() -> int:
    """Counts, prints, and fails when the way that runs is wrong too often."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.false_depth")
    parser.add_argument("--trace", type=Path, default=CONVERSATION, help="a Mooncake trace")
    parser.add_argument("--requests", type=int, default=6000, help="of each workload")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    try:
        trace = load(options.trace).first(options.requests)
    except TraceError as error:
        parser.error(str(error))
    rows = figures("trace", (trace.tokens(request) for request in trace.requests))
    rows += figures("preambles", preambles(random.Random(5), options.requests))
    rows += figures("unshared", (fresh(random.Random(number), 1500) for number in range(options.requests)))
    show("false-depth", rows, options.output)
    return 1 if missed(rows) else 0


def preambles(draw: random.Random, count: int) -> Iterator[list[int]]:
    """One of 300 preambles of 1,024 tokens, by Zipf's law with exponent 1.1, all with the same first 512; then one's own."""
    head = fresh(draw, 512)
    known = [head + fresh(draw, 512) for _ in range(300)]
    weights = [1 / (rank + 1) ** 1.1 for rank in range(len(known))]
    for _ in range(count):
        yield draw.choices(known, weights)[0] + fresh(draw, draw.randrange(100, 2000))


def fresh(draw: random.Random, count: int) -> list[int]:
    """Tokens nobody has seen."""
    return [draw.getrandbits(16) for _ in range(count)]


def figures(name: str, prompts: Iterator[Sequence[int]]) -> list[Row]:
    """The three ways over one workload."""
    plain, wide, exact, draw = HRTree(TREE_BYTES), HRTree(TREE_BYTES), Exact(), random.Random(1)
    counts = {"8_bits": Count(), "16_bits_first": Count(), "parting": Count()}
    for tokens in prompts:
        data = pack_tokens(tokens)
        prefixes = hashes(data)
        path = SPACE.path(data)
        broad = b"".join(prefix[: 2 if at < WIDE else 1] for at, prefix in enumerate(prefixes))
        found = {
            "8_bits": {name: holding.depth for name, holding in plain.match(path).items()},
            "parting": {name: holding.depth for name, holding in plain.match(path, PARTING).items()},
            "16_bits_first": {name: chunks(holding.depth) for name, holding in wide.match(broad).items()},
        }
        for at, true in enumerate(exact.depths(prefixes)):
            for way, depths in found.items():
                counts[way].add(depths.get(NAMES[at], 0), true)
        holder = draw.randrange(NODES)
        exact.hold(prefixes, holder)
        plain.insert(path, NAMES[holder], 0.0)
        wide.insert(broad, NAMES[holder], 0.0)
    return [made for way, count in counts.items() for made in shares(f"{name}_{way}", count, judged=way == "parting")]


def shares(name: str, count: Count, *, judged: bool) -> list[Row]:
    """Of all pairs: in how many a holder is credited with too much; of the tokens credited, and of the true ones, the share."""
    predicted, true = max(1, count.tokens), max(1, count.true_tokens)
    of_all = 100 * count.wrong / max(1, count.pairs)
    return [
        row(f"{name}_wrong", of_all, "%", at_most=5 if judged else None),
        row(f"{name}_wrong_tokens", 100 * count.wrong_tokens / predicted, "%"),
        row(f"{name}_lost_tokens", 100 * count.lost_tokens / true, "%"),
    ]


def hashes(data: bytes) -> list[bytes]:
    """64 bits of every prefix that ends with a chunk."""
    running = blake2b(digest_size=8)
    found, start = [], 0
    for end in PLAN.ends(len(data) // 4):
        running.update(data[start * 4 : end * 4])
        found.append(running.copy().digest())
        start = end
    return found


def chunks(symbols: int) -> int:
    """How many chunks so many symbols are, two for each of the first."""
    return symbols // 2 if symbols <= 2 * WIDE else symbols - WIDE


if __name__ == "__main__":
    sys.exit(main())
