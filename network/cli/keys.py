"""`planetserve keys`: make a node's key file, or show its public half, and make the API keys of a gateway.

A node's secrets are never printed; an API key is printed once, because it is nowhere else.
"""

import argparse
import secrets
import sys
from pathlib import Path
from typing import Any

from network.aio.files import replace
from network.aio.keys import NodeKeys, create, load
from network.cli import home
from network.cli.output import run, show_fields, show_json
from network.gateway.api_keys import new_key, parse_keys


async def keys(arguments: argparse.Namespace) -> int:
    """Make or show one key file, or add an API key to a gateway's."""
    if arguments.what == "api":
        return _add_api_key(Path(arguments.file), arguments.name, arguments.output)
    path = _path(arguments.file, arguments.home)
    document = view(path, create(path) if arguments.what == "new" else load(path))
    if arguments.output == "json":
        show_json(document)
    else:
        show_fields(document)
    return 0


def _add_api_key(path: Path, name: str, output: str) -> int:
    """Append a new key's hash to the file, and print the key."""
    held = path.read_text() if path.exists() else ""
    key, line = new_key(name, secrets.token_bytes)
    text = held + ("" if not held or held.endswith("\n") else "\n") + line + "\n"
    parse_keys(text, str(path))
    replace(path, text)
    document = {"file": str(path), "name": name, "key": key}
    if output == "json":
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
    meaning = "make an API key of a gateway: its hash goes into FILE, the key is printed once"
    api = kinds.add_parser("api", help=meaning, description=meaning)
    api.add_argument("file", help="the file that [gateway] api_keys names")
    api.add_argument("name", help="whose key it is, one word")
    api.add_argument("--output", choices=("text", "json"), default="text")
    return top


if __name__ == "__main__":
    sys.exit(run(keys(parser().parse_args())))
