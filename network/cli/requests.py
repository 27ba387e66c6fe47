"""`planetserve requests`: where the time of the gateway's last requests went. It asks the gateway's own metrics port."""

import argparse
import sys

import aiohttp

from network.cli import home
from network.cli.output import UNREACHABLE, CommandFailed, run, show_json, show_table

TIMEOUT = aiohttp.ClientTimeout(total=5.0)
COLUMNS = (
    "number",
    "mode",
    "outcome",
    "attempts",
    "circuits_ms",
    "sealing_ms",
    "jitter_ms",
    "to_acceptance_ms",
    "to_first_text_ms",
    "streaming_ms",
    "pieces",
    "resumed",
)


async def requests(arguments: argparse.Namespace) -> int:
    """Ask, and print."""
    base = (arguments.metrics_url or home.place(arguments).metrics).rstrip("/")
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False) as session,
            session.get(f"{base}/requests") as response,
        ):
            document = await response.json() if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise CommandFailed(
            f"no gateway answers at {base} ({why}); name its metrics port: --metrics-url", UNREACHABLE
        ) from error
    if not isinstance(document, dict):
        raise CommandFailed(f"{base} is not a gateway's metrics port: it does not say where its requests' time went")
    if arguments.output == "json":
        show_json(document)
    else:
        show_table(document["requests"], COLUMNS)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line of `planetserve requests`."""
    top = argparse.ArgumentParser(
        prog="planetserve requests", description="Where the time of the gateway's last requests went, in milliseconds."
    )
    top.add_argument("--metrics-url", help="the gateway's metrics port, http://HOST:PORT (default: the home's)")
    top.add_argument("--output", choices=("text", "json"), default="text")
    home.add_arguments(top)
    return top


if __name__ == "__main__":
    sys.exit(run(requests(parser().parse_args())))
