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
from functools import partial
from hashlib import blake2b
from itertools import cycle

from evals.report import Row, missed, row, show
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import decode
from network.crypto import SigningKey
from network.directory import Directory
from network.hrtree.delta import Post
from network.hrtree.fingerprint import Space, Unit, pack_tokens
from network.hrtree.index import DEFAULT_BYTES, RECENT_PATHS, HRIndex
from network.hrtree.multilinear import PlainSums
from network.hrtree.tree import PARTING, HRTree
from network.ids import Role, node_id
from serving_node.forwarder import Forwarder

LONG, SHORT = 32_768, 8_192
BLOCK = 64
SYMBOLS = 152
UNLIKE = RECENT_PATHS + 8
NODES = 8
PROMPTS = 400
WALL = 1_700_000_000_000
BASELINE = "64-bit hash of every 64-token block prefix, flat dict"


class BlockIndex:
    """The baseline: 64-bit chained block hashes in a flat dictionary, a set of holders each."""

    def __init__(self) -> None:
        self.holders: dict[bytes, set[int]] = {}

    @staticmethod
    def hashes(packed: bytes) -> list[bytes]:
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
    parser.add_argument("--repeat", type=int, default=400, help="runs per timing; median and 99th percentile count")
    options = parser.parse_args()
    draw = random.Random(7)
    rows = [*routing(draw, options.repeat), *changes(draw, options.repeat), *memory(draw), *deciding(draw), *exchange(draw)]
    show("forwarding", rows, options.output)
    return 1 if missed(rows) else 0


def routing(draw: random.Random, repeat: int) -> list[Row]:
    """From a prompt to its holders: what every request pays."""
    index, text_index = HRIndex("bench", "m"), HRIndex("bench", "m", unit=Unit.TEXT)
    flat, crowd = BlockIndex(), HRTree(DEFAULT_BYTES)
    text = "".join(chr(draw.randrange(97, 123)) for _ in range(4 * LONG))
    tokens = prompt(draw, LONG)
    packed = pack_tokens(tokens)
    for number, other in enumerate([*(prompt(draw, draw.randrange(2_000, LONG)) for _ in range(PROMPTS)), tokens]):
        index.tree(0).insert(index.path(pack_tokens(other)), holder(number), float(number))
        flat.insert(flat.hashes(pack_tokens(other)), number % NODES)
    path, hashes, space, plain = index.path(packed), flat.hashes(packed), index.space(0), PlainSums(bytes(32))
    for number in range(1000):
        crowd.insert(path[: 152 - number % 100], number.to_bytes(20, "big"), float(number))
    ends = space.plan.ends(LONG)
    # The index remembers the paths of the last prompts for those who ask again; what is timed is no longer among them.
    others = [prompt(draw, LONG) for _ in range(UNLIKE)]
    asked = cycle([pack_tokens(other) for other in others])
    listed = cycle(others)
    written = [str(number) + text for number in range(UNLIKE)]
    texts = cycle(written)
    for one in written:
        text_index.tree(0).insert(text_index.path(one.encode()), holder(0), 0.0)
    for number, other in enumerate(others):
        index.tree(0).insert(space.path(pack_tokens(other)), holder(number), 1e6)
        flat.insert(flat.hashes(pack_tokens(other)), number % NODES)
    rows = [
        ("fingerprint_32k", lambda: space.path(packed), lambda: flat.hashes(packed), None),
        ("fingerprint_32k_sums_no_numpy", lambda: plain.blocks(packed, ends), None, None),
        ("match_32k", lambda: index.tree(0).match(path, PARTING), lambda: flat.match(hashes), None),
        ("match_32k_1000_holders", lambda: crowd.match(path, PARTING), None, None),
        ("route_32k_bytes", lambda: index.match(next(asked)), lambda: flat.match(flat.hashes(next(asked))), (100.0, 300.0)),
        (
            "route_32k_ids",
            lambda: index.match(pack_tokens(next(listed))),
            lambda: flat.match(flat.hashes(pack_tokens(next(listed)))),
            (800.0, None),
        ),
        ("route_128k_characters", lambda: text_index.match(next(texts).encode()), None, (150.0, None)),
    ]
    return [made for name, ours, base, goals in rows for made in timed(name, ours, base, goals or (None, None), repeat)]


