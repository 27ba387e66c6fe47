"""`validator status`: how a validator is, asked of its own processes and files, in one look.

Exit codes: 0 it runs and follows the chain, 1 it runs and does not, 4 it does not run.
"""

import argparse
import json
import shutil
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from abci_app.aio import upgrades
from abci_app.aio.guard import holder, mark_path, read_signed, read_state
from abci_app.cli import place
from abci_app.config import ValidatorConfig
from network.cli.output import FAILED, UNREACHABLE, show_fields, show_json
from network.config import Address

PATIENCE = 5.0
SIGNED_WINDOW = 50  # blocks whose commits are looked at; one batch of calls


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`validator status`."""
    meaning = "how the validator is: processes, heights, peers, missed blocks, disk"
    parser = kinds.add_parser("status", help=meaning, description=f"{meaning}. Exit code 0 well, 1 not, 4 not running.")
    place.add_arguments(parser)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.set_defaults(work=status)


def status(arguments: argparse.Namespace) -> int:
    """Print the document; the exit code says whether the validator follows the chain."""
    settings = place.config(arguments)
    document = look(settings)
    show_json(document) if arguments.output == "json" else show_fields(document)
    if not document["running"]:
        return UNREACHABLE
    return 0 if document["reason"] == "" else FAILED


def look(settings: ValidatorConfig) -> dict[str, Any]:
    """Everything about one validator. `reason` says why it does not follow the chain; empty when it does."""
    pid = holder(settings.comet.home)
    app = _json(f"http://{settings.node.metrics}/status") if pid is not None else None
    comet = _comet(settings.comet.rpc) if pid is not None else None
    registry = upgrades.load(settings)
    state, mark = read_state(settings.comet.home), read_signed(mark_path(settings))
    processes = _children(pid)
    document: dict[str, Any] = {
        "name": settings.node.name,
        "chain_id": settings.node.chain_id,
        "running": pid is not None,
        "reason": _reason(pid, app, comet),
        "supervisor": pid,
        "processes": processes,
        "verifier": "not enabled" if settings.verifier is None else "running" if "verifier" in processes else "not running",
        "application": {key: app[key] for key in ("ready", "reason", "height", "epoch")} if app is not None else None,
        "cometbft": comet,
        "signed": asdict(state) if state is not None else None,
        "signing_mark": asdict(mark) if mark is not None else None,
        "upgrade": registry.current or None,
        "upgrades_ready": [entry.name for entry in registry.environments if not entry.height],
        "disk": _disk(settings),
    }
    return document


def _reason(pid: int | None, app: Mapping[str, Any] | None, comet: Mapping[str, Any] | None) -> str:
    if pid is None:
        return "it does not run"
    if app is None:
        return "the application does not answer"
    if comet is None:
        return "CometBFT does not answer"
    return "catching up with the chain" if comet["catching_up"] else str(app["reason"])


def _children(pid: int | None) -> dict[str, int]:
    """The supervisor's processes by what they are."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        lines = {int(word): Path(f"/proc/{word}/cmdline").read_bytes() for word in words}
    except OSError:
        return {}
    kinds = ((b"abci_app.app", "application"), (b"abci_app.verifier", "verifier"), (b"--proxy_app", "cometbft"))
    return {name: pid for pid, line in lines.items() for part, name in kinds if part in line}


def _comet(rpc: Address) -> dict[str, Any] | None:
    """What CometBFT says of itself; None when it does not answer."""
    answers = _calls(rpc, [("status", {}), ("net_info", {}), ("num_unconfirmed_txs", {})])
    if answers is None:
        return None
    said, net, pool = answers
    sync, validator = said["sync_info"], said["validator_info"]
    height, earliest, power = (
        int(sync["latest_block_height"]),
        int(sync["earliest_block_height"]),
        int(validator["voting_power"]),
    )
    return {
        "version": said["node_info"]["version"],
        "height": height,
        "earliest_height": earliest,
        "latest_block_time": sync["latest_block_time"],
        "catching_up": sync["catching_up"],
        "peers": int(net["n_peers"]),
        "waiting_transactions": int(pool["total"]),
        "voting_power": power,
        "missed_blocks": _missed(rpc, validator["address"], range(max(earliest, height - SIGNED_WINDOW), height))
        if power
        else None,
    }


def _missed(rpc: Address, address: str, heights: Sequence[int]) -> str | None:
    """How many of the latest commits lack this validator's signature, as `0 of 50`."""
    commits = _calls(rpc, [("commit", {"height": str(height)}) for height in heights]) if heights else []
    if commits is None:
        return None
    signers = [[entry["validator_address"] for entry in found["signed_header"]["commit"]["signatures"]] for found in commits]
    return f"{sum(address not in signer for signer in signers)} of {len(signers)}"


def _calls(rpc: Address, calls: Sequence[tuple[str, Mapping[str, str]]]) -> list[Any] | None:
    """The results of a batch of RPC calls, in order; None when one of them cannot be had."""
    body = [{"jsonrpc": "2.0", "id": at, "method": name, "params": params} for at, (name, params) in enumerate(calls)]
    answers = _json(f"http://{rpc}", json.dumps(body).encode())
    if not isinstance(answers, list) or len(answers) != len(calls) or any("result" not in answer for answer in answers):
        return None
    return [answer["result"] for answer in sorted(answers, key=lambda answer: int(answer["id"]))]


def _json(url: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)
    except (OSError, ValueError):
        return None


def _disk(settings: ValidatorConfig) -> dict[str, Any]:
    """Bytes taken and free."""
    return {
        "application_bytes": _size(settings.data),
        "cometbft_bytes": _size(settings.comet.home / "data"),
        "snapshots_bytes": _size(settings.snapshots),
        "free_bytes": shutil.disk_usage(settings.data.parent).free,
    }


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # LevelDB replaces files while we look
            continue
    return total
