"""Starts one relay: `python -m relay --config config.toml`. Exit codes: 0 ok, 1 failed, 2 usage, 3 settings, 5 keys."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import tomllib
from pathlib import Path

from prometheus_client import CollectorRegistry

from network.aio.chain_client import client_of
from network.aio.dialer import dialer_of
from network.aio.event_loop import run
from network.aio.key_keeper import KeyKeeper
from network.aio.keys import KeyFileError, NodeKeys, load_or_create
from network.aio.listening import PublicPort
from network.aio.logs import configure
from network.aio.neighbours import Neighbours
from network.aio.ops import OpsServer
from network.aio.registration import keep_registered
from network.chain_records import DirectoryEntry
from network.chain_tx import RegisterNode
from network.crypto import exchange_public
from network.errors import ConfigError
from network.handshake import OnionKey
from network.hpke import OnionPrivate
from network.ids import Role
from relay.aio.metrics import RelayMetrics
from relay.aio.server import RelayServer
from relay.config import RelayConfig, from_mapping
from relay.core import RelayCore

log = logging.getLogger(__name__)


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m relay", description="Carry cells for others.")
    parser.add_argument("--config", type=Path, required=True, help="path of config.toml")
    path: Path = parser.parse_args().config
    try:
        config = from_mapping(tomllib.loads(path.read_text()), path.resolve().parent)
        configure(config.node.name, config.node.log_level, config.node.log_format)
        run(_Relay(config, load_or_create(config.node.keys)).run(), config.node.event_loop)
    except KeyFileError as error:
        print(f"relay: {error}", file=sys.stderr)
        return 5
    except (ConfigError, OSError, tomllib.TOMLDecodeError) as error:
        print(f"relay: {error}", file=sys.stderr)
        return 3
    return 0


class _Relay:
    """The objects of one relay process, wired."""

    def __init__(self, config: RelayConfig, keys: NodeKeys) -> None:
        self._node = config.node
        self._keys = keys
        self._chain = client_of(config.node)
        self._core = RelayCore(keys.node_id, (), lambda: self._chain.directory_now, os.urandom, config.limits)
        self._keeper = KeyKeeper(config.node.keys, keys, self._entry, self._use_keys, os.urandom)
        self._keeper.start()
        self._dialer = dialer_of(config.node)
        self._server = RelayServer(self._core, dialer=self._dialer)
        self._neighbours = Neighbours(config.node, keys.signing, lambda: self._chain.directory_now, self._dialer)
        self._port = PublicPort(config.node, keys.signing, [*self._server.routes(), *self._neighbours.routes()])

    async def run(self) -> None:
        """Serve, follow the chain, stay registered; return when told to stop."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        registry = CollectorRegistry()
        registry.register(
            RelayMetrics(
                self._core.counts, lambda: len(self._core.circuits), lambda: self._server.links, lambda: self._core.queued_cells
            )
        )
        ops = OpsServer(self._node.metrics, self._status, registry, self._neighbours.ops_routes())
        await ops.start()
        await self._chain.start()
        await self._port.start()
        gc.collect()
        gc.freeze()  # what start-up left is here to stay; later collections need not walk it
        tasks = {
            asyncio.create_task(self._chain.follow()),
            asyncio.create_task(
                self._neighbours.once_reachable(lambda: keep_registered(self._chain, self._keys, self._describe))
            ),
            asyncio.create_task(self._neighbours.run()),
            asyncio.create_task(self._keeper.run()),
            asyncio.create_task(stop.wait()),
        }
        log.info("carrying cells", extra={"fields": {"address": self._node.public, "node": self._keys.node_id.hex()}})
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._server.close()
            await self._port.close()
            await ops.close()
            await self._chain.close()

    def _describe(self) -> RegisterNode:
        """What the ledger is to say about this relay."""
        node = self._node
        return RegisterNode(Role.RELAY, node.name, self._keeper.keys.onion_public, str(node.public), node.family)

    def _entry(self) -> DirectoryEntry | None:
        return self._chain.directory_now.get(self._keys.node_id)

    def _use_keys(self, generations: tuple[OnionPrivate, ...]) -> None:
        pairs = [(each.x25519, exchange_public(each.x25519)) for each in generations]
        self._core.use_onion_keys([OnionKey(private, public) for private, public in pairs])

    def _status(self) -> dict[str, object]:
        listed = self._entry() is not None
        reason = self._chain.trouble or self._neighbours.trouble or ("" if listed else "not in the directory yet")
        return {
            "name": self._node.name,
            "role": "relay",
            "ready": not reason,
            "reason": reason,
            "node_id": self._keys.node_id.hex(),
            "address": str(self._node.public),
            "directory_height": self._chain.directory_now.height,
            "circuits": len(self._core.circuits),
            "links": self._server.links,
            "queued_cells": self._core.queued_cells,
            "gossip": self._neighbours.status(),
            "counts": dict(self._core.counts),
        }


if __name__ == "__main__":
    sys.exit(main())
