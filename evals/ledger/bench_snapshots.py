"""What snapshots cost a replica: `python -m evals.ledger.bench_snapshots [--rows N] [--output json]`.

One process, no CometBFT: a store of N rows of 200 bytes, a snapshot taken at once and one taken beside blocks as a running
validator takes it, a restore from it as state sync does it, and the full check. Exit codes: 0, 130 interrupted.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from abci_app.aio.snapshots import SnapshotFolder, SnapshotMaker, take_now
from abci_app.aio.storage import LevelStore
from abci_app.application import Staged
from abci_app.state.app_hash import app_hash
from abci_app.state_sync import Outcome, Restore, Verdict
from abci_app.tree import Tree
from evals.ledger.figures import CHAIN_ID, Figure, document, figure, percentile, table
from evals.report import commit, machine
from network.crypto import sha256

BATCH = 5_000
BLOCKS, BLOCK_ROWS = 40, 200
OLDER = 110  # blocks before what is timed, so that every Commit forgets a version
BLOCK_S = 0.1


def rows(start: int, count: int, height: int) -> Iterator[tuple[bytes, bytes]]:
    """Rows of about 200 bytes; the same number gives the same key."""
    for number in range(start, start + count):
        name = sha256(b"row", number.to_bytes(8, "big"))
        yield b"\x02" + name, (name * 6)[:180] + height.to_bytes(8, "big")


def advance(store: LevelStore, changes: list[tuple[bytes, bytes | None]]) -> None:
    """The next height, with these changes."""
    height = store.height + 1
    changes.sort()
    root, nodes = Tree(store.version(height - 1).nodes if height > 1 else {}).update(changes)
    genesis = Staged(0, app_hash(Tree({}).root()), (), ()) if height == 1 else None
    store.save(Staged(height, app_hash(root), tuple(changes), tuple(sorted(nodes.items()))), genesis)


async def blocks(store: LevelStore, count: int, maker: SnapshotMaker | None) -> list[float]:
    """Blocks that change a part of `count` rows; the seconds each one took from when it was due to when it was saved."""
    spent: list[float] = []
    due = perf_counter()
    while len(spent) < BLOCKS or (maker is not None and maker.busy):
        due = max(due + BLOCK_S, perf_counter() + BLOCK_S / 2)  # idle in between, as CometBFT leaves it
        await asyncio.sleep(due - perf_counter())
        advance(store, list(rows(len(spent) * BLOCK_ROWS % (count - BLOCK_ROWS), BLOCK_ROWS, store.height)))
        if maker is not None and not spent:
            maker.committed(store.height)
        spent.append(perf_counter() - due)
    return spent


def restore(folder: Path, source: SnapshotFolder, height: int) -> tuple[float, float]:
    """Seconds of a restore into a fresh directory, and of its longest chunk."""
    fresh = LevelStore(folder / "fresh.db", chain_id=CHAIN_ID, genesis_hash=bytes(32))
    offer = next(offer for offer in source.offers() if offer.height == height)
    began, longest = perf_counter(), 0.0
    restoring = Restore(CHAIN_ID, fresh.restoring)
    assert restoring.offer(offer, source.get(height).app_hash) is Verdict.ACCEPT
    for index in range(offer.chunks):
        chunk_began = perf_counter()
        assert restoring.apply(index, source.chunk(height, index), "peer").outcome is Outcome.ACCEPT
        longest = max(longest, perf_counter() - chunk_began)
    spent = perf_counter() - began
    fresh.close()
    return spent, longest


def measure(folder: Path, count: int) -> list[Figure]:
    """All figures."""
    store = LevelStore(folder / "app.db", chain_id=CHAIN_ID, genesis_hash=bytes(32))
    for start in range(0, count, BATCH):
        advance(store, list(rows(start, min(BATCH, count - start), 0)))
    for at in range(OLDER):
        advance(store, list(rows(at * BLOCK_ROWS % (count - BLOCK_ROWS), BLOCK_ROWS, store.height)))
    source = SnapshotFolder(folder / "snapshots")
    began = perf_counter()
    snapshot = take_now(store, source, store.height)
    at_once = perf_counter() - began
    size = sum(path.stat().st_size for path in (folder / "snapshots").rglob("*") if path.is_file())
    alone = asyncio.run(blocks(store, count, None))
    maker = SnapshotMaker(store, source, interval=1, keep=5)
    began = perf_counter()
    beside = asyncio.run(blocks(store, count, maker))
    taken = perf_counter() - began
    restored, longest = restore(folder, source, snapshot.height)
    began = perf_counter()
    store.verify_all()
    checked = perf_counter() - began
    store.close()
    of_blocks = f"the same {BLOCKS} blocks of {BLOCK_ROWS} rows without"
    return [
        figure(f"snapshot_of_{count}_rows", size / 1e6, "MB"),
        figure("chunks", len(snapshot.parts), ""),
        figure("taken_at_once", at_once, "s"),
        figure("taken_beside_blocks", taken, "s", "at once", at_once),
        figure("block_p50_beside", percentile(beside, 0.5) * 1e3, "ms", of_blocks, percentile(alone, 0.5) * 1e3),
        figure("block_p95_beside", percentile(beside, 0.95) * 1e3, "ms", of_blocks, percentile(alone, 0.95) * 1e3),
        figure("restored", restored, "s"),
        figure("longest_chunk_of_a_restore", longest * 1e3, "ms"),
        figure("full_check", checked, "s"),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m evals.ledger.bench_snapshots", description="What snapshots cost.")
    parser.add_argument("--rows", type=int, default=100_000, help="more than 10,000")
    parser.add_argument("--output", choices=["json"])
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(Path(folder), arguments.rows)
    except KeyboardInterrupt:
        return 130
    show = document if arguments.output else table
    print(show(commit(), machine(), figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
