"""F18: a fresh node joins by state sync while one of its two peers lies about snapshots.

Every lie by itself, with its bounds on memory and disk, is in `tests/abci_app/test_state_sync.py`; here CometBFT fetches."""

from pathlib import Path
from typing import Any

import pytest

LIES = ("chunk", "empty chunk", "metadata", "endless", "another chain")


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES)
def test_f18_a_lying_peer_does_not_keep_a_node_from_joining(
    make_chain: Any,
    fast: Any,
    faults: Any,
    until: Any,
    registration: Any,
    committed: Any,
    configure: Any,
    joiner: Any,
    measured: Any,
    lie: str,
) -> None:
    chain = make_chain(2, params=fast, interval_ms=1000)
    honest, liar = chain.validators
    fault = faults(liar)
    # The newest snapshot, which CometBFT tries first, is nearly always one that the liar alone has; when its chunks are
    # refused, it waits two minutes for another peer that has it: the honest one's must last. A chunk that never comes costs
    # these two minutes for each snapshot that a peer has alone, so there both have the same.
    configure(honest, "snapshot_interval = 20\nsnapshot_keep = 10\n")
    configure(liar, f"snapshot_interval = {20 if lie == 'empty chunk' else 3}\nsnapshot_keep = 10\n")
    fault.order("snapshots", lie=lie)
    chain.start()
    chain.wait_height(2)
    committed(honest, registration(1))
    until(lambda: honest.height() >= 24, honest.log)
    fresh = joiner(chain, [honest.rpc, liar.rpc])
    fresh.start()
    seconds = until(lambda: fresh.height() >= 24, fresh.log, 400.0)
    base = int(fresh.call("status")["sync_info"]["earliest_block_height"])
    assert base > 1, f"it replayed the chain instead\n{fresh.log()[-3000:]}"
    goal = honest.height()
    until(lambda: fresh.height() >= goal + 1, fresh.log)
    for height in range(base, goal + 1):
        assert fresh.app_hash(height) == honest.app_hash(height)
    lied = (fault.folder / "lied").exists()
    assert lied or lie == "empty chunk", "the liar was never asked"
    assert "panic" not in fresh.log()
    used = size(fresh.home / "app.db")
    assert used < 20_000_000 and not list(fresh.home.glob("*.restore*"))
    measured("F18", lie=lie, lied=lied, joined_s=round(seconds, 2), base=base, disk_bytes=used)
