"""`python -m network.gateway --config config.toml`: an OpenAI-compatible gateway to the network.

Exit codes: 0 stopped on request, 1 failed, 2 usage, 3 a setting or port cannot be used, 5 the keys cannot be used.
"""

import argparse
import asyncio
import logging
import secrets
import signal
import ssl
import sys
import time
import tomllib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from aiohttp import web

from network.aio.chain_client import ChainClient, client_of
from network.aio.dialer import dialer_of
from network.aio.event_loop import run
from network.aio.guard_store import GUARDS_FILE, GuardStore
from network.aio.keys import KeyFileError, NodeKeys, load_or_create
from network.aio.logs import configure
from network.aio.ops import OpsServer
from network.aio.registration import RegistrationRefused, keep_registered
from network.aio.user_node import UserNode
from network.chain_tx import RegisterNode
from network.errors import ConfigError
from network.gateway.affinity import Affinity
from network.gateway.aio.answering import GatewayParts
from network.gateway.aio.metrics import GatewayMetrics
from network.gateway.aio.server import GatewayServer
from network.gateway.api_keys import ApiKeys, parse_keys
from network.gateway.caching import Caching
from network.gateway.config import GatewayConfig, from_mapping
from network.ids import Role

log = logging.getLogger("network.gateway")

DRAIN_S = 5.0


class Gateway:
    """The wired process."""

    def __init__(self, config: GatewayConfig, client: ChainClient, keys: NodeKeys) -> None:
        self._config = config
        self._client = client
        self._keys = keys
        self._metrics = GatewayMetrics()
        self._user_node = UserNode(
            self._directory,
            secrets.token_bytes,
            path_sets=config.path_sets,
            sealing=config.sealing,
            mode=config.mode,
            dialer=dialer_of(config.node),
            guards=config.guards,
            guard_store=GuardStore(config.node.keys.with_name(GUARDS_FILE), config.node.chain_id),
        )
        parts = GatewayParts(
            overlay=self._user_node,
            directory=self._directory,
            affinity=Affinity(),
            metrics=self._metrics,
            rng=secrets.token_bytes,
            clock=time.time,
        )
        self._server = GatewayServer(
            parts,
            self.not_ready,
            config.group,
            config.temperature_milli,
            config.max_tokens,
            Caching(keys.signing.seed),
            keys=_api_keys(config),
        )
        self._metrics.path_sets.set_function(lambda: self._user_node.status().path_sets_ready)
        self._metrics.guards.set_function(lambda: self._user_node.status().guards_answering)
        self._metrics.live_nodes.set_function(lambda: len(client.directory_now.record.entries))
        self._metrics.directory_height.set_function(lambda: client.directory_now.height)

    def _directory(self) -> Any:
        return self._client.directory_now

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises ConfigError when a port is taken, RegistrationRefused by the chain."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await self._client.start()
        asked = web.get("/requests", self._requests)
        ops = OpsServer(self._config.node.metrics, self.status, self._metrics.registry, [asked])
        runner = web.AppRunner(self._server.app(), handler_cancellation=True, access_log=None, shutdown_timeout=DRAIN_S)
        try:
            await ops.start()
            await self._listen(runner)
            await self._user_node.start()
            log.info("listening", extra={"fields": {"base_url": self._base_url()}})
            await self._until_stopped(stop)
        finally:
            await runner.cleanup()
            await ops.close()
            await self._user_node.close()
            await self._client.close()

    async def _listen(self, runner: web.AppRunner) -> None:
        await runner.setup()
        listen = self._config.node.listen
        try:
            await web.TCPSite(runner, listen.host, listen.port, ssl_context=_certificate(self._config)).start()
        except OSError as error:
            raise ConfigError(
                f"node.listen: cannot listen on {listen} ({error.strerror}); stop what uses the port, or choose another"
            ) from error

    def _base_url(self) -> str:
        return f"{'https' if self._config.certificate else 'http'}://{self._config.node.listen}/v1"

    async def _until_stopped(self, stop: asyncio.Event) -> None:
        """Run the background work until somebody asks to stop, or one piece of it fails."""
        body = RegisterNode(role=Role.USER, name=self._config.node.name, onion_key=self._keys.onion_public)
        work: list[Coroutine[Any, Any, Any]] = [
            stop.wait(),
            self._client.follow(),
            keep_registered(self._client, self._keys, lambda: body),
        ]
        tasks = [asyncio.create_task(each) for each in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def not_ready(self) -> str:
        """Why a request would fail now; empty when it would not."""
        if self._client.trouble:
            return self._client.trouble
        if not self._client.directory_now.record.entries:
            return "the list of live nodes has not been read from the chain yet"
        if not self._client.directory_now.groups():
            return "no trusted model node is live"
        overlay = self._user_node.status()
        return "" if overlay.path_sets_ready or overlay.sessions else f"no path set is ready: {overlay.reason}"

    async def _requests(self, _: web.Request) -> web.Response:
        return web.json_response({"requests": self._user_node.requests()})

    def status(self) -> dict[str, object]:
        """The document of `/status`."""
        reason = self.not_ready()
        overlay = self._user_node.status()
        return {
            "name": self._config.node.name,
            "role": "gateway",
            "ready": not reason,
            "reason": reason,
            "node_id": self._keys.node_id.hex(),
            "base_url": self._base_url(),
            "models": list(self._client.directory_now.groups()),
            "directory_height": self._client.directory_now.height,
            "path_sets_ready": overlay.path_sets_ready,
            "path_sets_wanted": overlay.path_sets_wanted,
            "guards_answering": overlay.guards_answering,
            "guards_wanted": overlay.guards_wanted,
            "directory_epochs_behind": overlay.directory_epochs_behind,
            "circuits_open": overlay.circuits_open,
            "gossip": overlay.gossip,
        }


def _api_keys(config: GatewayConfig) -> ApiKeys | None:
    """The keys in the named file. Raises ConfigError."""
    if config.api_keys is None:
        return None
    try:
        return parse_keys(config.api_keys.read_text(), f"gateway.api_keys, {config.api_keys}")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"gateway.api_keys: {config.api_keys} cannot be read: {error}") from error


def _certificate(config: GatewayConfig) -> ssl.SSLContext | None:
    """TLS with the operator's certificate, where one is named. Raises ConfigError."""
    if config.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.certificate, config.certificate_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"gateway.tls_certificate: {config.certificate} and tls_key cannot be used: {error}") from error
    return context


def start(path: Path) -> int:
    """Read the configuration at `path`, run the gateway, and return the exit code."""
    try:
        config = from_mapping(tomllib.loads(path.read_text()), path.parent)
        configure(config.node.name, config.node.log_level, config.node.log_format)
        run(Gateway(config, client_of(config.node), load_or_create(config.node.keys)).run(), config.node.event_loop)
    except (KeyFileError, RegistrationRefused) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 5
    except (ConfigError, tomllib.TOMLDecodeError, OSError) as error:
        print(f"gateway: {path}: {error}", file=sys.stderr)
        return 3
    return 0


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m network.gateway", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the gateway's config.toml")
    return start(parser.parse_args().config)


if __name__ == "__main__":
    sys.exit(main())
