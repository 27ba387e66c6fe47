"""The front's process: its ports, the group's exchange, and an orderly end.

The shell around `serving_node/forwarder.py` for an owner who has engines and no chain: requests arrive over plain HTTP, the
forwarder decides over the prompt's bytes, and the bytes go to the engine or to the fellow front that decides no more.
"""

import asyncio
import logging
import os
import ssl
import time

from aiohttp import web
from prometheus_client import CollectorRegistry

from network.aio.dialer import Dialer
from network.aio.listening import BACKLOG
from network.aio.ops import OpsServer
from network.aio.tls import server_context
from network.config import Address, needs_tls
from network.crypto import SigningKey
from network.directory import Directory
from network.errors import ConfigError
from network.hrtree.fingerprint import Unit
from serving_node.aio.group import Group
from serving_node.front.aio.client import Client
from serving_node.front.aio.desk import Desk
from serving_node.front.config import FrontConfig
from serving_node.front.members import check_own, directory_of, opener_of

log = logging.getLogger(__name__)

TICK_S = 0.25
TICKS_PER_WATCH = 4
# One more HTTP hop, nothing sealed or signed.
FORWARD_COST_S = 0.002


class Front:
    """One front."""

    def __init__(self, config: FrontConfig, signing: SigningKey) -> None:
        self.own_id = check_own(config, signing.public)
        self.listening = False
        self._config = config
        self._signing = signing
        self._dialer = Dialer()
        self._members = directory_of(config, _minute())
        registry = CollectorRegistry()
        self.group = Group(
            self.own_id,
            signing,
            self._directory,
            config.group,
            config.policy,
            os.urandom,
            self._dialer,
            registry=registry,
            unit=Unit.TEXT,
            opener=opener_of(signing),
        )
        self.group.forwarder.beliefs.forward_cost_s = FORWARD_COST_S
        self.desk = Desk(config, signing, self.own_id, self.group, registry, self._adopt)
        self._ops = OpsServer(config.ops, self.status, registry, self.group.ops_routes())
        app = web.Application()
        app.add_routes(self.group.routes())
        self._exchange = web.AppRunner(app, access_log=None)
        self._servers: list[asyncio.Server] = []

    def _directory(self) -> Directory:
        """The members. For want of a ledger epochs are minutes, so the group's terms change with the hour."""
        if self._members.record.epoch != _minute():
            self._members = directory_of(self._config, _minute())
        return self._members

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then drain and close. Raises ConfigError when a port is taken."""
        await self._exchange.setup()
        ticking: asyncio.Task[None] | None = None
        try:
            await self._ops.start()
            for address, context in self._ports():
                self._servers.append(await self._listen(address, context))
            await self.group.start()
            self.listening = True
            ticking = asyncio.create_task(self._tick())
            fields = {"listen": self._config.listen, "engine": self._config.engine, "fronts": len(self._config.members)}
            log.info("serving", extra={"fields": fields})
            await stop.wait()
            await self._drain()
        finally:
            if ticking is not None:
                ticking.cancel()
                await asyncio.gather(ticking, return_exceptions=True)
            await self._close()

    def status(self) -> dict[str, object]:
        """What `GET /status` answers on the ops port."""
        return {
            "name": self._config.name,
            "role": "front",
            "ready": not self.desk.reason,
            "reason": self.desk.reason,
            "node_id": self.own_id.hex(),
            "key": self._signing.public.hex(),
            "engine": str(self._config.engine),
            "inside": self.desk.door.inside,
            "fellows": self.fellows(),
        }

    def fellows(self) -> dict[str, bool]:
        """The other fronts, and whether the last exchange with each went well."""
        replicas = self.group.forwarder.sync.replicas
        return {place.name: replicas[at].reachable for at, place in self.desk.places.items() if at in replicas}

    def _adopt(self, transport: asyncio.Transport, data: bytes) -> None:
        """A connection that speaks the group's exchange: the rest of it is aiohttp's."""
        assert self._exchange.server is not None
        handler = self._exchange.server()
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(data)

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            self.desk.tell_load()
            ticks += 1
            if ticks % TICKS_PER_WATCH == 0:
                self.desk.watch()

    def _ports(self) -> list[tuple[Address, ssl.SSLContext | None]]:
        """Where to listen: for callers, and for fellow fronts where they come elsewhere."""
        listen = self._config.listen
        fellows = next(member.address for member in self._config.members if member.name == self._config.name)
        if fellows == listen:
            return [(listen, None)]
        context = server_context(self._signing) if needs_tls(fellows, always=False) else None
        return [(listen, None), (fellows, context)]

    async def _listen(self, address: Address, context: ssl.SSLContext | None) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        try:
            return await loop.create_server(lambda: Client(self.desk), address.host, address.port, ssl=context, backlog=BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"front.listen: cannot listen on {address} ({error.strerror}); stop what uses the port, or choose another"
            ) from error

    async def _drain(self) -> None:
        """Close the doors, pass on what comes nevertheless, and wait for what runs."""
        for server in self._servers:
            server.close()
        self.desk.finish()
        await self.group.farewell()
        loop = asyncio.get_running_loop()
        until = loop.time() + self._config.drain_s
        if self.desk.passages:
            log.info("draining", extra={"fields": {"requests": len(self.desk.passages)}})
        while self.desk.passages and loop.time() < until:
            await asyncio.sleep(0.05)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        await self.desk.close()
        await self.group.close()
        await self._dialer.aclose()
        await self._exchange.cleanup()
        await self._ops.close()


def _minute() -> int:
    return int(time.time()) // 60
