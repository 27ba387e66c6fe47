"""Times the HR-Tree, the routing decision and the delta exchange: `python -m evals.forwarding.bench_index [--output json]`.

Baseline of each figure, measured in the same run: an exact index as routers commonly keep it, a flat dictionary from the
64-bit hash of every prefix that ends on a 64-token block to the set of its holders. Seeded; nothing leaves the process.
"""

import argparse
import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from hashlib import blake2b

from evals.report import Row, missed, row, show
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import decode
from network.crypto import SigningKey
from network.directory import Directory
from network.fingerprint import Space, pack_tokens
from network.hrdelta import Post
from network.hrindex import DEFAULT_BYTES
from network.hrtree import HRTree
from network.ids import Role, node_id
from serving_node.forwarder import Forwarder

LONG, SHORT = 32_768, 8_192
BLOCK = 64
NODES = 8
PROMPTS = 400
WALL = 1_700_000_000_000
BASELINE = "64-bit hash of every 64-token block prefix, flat dict"


class BlockIndex:
    """The baseline: 64-bit chained block hashes in a flat dictionary, a set of holders each."""

    def __init__(self) -> None:
        self.holders: dict[bytes, set[int]] = {}

    @staticmethod
    def hashes(tokens: list[int]) -> list[bytes]:
        packed = pack_tokens(tokens)
        running = blake2b(digest_size=8)
        found = []
        for start in range(0, len(packed) - BLOCK * 4 + 1, BLOCK * 4):
            running.update(packed[start : start + BLOCK * 4])
            found.append(running.copy().digest())
        return found

    def insert(self, hashes: list[bytes], holder: int) -> None:
        for name in hashes:
            self.holders.setdefault(name, set()).add(holder)

    def insert_all(self, prompts: list[list[bytes]]) -> None:
        for at, hashes in enumerate(prompts):
            self.insert(hashes, at % NODES)

    def match(self, hashes: list[bytes]) -> dict[int, int]:
        depth: dict[int, int] = {}
        for at, name in enumerate(hashes):
            if name not in self.holders:
                break
            for holder in self.holders[name]:
                depth[holder] = at + 1
        return depth


