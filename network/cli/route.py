"""`planetserve route explain`: why a model node's last prompts went where they went, and what came of it.

Asks the node's own metrics port (`GET /decisions`), which is on loopback; nothing there is made of a prompt but its length.
"""

import argparse
import sys
import tomllib
from typing import Any

import aiohttp

from network.cli import home
from network.cli.main import configuration
from network.cli.output import PREFLIGHT, UNREACHABLE, CommandFailed, run, show_json, show_table

TIMEOUT = aiohttp.ClientTimeout(total=5.0)
DECISIONS = ("id", "ago_s", "chosen", "reason", "prompt", "cached", "real_cached", "ttft_s", "real_ttft_s", "outcome")
CANDIDATES = (
    "node",
    "chosen",
    "held",
    "age_s",
    "survival",
    "confidence",
    "expected",
    "queue_s",
    "rtt_ms",
    "ms_per_token",
    "slowness",
    "reputation",
    "ttft_s",
    "risk_s",
    "score_s",
)


async def route(arguments: argparse.Namespace) -> int:
    """Ask one node or all of the home, and print."""
    documents = [(name, await _decisions(url, arguments)) for name, url in _ports(arguments)]
    if arguments.output == "json":
        show_json({name: document for name, document in documents})
        return 0
    for name, document in documents:
        print(f"{name}: policy {document['policy']}")
        rows = [summary(decision, document["names"]) for decision in document["decisions"]]
        show_table(rows, DECISIONS)
        if arguments.id is not None:
            for decision in document["decisions"]:
                print()
                show_table([candidate(row, decision, document["names"]) for row in decision["candidates"]], CANDIDATES)
        print()
    return 0


def summary(decision: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """One decision as a line: what was predicted of the chosen node, what was seen of the one that answered."""
    ends = decision["outcomes"]
    last = ends[-1] if ends else None
    answered = last is not None and not last["failure"]
    words = [f"{names.get(one['node_id'], one['node_id'][:8])}: {one['failure'] or 'answered'}" for one in ends]
    return {
        "id": decision["id"],
        "ago_s": decision["ago_s"],
        "chosen": names.get(decision["node_id"], decision["node_id"][:8]),
        "reason": decision["reason"],
        "prompt": decision["prompt_tokens"],
        "cached": decision["predicted_cached_tokens"],
        "real_cached": last["cached_tokens"] if last and answered else None,
        "ttft_s": round(decision["predicted_ttft_s"], 3),
        "real_ttft_s": round(last["ttft_s"], 3) if last and answered else None,
        "outcome": ", ".join(words) or "not known",
    }


def candidate(row: dict[str, Any], decision: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """One candidate of one decision as a line."""
    return {
        "node": names.get(row["node_id"], row["node_id"][:8]) + (" (here)" if row["own"] else ""),
        "chosen": row["node_id"] == decision["node_id"],
        "held": row["held_tokens"],
        "age_s": row["age_s"],
        "survival": round(row["survival"], 3),
        "confidence": round(row["confidence"], 3),
        "expected": row["expected_tokens"],
        "queue_s": round(row["queue_s"], 3),
        "rtt_ms": round(row["rtt_s"] * 1000, 1),
        "ms_per_token": round(row["token_s"] * 1000, 3),
        "slowness": round(row["slowness"], 2),
        "reputation": round(row["reputation"] / 1e9, 3),
        "ttft_s": round(row["predicted_ttft_s"], 3),
        "risk_s": round(row["risk_s"], 3),
        "score_s": round(row["score_s"], 3),
    }


def _ports(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """(name, metrics port) of the nodes that are asked. Raises CommandFailed when there are none."""
    if arguments.ops:
        return [(arguments.ops, arguments.ops.rstrip("/"))]
    if arguments.node:
        path = configuration(arguments.node, str(arguments.home))
        found = [(arguments.node, _read(path))]
    else:
        paths = sorted(arguments.home.glob("*/config.toml"))
        found = [(path.parent.name, table) for path in paths if (table := _read(path)) and "engine" in table]
    ports = [(name, table["node"]["metrics"]) for name, table in found if table and "metrics" in table.get("node", {})]
    if not ports:
        where = f"{arguments.node!r} in {arguments.home}" if arguments.node else f"in {arguments.home}"
        raise CommandFailed(
            f"no model node's configuration {where}; name a node with --node, or its port with --ops", PREFLIGHT
        )
    return [(name, f"http://{port}") for name, port in ports]


def _read(path: Any) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError):
        return None


async def _decisions(url: str, arguments: argparse.Namespace) -> dict[str, Any]:
    query = {"last": str(arguments.last)} if arguments.id is None else {"id": str(arguments.id)}
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False) as session,
            session.get(f"{url}/decisions", params=query) as response,
        ):
            document = await response.json() if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise CommandFailed(f"no model node answers at {url} ({why}); is it running?", UNREACHABLE) from error
    if not isinstance(document, dict) or "decisions" not in document:
        raise CommandFailed(f"{url} is not a model node's metrics port: it knows of no decisions")
    if arguments.id is not None and not document["decisions"]:
        raise CommandFailed(f"{url} does not keep decision {arguments.id}; a node keeps its last 512")
    return document


def parser() -> argparse.ArgumentParser:
    """The command line of `planetserve route`."""
    top = argparse.ArgumentParser(prog="planetserve route", description="Look into the routing of model nodes.")
    commands = top.add_subparsers(dest="command", required=True)
    explain = commands.add_parser("explain", help="why the last prompts went where they went, and what came of it")
    home.add_home(explain)
    explain.add_argument("--node", metavar="NAME", help="one node of the home, or a folder (default: all model nodes)")
    explain.add_argument("--ops", metavar="URL", help="a node's metrics port instead, http://HOST:PORT")
    explain.add_argument("--last", type=int, default=20, metavar="N", help="how many decisions (default: 20, at most 512)")
    explain.add_argument("--id", type=int, metavar="ID", help="one decision, with every candidate")
    explain.add_argument("--output", choices=("text", "json"), default="text")
    return top


if __name__ == "__main__":
    sys.exit(run(route(parser().parse_args())))
