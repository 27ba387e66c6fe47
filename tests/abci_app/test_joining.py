"""A fresh node joins a running chain by a snapshot, which CometBFT fetches from a peer and its light client vouches for."""

import os
import signal
from collections.abc import Callable
from typing import Any

from network.chain_records import PARAMS_KEY, node_key
from network.chain_tx import RegisterNode, TxKind, build_tx
from network.crypto import SigningKey, exchange_public, sha256
from network.ids import Role, node_id

KEY = SigningKey(sha256(b"joining"))
FAST: dict[str, object] = {
    "epoch_blocks": 20,
    "vrf_end": 2,
    "commit_end": 4,
    "send_end": 10,
    "publish_end": 13,
    "score_end": 16,
    "reveal_end": 19,
}


def registration() -> bytes:
    body = RegisterNode(Role.USER, "user", exchange_public(sha256(b"onion")))
    return build_tx(TxKind.REGISTER_NODE, body, key=KEY, chain_id="ledger-test", nonce=1)


def configure(validator: Any, lines: str) -> None:
    """More settings for the last table, [app], or tables after it."""
    with (validator.home / "config.toml").open("a") as file:
        file.write(lines)


def sync_from(validator: Any, source: Any, height: int) -> None:
    """Trust the header of `height`, as an operator reads it off a node, and look for snapshots at once."""
    trusted = source.call("commit", height=str(height))["signed_header"]["commit"]["block_id"]["hash"]
    configure(
        validator,
        f'\n[comet.statesync]\nrpc_servers = ["{source.rpc}", "{source.rpc}"]\n'
        f'trust_height = {height}\ntrust_hash = "{trusted}"\n',
    )
    comet = validator.home / "comet" / "config" / "config.toml"
    comet.write_text(comet.read_text().replace("[statesync]\n", '[statesync]\ndiscovery_time = "5s"\n', 1))


def snapshots(validator: Any) -> dict[str, bytes]:
    folder = validator.home / "snapshots"
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_fresh_node_joins_by_a_snapshot(make_chain: Callable[..., Any], wait_until: Callable[..., None]) -> None:
    chain = make_chain(1, params=FAST)
    first = chain.validators[0]
    configure(first, "snapshot_interval = 10\nsnapshot_keep = 10\n")
    first.start()
    first.wait_height(2)
    raw = registration()
    assert first.send(raw)["code"] == 0
    assert first.result(raw).get("code", 0) == 0
    at = first.height()
    first.wait_height(at + 12)
    fresh = chain.join("fresh")
    configure(fresh, "snapshot_interval = 10\nsnapshot_keep = 10\n")
    sync_from(fresh, first, 2)
    fresh.start()
    fresh.wait_height(at + 12)
    base = int(fresh.call("status")["sync_info"]["earliest_block_height"])
    assert base > 1, f"it replayed the chain instead\n{fresh.log()[-3000:]}"
    reached = first.height()
    fresh.wait_height(reached + 1)
    for height in range(base, reached + 1):
        assert fresh.app_hash(height) == first.app_hash(height)
    for key in (PARAMS_KEY, node_key(node_id(KEY.public))):
        assert fresh.query(key, height=reached) == first.query(key, height=reached)
    pids = fresh.children()
    os.kill(pids["app"], signal.SIGKILL)
    fresh.wait_height(first.height() + 2)
    next_one = (fresh.height() // 10 + 1) * 10
    wanted = f"{next_one}/metadata"
    fresh.wait_height(next_one)
    wait_until(lambda: wanted in snapshots(first) and wanted in snapshots(fresh), lambda: fresh.log()[-3000:])
    both = snapshots(first), snapshots(fresh)
    common = [name for name in both[1] if name in both[0]]
    assert wanted in common and all(both[0][name] == both[1][name] for name in common), "byte-identical on both"
    assert fresh.stop() == 0 and first.stop() == 0