def main() -> int:
    """Measures, prints, and fails when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.bench_index")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument("--repeat", type=int, default=40, help="runs per timing; the median counts")
    options = parser.parse_args()
    draw = random.Random(7)
    rows = [*timings(draw, options.repeat), *memory(draw), *exchange(draw)]
    show("forwarding", rows, options.output)
    return 1 if missed(rows) else 0


def timings(draw: random.Random, repeat: int) -> list[Row]:
    """Fingerprint, match, insert and decide."""
    space = Space("bench", "m", 0)
    prompts = [prompt(draw, draw.randrange(2_000, LONG)) for _ in range(PROMPTS)]
    long_prompt, short_prompt = prompt(draw, LONG), prompt(draw, SHORT)
    tree, flat = HRTree(DEFAULT_BYTES), BlockIndex()
    for number, tokens in enumerate([*prompts, long_prompt]):
        tree.insert(space.path(pack_tokens(tokens)), bytes([number % NODES]) * 20, float(number))
        flat.insert(flat.hashes(tokens), number % NODES)
    hashes, path = flat.hashes(long_prompt), space.path(pack_tokens(long_prompt))
    mind = forwarder(prompts)
    inserted = iter([draw.randbytes(len(path)) for _ in range(repeat + 1)])
    fresh = iter([[draw.randbytes(8) for _ in hashes] for _ in range(repeat + 1)])
    rows = [
        ("fingerprint_32k_tokens", lambda: space.path(pack_tokens(long_prompt)), lambda: flat.hashes(long_prompt), 1000.0),
        ("match_32k_tokens", lambda: tree.match(path), lambda: flat.match(hashes), 100.0),
        ("insert_32k_tokens", lambda: tree.insert(next(inserted), b"x" * 20, 1e9), lambda: flat.insert(next(fresh), 1), 500.0),
        ("decide_8k_tokens_8_nodes", lambda: mind.decide(short_prompt, 0.0), None, 1000.0),
        ("decide_32k_tokens_8_nodes", lambda: mind.decide(long_prompt, 0.0), None, 1500.0),
    ]
    return [timed(name, ours, base, limit, repeat) for name, ours, base, limit in rows]


def memory(draw: random.Random) -> list[Row]:
    """Bytes in memory per tree node, and per cached token, as tracemalloc sees them."""
    space = Space("bench", "m", 0)
    prompts = [prompt(draw, draw.randrange(2_000, LONG)) for _ in range(PROMPTS)]
    paths = [space.path(pack_tokens(tokens)) for tokens in prompts]
    hashes = [BlockIndex.hashes(tokens) for tokens in prompts]
    tokens = sum(len(one) for one in prompts)
    tree, flat = HRTree(DEFAULT_BYTES), BlockIndex()
    used = grown(lambda: [tree.insert(path, bytes([at % NODES]) * 20, float(at)) for at, path in enumerate(paths)])
    flat_used = grown(lambda: flat.insert_all(hashes))
    per_node = used / len(tree)
    flat_node = flat_used / len(flat.holders)
    return [
        against("memory_per_tree_node", per_node, "B", flat_node, 48),
        against("memory_per_cached_token", used / tokens, "B", flat_used / tokens, 0.4),
    ]


def exchange(draw: random.Random) -> list[Row]:
    """Bytes on the wire per request of growing conversations, flushed after each and after every fifth; time to apply."""
    per_request, apply_us, symbols = conversation_bytes(draw, every=1)
    batched, _, _ = conversation_bytes(draw, every=5)
    return [
        against("delta_post_per_request", per_request, "B", symbols * 8 + 128, 500),
        against("delta_post_per_request_of_5", batched, "B", symbols * 8 + 128 / 5, 200),
        row("delta_apply", apply_us, "us", at_most=2000),
    ]


def conversation_bytes(draw: random.Random, every: int) -> tuple[float, float, float]:
    """(bytes per request, microseconds to apply one post, 64-token blocks new per request) of 20 conversations of 12 turns."""
    keys = [SigningKey(bytes([number + 1] * 32)) for number in range(2)]
    one, two = (Forwarder(node_id(key.public), key, directory(keys), "m", "ttft", bytes, 1) for key in keys)
    sent = requests = blocks = 0
    spent: list[float] = []
    for _ in range(20):
        tokens = prompt(draw, 600)
        for _ in range(12):
            before = len(tokens)
            tokens = tokens + prompt(draw, draw.randrange(200, 900))
            blocks += len(tokens) // BLOCK - before // BLOCK
            one.admitted(tokens, float(requests))
            requests += 1
            # A short turn deep in a conversation may end no further piece: then there is nothing to say.
            if requests % every or not one.sync.journal.flush():
                continue
            raw = one.sync.post_for(two.own, WALL)
            sent += len(raw)
            started = time.perf_counter()
            received = two.sync.on_post(raw, float(requests), WALL)
            spent.append(time.perf_counter() - started)
            one.sync.on_ack(two.own, received.ack, float(requests))
            assert decode(Post, raw).deltas
    return sent / requests, sorted(spent)[len(spent) // 2] * 1e6, blocks / requests


def forwarder(prompts: list[list[int]]) -> Forwarder:
    """One of eight nodes that all have spoken, with every prompt held by one of them."""
    keys = [SigningKey(bytes([number + 1] * 32)) for number in range(NODES)]
    listed = directory(keys)
    minds = [Forwarder(node_id(key.public), key, listed, "m", "ttft", lambda n: bytes(n), 1) for key in keys]
    for number, tokens in enumerate(prompts):
        minds[number % NODES].admitted(tokens, 0.0)
    for mind in minds[1:]:
        while mind.sync.journal.flush() or mind.sync.journal.sequence > minds[0].sync.replicas[mind.own].sequence:
            received = minds[0].sync.on_post(mind.sync.post_for(minds[0].own, WALL), 0.0, WALL)
            mind.sync.on_ack(minds[0].own, received.ack, 0.0)
    return minds[0]


def directory(keys: list[SigningKey]) -> Directory:
    """A directory in which all of them are trusted model nodes of one group."""
    entries = [
        DirectoryEntry(node_id=node_id(key.public), signing_key=key.public, role=Role.MODEL, group="m", trusted=True)
        for key in keys
    ]
    return Directory(DirectoryRecord("bench", 1, 1, b"", tuple(sorted(entries, key=lambda entry: entry.node_id))), 1)


def prompt(draw: random.Random, size: int) -> list[int]:
    """Token ids of a vocabulary of 49,152."""
    return [draw.randrange(49_152) for _ in range(size)]


def timed(name: str, ours: Callable[[], object], base: Callable[[], object] | None, limit: float, repeat: int) -> Row:
    """Medians of interleaved runs, in microseconds."""
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(repeat):
        mine.append(clocked(ours))
        if base is not None:
            theirs.append(clocked(base))
    return against(name, sorted(mine)[repeat // 2], "us", sorted(theirs)[repeat // 2] if theirs else None, limit, mine)


def clocked(run: Callable[[], object]) -> float:
    """Microseconds of one run."""
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1e6


def grown(run: Callable[[], object]) -> int:
    """Bytes that are still allocated after a run."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    run()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return after - before


def against(name: str, value: float, unit: str, base: float | None, limit: float, samples: Sequence[float] = ()) -> Row:
    """A row beside the flat index."""
    named = None if base is None else BASELINE
    return row(name, value, unit, baseline=named, baseline_value=base, at_most=limit, samples=samples)


if __name__ == "__main__":
    sys.exit(main())
