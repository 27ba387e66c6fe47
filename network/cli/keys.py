"""`planetserve keys`: make a node's key file, or show its public half. Secrets are never printed."""

import argparse
import sys
from pathlib import Path
from typing import Any

from network.aio.keys import NodeKeys, create, load
from network.cli import home
from network.cli.output import run, show_fields, show_json


async def keys(arguments: argparse.Namespace) -> int:
    """Make or show one key file."""
    path = _path(arguments.file, arguments.home)
    document = view(path, create(path) if arguments.what == "new" else load(path))
    if arguments.output == "json":
        show_json(document)
    else:
        show_fields(document)
    return 0


def view(path: Path, held: NodeKeys) -> dict[str, Any]:
    """What may be told about a key file."""
    return {
        "file": str(path),
        "id": held.node_id.hex(),
        "signing_key": held.signing.public.hex(),
        "onion_key": held.onion_public.hex(),
    }


def _path(text: str, folder: Path) -> Path:
    """A file, or the name of a node of the home."""
    named = folder / text / "keys.json"
    return named if "/" not in text and named.exists() else Path(text)


def parser() -> argparse.ArgumentParser:
    """The command line of `planetserve keys`."""
    top = argparse.ArgumentParser(prog="planetserve keys", description="A node's keys on disk.")
    kinds = top.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, meaning in (("new", "make a key file, readable by you only"), ("show", "show id and public keys")):
        kind = kinds.add_parser(name, help=meaning, description=meaning)
        kind.add_argument("file", help="a key file" if name == "new" else "a key file, or the name of a node in the home")
        kind.add_argument("--output", choices=("text", "json"), default="text")
        home.add_arguments(kind)
    return top


if __name__ == "__main__":
    sys.exit(run(keys(parser().parse_args())))
