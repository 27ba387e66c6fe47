"""A node's public port: bound where the settings say, TLS with the node's own key where the rule says."""

import asyncio
import resource

from aiohttp import web

from network.aio.tls import server_context
from network.config import NodeConfig
from network.crypto import SigningKey
from network.errors import ConfigError

HANDSHAKE_SECONDS = 5.0
SHUTDOWN_SECONDS = 1.0
BACKLOG = 128


class PublicPort:
    """Serves routes to neighbours on `[node] listen`."""

    def __init__(self, node: NodeConfig, signing: SigningKey, routes: list[web.RouteDef]) -> None:
        self._node = node
        self._signing = signing
        app = web.Application()
        app.add_routes(routes)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen. Raises ConfigError when the address cannot be bound."""
        _allow_many_connections()
        await self._runner.setup()
        assert self._runner.server is not None
        listen = self._node.listen
        context = server_context(self._signing) if self._node.serves_tls else None
        handshake = HANDSHAKE_SECONDS if context is not None else None
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._runner.server, listen.host, listen.port, ssl=context, backlog=BACKLOG, ssl_handshake_timeout=handshake
            )
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"node.listen: cannot listen on {listen} ({error.strerror}); stop what uses the port, or choose another"
            ) from error

    async def close(self) -> None:
        """Stop listening and end what is open."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()


def _allow_many_connections() -> None:
    """Every link is an open file; the usual soft limit of 1,024 is for programs that open none."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
