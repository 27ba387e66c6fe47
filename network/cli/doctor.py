"""`planetserve doctor`: is this node well, can others reach it, and what to do. Reads, asks, changes nothing."""

import argparse
import asyncio
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from network.aio.chain_client import ChainClient, ChainUnavailable, ProofRejected
from network.aio.keys import KeyFileError, load
from network.chain_records import NodeRecord, node_key
from network.cli import home
from network.cli.main import configuration
from network.cli.output import CommandFailed, run, show_json
from network.config import Address, NodeConfig, node_config
from network.doctor import Facts, examine, exit_code
from network.ids import Role
from network.light_json import genesis_trust
from network.reachability import REACHABILITY_PATH

PREFLIGHT, USAGE = 3, 2
GATEWAY = "gateway"  # what most people who ask run
ASK_SECONDS = 5.0
CHAIN_SECONDS = 20.0
CALL_BACK_SECONDS = 90.0
COLUMNS = ("check", "verdict", "says", "todo")


async def doctor(arguments: argparse.Namespace) -> int:
    """Find out, print, and return the exit code."""
    path = _path(arguments)
    try:
        raw = tomllib.loads(path.read_text())
        role = _role(raw)
        node = node_config(raw, path.resolve().parent, "guarded" if role is Role.USER else "public")
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CommandFailed(f"{path} cannot be read: {error}", PREFLIGHT) from error
    findings = examine(await _facts(node, role))
    code = exit_code(findings)
    rows = [{name: getattr(finding, name) for name in COLUMNS} for finding in findings]
    if arguments.output == "json":
        show_json({"name": node.name, "config": str(path), "well": code == 0, "findings": rows})
    else:
        for row in rows:
            print(f"{row['verdict']:8} {row['check']:11} {row['says']}")
            if row["todo"]:
                print(f"{'':8} {'':11} do: {row['todo']}")
    return code


def _path(arguments: argparse.Namespace) -> Path:
    if arguments.config is not None:
        if arguments.name is not None:
            raise CommandFailed("name a node of the home or give --config FILE, not both", USAGE)
        config: Path = arguments.config
        return config
    folder = Path(arguments.home)
    path = configuration(arguments.name or GATEWAY, str(folder))
    if not path.is_file():
        known = ", ".join(sorted(found.parent.name for found in folder.glob("*/config.toml"))) or "none"
        raise CommandFailed(f"{folder} has no node {arguments.name or GATEWAY}; it has: {known}", PREFLIGHT)
    return path


def _role(raw: Mapping[str, object]) -> Role:
    """Roles are told apart by the tables that only they read."""
    if "engine" in raw:
        return Role.MODEL
    if "comet" in raw:
        raise CommandFailed("this is a validator: planetserve validator doctor", USAGE)
    return Role.USER if "gateway" in raw or "overlay" in raw else Role.RELAY


async def _facts(node: NodeConfig, role: Role) -> Facts:
    node_id, key_problem = _own_id(node)
    chain, status, listens = await asyncio.gather(_chain(node, node_id), _status(node), _listens(node.listen))
    reachability = None
    if status is not None and role is not Role.USER and not node.public.is_loopback:
        reachability = await _ask(node, "POST", REACHABILITY_PATH, CALL_BACK_SECONDS)
    return Facts(
        role=role,
        now=time.time(),
        listen=node.listen,
        public=node.public,
        node_id=node_id,
        key_problem=key_problem,
        listens=listens,
        status=status,
        reachability=reachability,
        **chain,
    )


def _own_id(node: NodeConfig) -> tuple[bytes | None, str]:
    if not node.keys.exists():
        return None, ""
    try:
        return load(node.keys).node_id, ""
    except KeyFileError as error:
        return None, str(error)


async def _chain(node: NodeConfig, node_id: bytes | None) -> dict[str, Any]:
    """What the chain says. The role's own memory of trusted blocks is left alone."""
    try:
        trust = genesis_trust(node.genesis.read_bytes())
    except OSError as error:
        return {"chain_problem": f"the genesis file {node.genesis} cannot be read: {error.strerror}"}
    client = ChainClient(node.rpc, trust, root=node.trust, trusting_period=node.trusting_period_s)
    try:
        await client.start()
        async with asyncio.timeout(CHAIN_SECONDS):
            directory = await client.directory()
            record = (await client.load(NodeRecord, node_key(node_id)))[0] if node_id is not None else None
            block_time = (await client.block(directory.height + 1)).header.time if directory.height else None
    except (ChainUnavailable, ProofRejected, TimeoutError) as error:
        return {"chain_problem": str(error) or f"no answer within {CHAIN_SECONDS:.0f} s"}
    finally:
        await client.close()
    seconds = None if block_time is None else block_time.seconds + block_time.nanos / 1e9
    return {"directory": directory, "record": record, "block_time": seconds}


async def _status(node: NodeConfig) -> dict[str, Any] | None:
    return await _ask(node, "GET", "/status", ASK_SECONDS)


async def _ask(node: NodeConfig, method: str, path: str, seconds: float) -> dict[str, Any] | None:
    """A document of the node's operator port; None when there is none."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.request(method, f"http://{node.metrics}{path}") as response,
        ):
            document = await response.json() if response.status == 200 else None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None
    return document if isinstance(document, dict) else None


async def _listens(address: Address) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    try:
        async with asyncio.timeout(ASK_SECONDS):
            _, writer = await asyncio.open_connection(host, address.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def parser() -> argparse.ArgumentParser:
    """The command line of `planetserve doctor`."""
    top = argparse.ArgumentParser(
        prog="planetserve doctor", description="Look a relay, model node or gateway of this machine over, and say what to do."
    )
    home.add_home(top)
    top.add_argument("name", nargs="?", help="a node of the home, as in `planetserve relay start NAME` (default: gateway)")
    top.add_argument("--config", type=Path, metavar="FILE", help="its config.toml instead")
    top.add_argument("--output", choices=("text", "json"), default="text")
    return top


if __name__ == "__main__":
    sys.exit(run(doctor(parser().parse_args())))
