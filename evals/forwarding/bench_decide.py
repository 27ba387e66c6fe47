"""Times whole routing decisions, prompt to node: `python -m evals.forwarding.bench_decide [--output json]`.

Fingerprints, match, beliefs, policy and the record for `planetserve route explain`, without HTTP. Prompts come packed, as the
sidecar hands them over. Times are the core's own, so that a busy machine tells nearly the same. Baseline, measured in the same
run: an exact index as routers commonly keep it (a flat dictionary from the 64-bit hash of every 64-token block prefix to its
holders), then the first of the longest matches.
"""

import argparse
import random
import sys
import time

from evals.forwarding.bench_index import BlockIndex, prompt
from evals.report import Row, missed, row, show
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.crypto import SigningKey
from network.directory import Directory
from network.hrtree.fingerprint import pack_tokens
from network.ids import Role, node_id
from serving_node.forwarder import Forwarder
from serving_node.load_factor import EngineLoad

CELLS = ((8, 8_192, 5_000.0), (64, 32_768, 2_000.0))
BASELINE = "flat dict of 64-token block hashes, the longest match"
WALL = 1_700_000_000_000
PROMPTS = 256
SHARED = 1_024


def main() -> int:
    """Measures, prints, and fails when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.bench_decide")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument("--repeat", type=int, default=200, help="decisions per cell; the median counts")
    options = parser.parse_args()
    rows = [measure(random.Random(7), nodes, tokens, goal, options.repeat) for nodes, tokens, goal in CELLS]
    show("forwarding-decisions", rows, options.output)
    return 1 if missed(rows) else 0


def measure(draw: random.Random, nodes: int, tokens: int, goal: float, repeat: int) -> Row:
    """Decisions per second over `nodes` candidates, beside the baseline's."""
    system = prompt(draw, SHARED)
    prompts = [system + prompt(draw, tokens - SHARED) for _ in range(PROMPTS)]
    mind, flat = group(nodes, prompts), BlockIndex()
    packed = [pack_tokens(each) for each in prompts]
    for number, each in enumerate(packed):
        flat.insert(flat.hashes(each), number % nodes)
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(repeat):
        started = time.thread_time()
        decision = mind.decide(packed[turn % PROMPTS], turn / 1000)
        ours.append(1 / (time.thread_time() - started))
        assert len(decision.candidates) == nodes
        mind.abandoned(decision)
        started = time.thread_time()
        depths = flat.match(flat.hashes(packed[turn % PROMPTS]))
        min(depths, key=lambda node: (-depths[node], node), default=0)
        theirs.append(1 / (time.thread_time() - started))
    middle = sorted(ours)[repeat // 2]
    name = f"decisions_{nodes}_nodes_{tokens}_tokens"
    return row(name, middle, "1/s", baseline=BASELINE, baseline_value=sorted(theirs)[repeat // 2], at_least=goal, samples=ours)


def group(nodes: int, prompts: list[list[int]]) -> Forwarder:
    """One of `nodes` that all have spoken, are at work, and hold the prompts among them."""
    keys = [SigningKey((number + 1).to_bytes(32, "big")) for number in range(nodes)]
    entries = [
        DirectoryEntry(node_id=node_id(key.public), signing_key=key.public, role=Role.MODEL, group="m", trusted=True)
        for key in keys
    ]
    listed = Directory(DirectoryRecord("bench", 1, 1, b"", tuple(sorted(entries, key=lambda entry: entry.node_id))), 1)
    minds = [Forwarder(node_id(key.public), key, listed, "m", "ttft", random.Random(1).randbytes, 1) for key in keys]
    for number, each in enumerate(prompts):
        mind = minds[number % nodes]
        mind.admitted(each, 0.0)
        mind.served(each, 0, 1.0, 0.0, latency_s=4.0)
        mind.set_load(EngineLoad(2, number % 3, 500 * (number % 3 + 1), 20_000.0, 32), 0.0)
    for mind in minds[1:]:
        while mind.sync.journal.flush() or mind.sync.journal.sequence > minds[0].sync.replicas[mind.own].sequence:
            received = minds[0].sync.on_post(mind.sync.post_for(minds[0].own, WALL), 0.0, WALL)
            mind.sync.on_ack(minds[0].own, received.ack, 0.0)
    return minds[0]


if __name__ == "__main__":
    sys.exit(main())
