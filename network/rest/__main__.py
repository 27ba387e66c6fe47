"""`planetserve rest`: the REST gateway, in the foreground until Ctrl-C.

Exit codes: 0 stopped on request, 2 usage, 3 the port or the genesis file cannot be used.
"""

import argparse
import asyncio
import logging
import signal
import sys

from aiohttp import web

from network.aio.chain_client import ChainUnavailable, ProofRejected
from network.aio.chain_rpc import RpcError
from network.aio.ledger_reader import LedgerReader, LedgerRefused
from network.aio.logs import configure
from network.cli import home
from network.cli.output import run
from network.config import LOG_LEVELS, parse_address
from network.errors import ConfigError
from network.rest.aio.chain_history import ChainHistory
from network.rest.aio.cosmos_pages import CosmosPages
from network.rest.aio.ledger_pages import LedgerPages
from network.rest.aio.metrics import RestMetrics
from network.rest.aio.server import RestServer

log = logging.getLogger("network.rest")

DEFAULT_LISTEN = "127.0.0.1:1317"
DRAIN_S = 2.0
FOLLOW_S = 60.0


async def keep_trust(reader: LedgerReader) -> None:
    """Prove something every minute, so that a quiet gateway's trusted block does not grow older than the trusting period."""
    failing = False
    while True:
        try:
            height, _ = await reader.now(0)
            if failing:
                log.info("the chain answers again", extra={"fields": {"height": height}})
            failing = False
        except (ChainUnavailable, ProofRejected, RpcError, LedgerRefused) as error:
            if not failing:
                log.warning("the chain cannot be followed", extra={"fields": {"reason": error}})
            failing = True
        await asyncio.sleep(FOLLOW_S)


async def serve(arguments: argparse.Namespace) -> int:
    """Answer until SIGTERM or SIGINT. Raises ConfigError when the port is taken."""
    configure("rest", arguments.log_level)
    listen = parse_address(arguments.listen, "--listen")
    network = home.place(arguments)
    client = network.client()
    reader = LedgerReader(client)
    server = RestServer(reader, LedgerPages(reader), CosmosPages(reader, ChainHistory(client)), RestMetrics())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(server.app(), handler_cancellation=True, access_log=None, shutdown_timeout=DRAIN_S)
    await client.start()
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, listen.host, listen.port).start()
        except OSError as error:
            raise ConfigError(
                f"--listen: cannot listen on {listen} ({error.strerror}); stop what uses the port, or choose another"
            ) from error
        log.info("listening", extra={"fields": {"url": f"http://{listen}", "chain": client.chain_id}})
        following = asyncio.create_task(keep_trust(reader))
        await stop.wait()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    finally:
        await runner.cleanup()
        await client.close()
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line of `planetserve rest`."""
    top = argparse.ArgumentParser(
        prog="planetserve rest", description="Serve the ledger over HTTP: proven JSON, and the Cosmos routes explorers call."
    )
    home.add_arguments(top)
    top.add_argument("--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT", help=f"default: {DEFAULT_LISTEN}")
    top.add_argument("--log-level", choices=LOG_LEVELS, default="info", help="default: info")
    return top


if __name__ == "__main__":
    sys.exit(run(serve(parser().parse_args())))
