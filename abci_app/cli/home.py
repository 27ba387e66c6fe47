"""`validator init`: a new validator's folder, with keys of its own, for a new chain or one that exists. Never overwrites."""

import argparse
import json
import os
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from abci_app.aio.settings import load_config
from abci_app.config import (
    COMET_VERSION,
    CometSettings,
    GenesisValidator,
    comet_node_id,
    consensus_address,
    render_comet_config,
    render_genesis,
    render_node_key,
    render_validator_key,
    render_validator_state,
)
from network.aio.keys import NodeKeys, create
from network.cli.output import show_fields, show_json
from network.config import Address, parse_address
from network.crypto import KEY_LENGTH, SigningKey
from network.errors import ConfigError


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`validator init`."""
    meaning = "make a validator's folder with new keys"
    parser = kinds.add_parser("init", help=meaning, description=f"{meaning}; never overwrites anything")
    parser.add_argument("folder", type=Path, metavar="HOME", help="the folder to make")
    parser.add_argument("--chain-id", help="of the chain: begins a new one, unless --genesis names it")
    parser.add_argument("--genesis", type=Path, metavar="FILE", help="join the chain of this genesis document")
    parser.add_argument("--name", help="what the validator is called (default: the folder's name)")
    parser.add_argument("--rpc", default="127.0.0.1:26657", metavar="HOST:PORT", help="CometBFT's RPC")
    parser.add_argument("--p2p", default="127.0.0.1:26656", metavar="HOST:PORT", help="CometBFT's connections to peers")
    parser.add_argument(
        "--metrics", default="127.0.0.1:26670", metavar="HOST:PORT", help="the application's status and metrics"
    )
    parser.add_argument("--peer", action="append", default=[], metavar="ID@HOST:PORT", help="a validator to connect to; repeat")
    parser.add_argument("--block-interval", type=int, default=1000, metavar="MS", help="milliseconds between blocks")
    parser.add_argument(
        "--cometbft", type=Path, metavar="FILE", help="CometBFT (default: on PATH, else the one of `make setup`)"
    )
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.set_defaults(work=initialise)


def initialise(arguments: argparse.Namespace) -> int:
    """Make the folder beside its place, then move it there whole."""
    home: Path = arguments.folder.resolve()
    if home.exists():
        raise ConfigError(f"{home} exists already; name a new folder: keys and data are never overwritten")
    partial = home.with_name(f".{home.name}.{secrets.token_hex(4)}")
    try:
        partial.mkdir(parents=True, mode=0o700)
        document = _fill(partial, home, arguments)
        load_config(partial / "config.toml")
        partial.rename(home)
    except OSError as error:
        raise ConfigError(f"{home} cannot be made ({error.strerror})") from error
    finally:
        if partial.exists():
            shutil.rmtree(partial)
    if arguments.output == "json":
        show_json(document)
        return 0
    steps = document.pop("next")
    show_fields(document)
    print("\nNext:")
    for step in steps:
        print(f"  - {step}")
    return 0


def _fill(folder: Path, home: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the folder holds; answers what may be told about it. `home` is where it will be."""
    name = arguments.name or home.name
    rpc, p2p, metrics = (parse_address(getattr(arguments, key), f"--{key}") for key in ("rpc", "p2p", "metrics"))
    consensus, peer = (SigningKey(secrets.token_bytes(KEY_LENGTH)) for _ in range(2))
    verifier = create(folder / "verifier_keys.json")
    create(folder / "keys.json")
    chain_id, genesis = _genesis(arguments, name, consensus, verifier)
    comet = folder / "comet"
    settings = CometSettings(name, home / "app.sock", rpc, p2p, tuple(arguments.peer), arguments.block_interval)
    for path, text in (
        (folder / "genesis.json", genesis),
        (folder / "config.toml", _config(arguments, name, chain_id, (rpc, p2p, metrics))),
        (comet / "config" / "config.toml", render_comet_config(settings)),
        (comet / "config" / "genesis.json", genesis),
        (comet / "config" / "node_key.json", render_node_key(peer)),
        (comet / "config" / "priv_validator_key.json", render_validator_key(consensus)),
        (comet / "data" / "priv_validator_state.json", render_validator_state()),
    ):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    return {
        "home": str(home),
        "name": name,
        "chain_id": chain_id,
        "peer": f"{comet_node_id(peer.public)}@{p2p}",
        "consensus_address": consensus_address(consensus.public),
        "consensus_key": consensus.public.hex(),
        "verifier_key": verifier.signing.public.hex(),
        "next": _next(home, arguments.genesis is None, consensus, verifier, name),
    }


