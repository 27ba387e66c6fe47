"""Runs one validator's application: opens the store, serves CometBFT and the operator, until told to stop."""

import asyncio
import json
import logging
import signal
from hashlib import sha256
from time import monotonic
from typing import Any

from abci_app.abci.order import CallOrder
from abci_app.aio import upgrades
from abci_app.aio.metrics import Observed
from abci_app.aio.server import AbciServer
from abci_app.aio.settings import read_genesis
from abci_app.aio.snapshots import SnapshotFolder, SnapshotMaker
from abci_app.aio.storage import LevelStore
from abci_app.application import Application
from abci_app.config import ValidatorConfig
from abci_app.retention import EVIDENCE_BLOCKS, Retention
from abci_app.state.errors import UpgradeNeeded
from abci_app.state_sync import Restore
from abci_app.upgrades import Plan
from network.aio.ops import OpsServer
from network.errors import ConfigError

logger = logging.getLogger(__name__)


async def run(config: ValidatorConfig) -> None:
    """Serve until SIGTERM. Raises ConfigError, StoreError or UpgradeNeeded when it cannot begin."""
    genesis_raw = read_genesis(config)
    app_state = json.dumps(json.loads(genesis_raw).get("app_state")).encode()
    store = LevelStore(config.data, chain_id=config.node.chain_id, genesis_hash=sha256(genesis_raw).digest())
    folder = SnapshotFolder(config.snapshots)
    shelf = SnapshotMaker(store, folder, interval=config.snapshot_interval, keep=config.snapshot_keep)
    restore = Restore(config.node.chain_id, store.restoring)
    retention = _retention(config, json.loads(genesis_raw))

    def announce(needed: UpgradeNeeded) -> None:
        try:
            upgrades.announce(config, Plan(needed.name, needed.height, needed.version))
        except ConfigError as error:  # the process ends all the same, and the supervisor misses the note
            logger.error("%s", error)

    try:
        app = Application(store, config.node.chain_id, app_state, shelf=shelf, restore=restore, retention=retention)
    except UpgradeNeeded as needed:
        announce(needed)
        store.close()
        raise
    order = CallOrder(store.height) if config.check_order else None
    observed = Observed(app, config.node.name, monotonic, order)
    ops = OpsServer(config.node.metrics, observed.status, observed.registry)
    server = AbciServer(app, config.socket, observed.observe, order, announce)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Ctrl-C reaches the supervisor, which stops CometBFT first: it hangs when its application goes before it.
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    try:
        await ops.start()
        await server.start()
        logger.info("application at height %d listens", store.height)
        await stop.wait()
    finally:
        await server.close()
        await ops.close()
        await shelf.close()
        store.close()


def _retention(config: ValidatorConfig, genesis: Any) -> Retention:
    evidence = (genesis.get("consensus_params") or {}).get("evidence") or {}
    evidence_blocks = int(evidence.get("max_age_num_blocks", EVIDENCE_BLOCKS))
    return Retention(config.retain_blocks, evidence_blocks, snapshots=config.snapshot_interval > 0)
