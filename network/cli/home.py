"""Where a command finds the network: RPC addresses, genesis file and gateway, from flags, the home, or the defaults."""

import argparse
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from network.errors import ConfigError
from network.light import GenesisTrust
from network.light_json import genesis_trust

DEFAULT_RPC = ("http://127.0.0.1:26657",)
DEFAULT_GATEWAY = "http://127.0.0.1:8700/v1"


@dataclass(frozen=True, slots=True)
class Place:
    """A network as a command line names it."""

    home: Path
    rpc: tuple[str, ...]
    genesis: Path
    gateway: str

    def trust(self) -> GenesisTrust:
        """The light client's trust root. Raises ConfigError."""
        try:
            return genesis_trust(self.genesis.read_bytes())
        except OSError as error:
            raise ConfigError(
                f"the genesis file {self.genesis} cannot be read ({error.strerror}); it is what proofs are checked against: "
                "name the network's home with --home, or the file with --genesis"
            ) from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags by which every command finds its network."""
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(os.environ.get("PLANETSERVE_HOME", ".localnet")),
        help="folder of the network (default: $PLANETSERVE_HOME, else .localnet)",
    )
    parser.add_argument(
        "--rpc", action="append", metavar="URL", help="a CometBFT RPC address; may be given several times (default: the home's)"
    )
    parser.add_argument(
        "--genesis", type=Path, metavar="FILE", help="the genesis file proofs are checked against (default: HOME/genesis.json)"
    )


def place(arguments: argparse.Namespace) -> Place:
    """The network that the flags mean."""
    tables = _configurations(arguments.home)
    gateway = next((table for table in tables if "gateway" in table), {})
    nodes = [table["node"] for table in [gateway, *tables] if isinstance(table.get("node"), dict)]
    found = next((tuple(str(url) for url in node["rpc"]) for node in nodes if node.get("rpc")), DEFAULT_RPC)
    listen = gateway.get("node", {}).get("listen")
    return Place(
        home=arguments.home,
        rpc=tuple(arguments.rpc) if arguments.rpc else found,
        genesis=arguments.genesis or _genesis(arguments.home),
        gateway=f"http://{listen}/v1" if listen else DEFAULT_GATEWAY,
    )


def _configurations(home: Path) -> list[dict[str, Any]]:
    """The nodes' configurations in a home, as far as they can be read; a command only needs one of them."""
    tables: list[dict[str, Any]] = []
    for path in sorted(home.glob("*/config.toml")):
        try:
            tables.append(tomllib.loads(path.read_text()))
        except (OSError, tomllib.TOMLDecodeError):
            continue
    return tables


def _genesis(home: Path) -> Path:
    """HOME/genesis.json, else the copy in a validator's CometBFT home."""
    usual = home / "genesis.json"
    copies = sorted(home.glob("*/comet/config/genesis.json"))
    return usual if usual.exists() or not copies else copies[0]
