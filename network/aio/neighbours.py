"""A relay's or model node's part among its neighbours, wired for one process: what it serves, asks, and says of it."""

import os
import time
from collections.abc import Callable

from aiohttp import web

from network.aio.dialer import Dialer
from network.aio.gossip import Gossiper, GossipServer
from network.config import NodeConfig
from network.crypto import SigningKey
from network.directory import Directory
from network.gossip import Gossip
from network.liveness import Liveness


class Neighbours:
    """Gossip of one node that others find at its public address."""

    def __init__(self, node: NodeConfig, key: SigningKey, directory: Callable[[], Directory], dialer: Dialer) -> None:
        self._gossip = Gossip(node.chain_id, directory, Liveness(directory), os.urandom, key=key, address=str(node.public))
        self._server = GossipServer(self._gossip, directory)
        self._asking = Gossiper(self._gossip, dialer, os.urandom)

    def routes(self) -> list[web.RouteDef]:
        """What the node's public port answers besides its own work."""
        return self._server.routes()

    async def run(self) -> None:
        """Gossip until cancelled."""
        await self._asking.run()

    def status(self) -> dict[str, int | bool]:
        """For the node's status page."""
        return self._gossip.status(time.time())
