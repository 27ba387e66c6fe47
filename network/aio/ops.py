"""The operator's HTTP face of every role: `GET /metrics` for Prometheus and `GET /status` as JSON."""

from collections.abc import Callable, Iterable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import REGISTRY

from network.config import Address
from network.errors import ConfigError

Status = Mapping[str, object]


class OpsServer:
    """Serves metrics and status on its own port. `status()` must hold at least name, role, ready and reason."""

    def __init__(
        self,
        listen: Address,
        status: Callable[[], Status],
        registry: CollectorRegistry = REGISTRY,
        routes: Iterable[web.RouteDef] = (),
    ) -> None:
        """`routes`: what a role offers its operator besides."""
        self._listen = listen
        self._routes = tuple(routes)
        self._status = status
        self._registry = registry
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to listen. Raises ConfigError when the port is taken."""
        app = web.Application()
        app.add_routes([web.get("/metrics", self._metrics), web.get("/status", self._serve_status), *self._routes])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._listen.host, self._listen.port).start()
        except OSError as error:
            await self.close()
            raise ConfigError(
                f"node.metrics: cannot listen on {self._listen} ({error.strerror}); stop what uses the port, or choose another"
            ) from error

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), content_type="text/plain", charset="utf-8")

    async def _serve_status(self, _request: web.Request) -> web.Response:
        return web.json_response(dict(self._status()))
