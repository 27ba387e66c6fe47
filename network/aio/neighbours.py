"""A relay's or model node's part among its neighbours, wired for one process: what it serves, asks, and says of it."""

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from aiohttp import web

from network.aio.dialer import Dialer
from network.aio.gossip import Gossiper, GossipServer
from network.aio.reachability import DialBacks, ReachabilityCheck
from network.config import NodeConfig
from network.crypto import SigningKey
from network.directory import Directory
from network.gossip import Gossip, GossipStatus
from network.liveness import Liveness
from network.reachability import REACHABILITY_PATH, OpenNonces, Reachability


class Neighbours:
    """Gossip and dial-backs of one node that others find at its public address."""

    def __init__(self, node: NodeConfig, key: SigningKey, directory: Callable[[], Directory], dialer: Dialer) -> None:
        self._gossip = Gossip(node.chain_id, directory, Liveness(directory), os.urandom, key=key, address=str(node.public))
        self._server = GossipServer(self._gossip, directory)
        self._asking = Gossiper(self._gossip, dialer, os.urandom)
        nonces = OpenNonces(os.urandom)
        self._dial_backs = DialBacks(dialer, nonces, key)
        self._check = ReachabilityCheck(node.public, key, directory, dialer, nonces, os.urandom)
        self._assumed = node.reachability == "assume"

    def routes(self) -> list[web.RouteDef]:
        """What the node's public port answers besides its own work."""
        return [*self._server.routes(), *self._dial_backs.routes()]

    def ops_routes(self) -> list[web.RouteDef]:
        """What the operator's port answers: `POST` asks the listed relays to call back now."""
        return [web.post(REACHABILITY_PATH, self._serve_check)]

    async def run(self) -> None:
        """Gossip until cancelled."""
        await self._asking.run()

    async def once_reachable(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` (register) once others have called this node, or at once where the settings say so."""
        if not self._assumed:
            await self._check.wait()
        await work()

    async def check(self) -> Reachability:
        """Ask listed relays to call back now."""
        return await self._check.check()

    @property
    def trouble(self) -> str:
        """Why this node does not register; empty when nothing keeps it."""
        return self._check.trouble

    def status(self) -> GossipStatus:
        """For the node's status page."""
        return self._gossip.status(time.time())

    async def _serve_check(self, _request: web.Request) -> web.Response:
        found = await self.check()
        return web.json_response({**asdict(found), "enough": found.is_enough, "explanation": found.explanation})