def _genesis(arguments: argparse.Namespace, name: str, consensus: SigningKey, verifier: NodeKeys) -> tuple[str, str]:
    """The chain's id and its genesis document: the given one, byte for byte, or a new one with this validator alone."""
    if arguments.genesis is None:
        if not arguments.chain_id:
            raise ConfigError("give --genesis FILE to join a chain, or --chain-id ID to begin one")
        member = GenesisValidator(name, consensus.public, verifier.signing.public)
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return arguments.chain_id, render_genesis(arguments.chain_id, now, [member], [], {})
    try:
        text = arguments.genesis.read_text()
        chain_id = json.loads(text)["chain_id"]
    except OSError as error:
        raise ConfigError(f"--genesis: {arguments.genesis} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--genesis: {arguments.genesis} is not a genesis document ({error!r})") from error
    if arguments.chain_id not in (None, chain_id):
        raise ConfigError(f"--genesis: {arguments.genesis} is of the chain {chain_id!r}, not {arguments.chain_id!r}")
    return str(chain_id), text


def _config(arguments: argparse.Namespace, name: str, chain_id: str, addresses: tuple[Address, Address, Address]) -> str:
    rpc, p2p, metrics = addresses
    quoted = json.dumps  # a JSON string is a TOML basic string
    return f"""# A PlanetServe validator; every key is explained in docs/validator.md.
[node]
name = {quoted(name)}
chain_id = {quoted(chain_id)}
listen = "{rpc}"
metrics = "{metrics}"
rpc = ["http://{rpc}"]
genesis = "genesis.json"
keys = "keys.json"

[comet]
binary = {quoted(str(_cometbft(arguments.cometbft)))}
home = "comet"
rpc = "{rpc}"
p2p = "{p2p}"

[app]
socket = "app.sock"
data = "app.db"
snapshot_interval = 500
snapshot_keep = 2
retain_blocks = 0
"""


def _cometbft(named: Path | None) -> Path:
    if named is not None:
        return named.resolve()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = cache / "planetserve" / "bin" / f"cometbft-v{COMET_VERSION}"
    found = shutil.which("cometbft")
    if found is None and not built.is_file():
        raise ConfigError(f"no CometBFT: `make setup` builds v{COMET_VERSION}, or name one with --cometbft FILE")
    return Path(found) if found else built


def _next(home: Path, founder: bool, consensus: SigningKey, verifier: NodeKeys, name: str) -> list[str]:
    """What the operator does now."""
    begin = f"start it: planetserve validator start {home}"
    watch = f"watch it: planetserve validator status {home}"
    keep = f"back up {home}/comet/config/priv_validator_key.json and {home}/*keys.json where nobody else can read them"
    if founder:
        join = f"others join with: planetserve validator init HOME --genesis {home}/genesis.json --peer PEER"
        return [begin, watch, join, keep]
    propose = (
        "once it has caught up, a committee member proposes it, and the others vote: planetserve tx propose validator "
        f"--consensus-key {consensus.public.hex()} --verifier-key {verifier.signing.public.hex()} --name {name} "
        "--keys verifier_keys.json"
    )
    return [begin, watch, propose, keep]
