"""Where a command finds the network: RPC addresses, genesis file and gateway, from flags, the home, or the defaults."""

import argparse
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from network.aio.chain_client import ChainClient
from network.config import TRUSTING_PERIOD_S, TrustRoot, parse_digest
from network.errors import ConfigError
from network.light import GenesisTrust
from network.light_json import genesis_trust

DEFAULT_RPC = ("http://127.0.0.1:26657",)
DEFAULT_GATEWAY = "http://127.0.0.1:8700/v1"
DEFAULT_METRICS = "http://127.0.0.1:9700"


@dataclass(frozen=True, slots=True)
class Place:
    """A network as a command line names it."""

    home: Path
    rpc: tuple[str, ...]
    genesis: Path
    gateway: str
    metrics: str
    root: TrustRoot | None = None
    trusting_period: int = TRUSTING_PERIOD_S

    def client(self) -> ChainClient:
        """A light client of this network, not started. Raises ConfigError."""
        return ChainClient(self.rpc, self.trust(), root=self.root, trusting_period=self.trusting_period)

    def trust(self) -> GenesisTrust:
        """The light client's trust root. Raises ConfigError."""
        try:
            return genesis_trust(self.genesis.read_bytes())
        except OSError as error:
            raise ConfigError(
                f"the genesis file {self.genesis} cannot be read ({error.strerror}); it is what proofs are checked against: "
                "name the network's home with --home, or the file with --genesis"
            ) from error


def add_home(parser: argparse.ArgumentParser) -> None:
    """The flag that names a network's folder."""
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(os.environ.get("PLANETSERVE_HOME", ".localnet")),
        help="folder of the network (default: $PLANETSERVE_HOME, else .localnet)",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags by which every command finds its network."""
    add_home(parser)
    parser.add_argument(
        "--rpc", action="append", metavar="URL", help="a CometBFT RPC address; may be given several times (default: the home's)"
    )
    parser.add_argument(
        "--genesis", type=Path, metavar="FILE", help="the genesis file proofs are checked against (default: HOME/genesis.json)"
    )
    parser.add_argument(
        "--trust", type=_trust_root, metavar="HEIGHT:HASH", help="a block to trust instead of a genesis file that is too old"
    )


def place(arguments: argparse.Namespace) -> Place:
    """The network that the flags mean."""
    tables = _configurations(arguments.home)
    gateway = next((table for table in tables if "gateway" in table), {})
    nodes = [table["node"] for table in [gateway, *tables] if isinstance(table.get("node"), dict)]
    found = next((tuple(str(url) for url in node["rpc"]) for node in nodes if node.get("rpc")), DEFAULT_RPC)
    listen, metrics = (gateway.get("node", {}).get(key) for key in ("listen", "metrics"))
    scheme = "https" if gateway.get("gateway", {}).get("tls_certificate") else "http"
    return Place(
        home=arguments.home,
        rpc=tuple(arguments.rpc) if arguments.rpc else found,
        genesis=arguments.genesis or _genesis(arguments.home),
        gateway=f"{scheme}://{listen}/v1" if listen else DEFAULT_GATEWAY,
        metrics=f"http://{metrics}" if metrics else DEFAULT_METRICS,
        root=arguments.trust or next((root for node in nodes if (root := _configured_root(node))), None),
        trusting_period=next(
            (node["trusting_period_s"] for node in nodes if isinstance(node.get("trusting_period_s"), int)), TRUSTING_PERIOD_S
        ),
    )


def _trust_root(text: str) -> TrustRoot:
    """HEIGHT:HASH as argparse takes it."""
    height, _, digest = text.partition(":")
    try:
        return TrustRoot(int(height), parse_digest(digest, "the hash"))
    except (ValueError, ConfigError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHT:HASH with 64 hexadecimal digits") from error


def _configured_root(node: dict[str, Any]) -> TrustRoot | None:
    """The trust root that a node's configuration names."""
    height = node.get("trust_height")
    return TrustRoot(height, parse_digest(str(node.get("trust_hash")), "node.trust_hash")) if isinstance(height, int) else None


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