def changes(draw: random.Random, repeat: int) -> list[Row]:
    """What a claim costs: a new prompt, one held already, one in a full tree; and the longest pause, a trim."""
    tree, full, flat = HRTree(DEFAULT_BYTES), HRTree(2**20), BlockIndex()
    path = draw.randbytes(SYMBOLS)
    tree.insert(path, holder(1), 0.0)
    while not full.evicted:
        full.insert(draw.randbytes(SYMBOLS), holder(1), 0.0)
    new, pressed = (iter([draw.randbytes(SYMBOLS) for _ in range(repeat)]) for _ in range(2))
    fresh, clock = iter([[draw.randbytes(8) for _ in range(LONG // BLOCK)] for _ in range(repeat)]), iter(range(1, 10**6))
    rows = [
        ("insert_152_new", lambda: tree.insert(next(new), holder(2), 1.0), lambda: flat.insert(next(fresh), 1), (50.0, None)),
        ("insert_152_held", lambda: tree.insert(path, holder(1), float(next(clock))), None, (20.0, None)),
        ("insert_152_evicting_as_many", lambda: full.insert(next(pressed), holder(2), 1.0), None, (100.0, None)),
    ]
    made = [one for name, ours, base, goals in rows for one in timed(name, ours, base, goals, repeat)]
    held = HRTree(DEFAULT_BYTES)
    for number in range(16_384 // SYMBOLS + 1):
        held.insert(draw.randbytes(SYMBOLS), holder(1), float(number))
    return [*made, row("trim_16k_tree_nodes", clocked(lambda: held.trim(holder(1), 16_384)) / 1000, "ms", at_most=50)]


def memory(draw: random.Random) -> list[Row]:
    """Bytes in memory per tree node, and per cached token, as tracemalloc sees them; the worst case; the cap."""
    space = Space("bench", "m", 0)
    prompts = [pack_tokens(prompt(draw, draw.randrange(2_000, LONG))) for _ in range(PROMPTS)]
    paths = [space.path(packed) for packed in prompts]
    hashes = [BlockIndex.hashes(packed) for packed in prompts]
    tokens = sum(len(one) // 4 for one in prompts)
    tree, worst, full, flat = HRTree(DEFAULT_BYTES), HRTree(DEFAULT_BYTES), HRTree(2**20), BlockIndex()
    used = grown(lambda: [tree.insert(path, holder(at), float(at)) for at, path in enumerate(paths)])
    worst_used = grown(lambda: [worst.insert(bytes([at >> 5 & 31, at & 31, at >> 10]), holder(0), 0.0) for at in range(2**15)])
    flat_used = grown(lambda: flat.insert_all(hashes))
    peak = grown(lambda: [full.insert(draw.randbytes(SYMBOLS), holder(at), 0.0) for at in range(2000)], peak=True)
    return [
        against("memory_per_tree_node", used / len(tree), "B", flat_used / len(flat.holders), 48),
        against("memory_per_tree_node_of_short_rows", worst_used / len(worst), "B", None, 48),
        against("memory_per_cached_token", used / tokens, "B", flat_used / tokens, 0.4),
        row("memory_peak_of_cap", 100 * peak / 2**20, "%", at_most=100),
    ]


def deciding(draw: random.Random, repeat: int = 40) -> list[Row]:
    """The whole decision, from token ids, over eight nodes."""
    prompts = [prompt(draw, draw.randrange(2_000, LONG)) for _ in range(PROMPTS)]
    long_prompt, short_prompt = prompt(draw, LONG), prompt(draw, SHORT)
    mind = forwarder(prompts)
    rows = [("decide_8k_tokens_8_nodes", short_prompt, 1000.0), ("decide_32k_tokens_8_nodes", long_prompt, 1500.0)]
    return [timed(name, partial(mind.decide, tokens, 0.0), None, (limit, None), repeat)[0] for name, tokens, limit in rows]


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


def holder(number: int) -> bytes:
    """One of eight."""
    return bytes([number % NODES]) * 20


def prompt(draw: random.Random, size: int) -> list[int]:
    """Token ids of a vocabulary of 49,152."""
    return [draw.randrange(49_152) for _ in range(size)]


def timed(
    name: str,
    ours: Callable[[], object],
    base: Callable[[], object] | None,
    goals: tuple[float | None, float | None],
    repeat: int,
) -> list[Row]:
    """Median and 99th percentile of interleaved runs, in microseconds of processor time."""
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(repeat):
        mine.append(clocked(ours))
        if base is not None:
            theirs.append(clocked(base))
    mine.sort()
    theirs.sort()
    made = []
    for end, place, goal in (("", repeat // 2, goals[0]), ("_p99", repeat * 99 // 100, goals[1])):
        made.append(against(name + end, mine[place], "us", theirs[place] if theirs else None, goal, () if end else mine))
    return made


def clocked(run: Callable[[], object]) -> float:
    """Microseconds of this thread's processor time in one run: nothing here waits, and others may be at work."""
    started = time.thread_time()
    run()
    return (time.thread_time() - started) * 1e6


def grown(run: Callable[[], object], *, peak: bool = False) -> int:
    """Bytes that are still allocated after a run, or the most there were at once."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    run()
    gc.collect()
    after, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (most if peak else after) - before


def against(name: str, value: float, unit: str, base: float | None, limit: float | None, samples: Sequence[float] = ()) -> Row:
    """A row beside the flat index."""
    named = None if base is None else BASELINE
    return row(name, value, unit, baseline=named, baseline_value=base, at_most=limit, samples=samples)


if __name__ == "__main__":
    sys.exit(main())
