"""`validator export`: the ledger of one height as a genesis document with which the chain can go on."""

import argparse
import json
from datetime import datetime

from abci_app.aio.settings import read_genesis
from abci_app.cli import place
from abci_app.genesis_document import export_genesis
from network.errors import ConfigError


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`validator export`."""
    meaning = "print the ledger of one height as a genesis document"
    parser = kinds.add_parser("export", help=meaning, description=f"{meaning}; the chain goes on with the same app hash")
    place.add_arguments(parser)
    parser.add_argument("--height", type=int, help="one that is still kept (default: the latest)")
    parser.add_argument(
        "--genesis-time",
        help="RFC 3339 in UTC, the same for everybody who goes on with the document (default: the present genesis document's)",
    )
    parser.set_defaults(work=export)


def export(arguments: argparse.Namespace) -> int:
    """Print the document."""
    settings = place.config(arguments)
    original = json.loads(read_genesis(settings))
    genesis_time = _checked(arguments.genesis_time) if arguments.genesis_time else original["genesis_time"]
    with place.opened(settings) as store:
        height = arguments.height if arguments.height is not None else store.height
        store.require_kept(height)
        version = store.version(height)
        print(export_genesis(original, version, height, version.app_hash(), genesis_time), end="")
    return 0


def _checked(text: str) -> str:
    try:
        utc = datetime.fromisoformat(text).isoformat().endswith("+00:00")
    except ValueError:
        utc = False
    if not utc or not text.endswith("Z"):
        raise ConfigError(f"--genesis-time is {text!r}, must be a time in UTC as 2026-01-31T12:00:00Z")
    return text
