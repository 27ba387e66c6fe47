"""`planetserve tx`: sign one transaction with a key file, send it, and wait until a block holds it."""

import argparse
import sys
from pathlib import Path

from network.aio.chain_client import ChainClient
from network.aio.keys import NodeKeys, load
from network.aio.registration import with_work
from network.chain_records import PARAMS_KEY, Params
from network.chain_tx import RegisterNode, RetireNode, TxKind, UpdateNode
from network.cli import home, proposals
from network.cli.output import USAGE, CommandFailed, run, show_fields, show_json
from network.codec import Message, encode
from network.ids import ROLE_WORDS

ROLES = {word: role for role, word in ROLE_WORDS.items()}


async def submit(arguments: argparse.Namespace) -> int:
    """Send one transaction; exit code 1 when the ledger refuses it."""
    network = home.place(arguments)
    held = load(arguments.keys)
    client = network.client()
    await client.start()
    try:
        kind, body = await _transaction(arguments, held, client)
        if isinstance(body, RegisterNode):
            body = await with_work(client, held, body)
        result = await client.submit(kind, body, held.signing)
    finally:
        await client.close()
    document: dict[str, str | int | None] = {
        "hash": result.hash.hex(),
        "height": result.height or None,
        "code": result.code,
        "log": result.log,
        "codespace": result.codespace,
        "node": held.node_id.hex(),
    }
    if kind == TxKind.PROPOSE:
        document["proposal"] = int(result.events.get("proposal_submitted.proposal", "0")) or None
    if arguments.output == "json":
        show_json(document)
    else:
        show_fields(document)
    if result.code:
        raise CommandFailed(f"the ledger refused the transaction: {result.log} (code {result.code}; docs/ledger.md lists them)")
    return 0


async def _transaction(arguments: argparse.Namespace, held: NodeKeys, client: ChainClient) -> tuple[TxKind, Message]:
    if arguments.what in ("propose", "vote"):
        params = (await client.load(Params, PARAMS_KEY))[0] if getattr(arguments, "change", "") == "params" else None
        kind, body = proposals.transaction(arguments, params)
    else:
        kind, body = transaction(arguments, held)
    try:
        encode(body)
    except ValueError as error:
        raise CommandFailed(f"a value does not fit: {error}", USAGE) from error
    return kind, body


def transaction(arguments: argparse.Namespace, held: NodeKeys) -> tuple[TxKind, Message]:
    """The kind and body that the flags mean. Raises CommandFailed."""
    if arguments.what == "retire":
        return TxKind.RETIRE_NODE, RetireNode()
    if arguments.what == "update":
        return TxKind.UPDATE_NODE, UpdateNode(held.onion_public, arguments.address or "", held.hybrid_public)
    try:
        model_hash = bytes.fromhex(arguments.model_hash or "")
    except ValueError:
        raise CommandFailed("--model-hash must be 64 hexadecimal digits", 2) from None
    if arguments.role == "model" and (not arguments.model or len(model_hash) != 32):
        raise CommandFailed("a model node needs --model and --model-hash (64 hexadecimal digits)", 2)
    return TxKind.REGISTER_NODE, RegisterNode(
        role=ROLES[arguments.role],
        name=arguments.name,
        onion_key=held.onion_public,
        address=arguments.address or "",
        family=arguments.operator or "",
        group=arguments.model or "",
        model_hash=model_hash,
        hybrid_key=held.hybrid_public if arguments.role == "model" else b"",
    )


def parser() -> argparse.ArgumentParser:
    """The command line of `planetserve tx`."""
    top = argparse.ArgumentParser(prog="planetserve tx", description="Write to the ledger with a key of one's own.")
    shared = argparse.ArgumentParser(add_help=False)
    home.add_arguments(shared)
    shared.add_argument("--keys", type=Path, required=True, metavar="FILE", help="the key file that signs")
    shared.add_argument("--output", choices=("text", "json"), default="text")
    kinds = top.add_subparsers(dest="what", required=True, metavar="WHAT")
    register = kinds.add_parser("register", parents=[shared], help="register the key's node")
    register.add_argument("--role", choices=sorted(ROLES), required=True)
    register.add_argument("--name", required=True)
    register.add_argument("--address", metavar="HOST:PORT", help="where the node listens (not for gateways)")
    register.add_argument("--operator", help="the operator family (not for gateways)")
    register.add_argument("--model", help="the model group (model nodes only)")
    register.add_argument("--model-hash", metavar="HEX", help="SHA-256 of the published model file (model nodes only)")
    update = kinds.add_parser("update", parents=[shared], help="renew the node, announce its key and a new address")
    update.add_argument("--address", metavar="HOST:PORT")
    kinds.add_parser("retire", parents=[shared], help="leave the directory for good")
    proposals.add_parsers(kinds, shared)
    return top


if __name__ == "__main__":
    sys.exit(run(submit(parser().parse_args())))
