"""`planetserve rest`: the REST gateway, in the foreground until Ctrl-C.

Exit codes: 0 stopped on request, 2 usage, 3 the port or the genesis file cannot be used.
"""

import argparse
import asyncio
import logging
import signal
import sys

from aiohttp import web

from network.aio.ledger_reader import LedgerReader
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
        await stop.wait()
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
