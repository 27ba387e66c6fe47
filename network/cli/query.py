"""`planetserve query`: reads the ledger through the light client; what is printed has been proven."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from network import chain_views as views
from network.aio.chain_client import QUERY_PATH, ChainClient, ProofRejected, Proven
from network.chain_records import (
    CURRENT_EPOCH_KEY,
    DIRECTORY_KEY,
    PARAMS_KEY,
    DirectoryRecord,
    EpochRecord,
    NodeRecord,
    OpenedChallenges,
    Params,
    TranscriptRecord,
    ValidatorRecord,
    epoch_key,
    node_key,
    opened_key,
    transcript_key,
    validator_key,
)
from network.cli import home
from network.cli.output import CommandFailed, run, show_fields, show_json, show_table
from network.codec import decode
from network.light import GenesisTrust

EPOCHS_KEPT = 10
Document = dict[str, Any]


class Query:
    """One question about the ledger, over a started client."""

    def __init__(self, client: ChainClient, trust: GenesisTrust, arguments: argparse.Namespace) -> None:
        self._client = client
        self._trust = trust
        self._arguments = arguments

    async def nodes(self) -> Document:
        """Live nodes and the committee."""
        proven, directory = await self._directory()
        epoch, _ = await self._client.load(EpochRecord, CURRENT_EPOCH_KEY)
        committee = [views.validator_view(address, record) for address, record, _ in await self._members()]
        listed = sorted((views.entry_view(entry) for entry in directory.entries), key=lambda row: (row["role"], row["name"]))
        return {
            "height": proven.height,
            "epoch": directory.epoch if epoch is None else epoch.number,
            "nodes": [*committee, *listed],
            **self._proof(DIRECTORY_KEY, proven),
        }

    async def node(self) -> Document:
        """One node, by id or name."""
        wanted: str = self._arguments.id
        try:
            identifier = bytes.fromhex(wanted)
        except ValueError:
            identifier = b""
        if len(identifier) != 20:
            _, directory = await self._directory()
            named = [entry.node_id for entry in directory.entries if entry.name == wanted]
            if len(named) != 1:
                raise CommandFailed(f"{len(named)} live nodes are called {wanted!r}; give the id: planetserve query nodes")
            identifier = named[0]
        proven, record = await self._record(node_key(identifier), f"there is no node {wanted}")
        document = views.node_view(identifier, decode(NodeRecord, record))
        return {"height": proven.height, **document, **self._proof(node_key(identifier), proven)}

    async def epoch(self) -> Document:
        """The running epoch, or an earlier one."""
        number: int | None = self._arguments.number
        key = CURRENT_EPOCH_KEY if number is None else epoch_key(number)
        if number is not None:
            running, _ = await self._client.load(EpochRecord, CURRENT_EPOCH_KEY)
            key = CURRENT_EPOCH_KEY if running is not None and running.number == number else key
        proven, record = await self._record(key, f"there is no epoch {number} on the ledger (any more)")
        return {"height": proven.height, **views.epoch_view(decode(EpochRecord, record)), **self._proof(key, proven)}

    async def params(self) -> Document:
        """The chain's parameters."""
        proven, record = await self._record(PARAMS_KEY, "the chain has no parameters")
        return {"height": proven.height, "params": views.params_view(decode(Params, record)), **self._proof(PARAMS_KEY, proven)}

    async def directory(self) -> Document:
        """The directory record itself, with keys."""
        proven, directory = await self._directory()
        return {"height": proven.height, **views.directory_view(directory), **self._proof(DIRECTORY_KEY, proven)}

    async def committee(self) -> Document:
        """The committee: who signs headers, and with which key its verifier signs. Each member has its own proof."""
        members = await self._members()
        if not members:
            raise CommandFailed("the ledger has no committee records")
        rows = [
            {**views.member_view(address, record), **self._proof(validator_key(address), proven)}
            for address, record, proven in members
        ]
        address, _, first = members[0]
        total = sum(record.power for _, record, _ in members)
        return {"height": first.height, "power": total, "members": rows, **self._proof(validator_key(address), first)}

    async def tx(self) -> Document:
        """One transaction, proven to be in its block."""
        name = _digest(self._arguments.hash, "a transaction's hash")
        found = await self._client.transaction(name)
        if found is None:
            raise CommandFailed(f"no block holds transaction {name.hex()}")
        proof = {"path": "tx", "key_hex": name.hex(), "value_hex": found.raw.hex(), "height": found.height, "verified": True}
        return {
            "hash": name.hex(),
            "height": found.height,
            "code": found.code,
            "log": found.log,
            "codespace": found.codespace,
            **views.tx_view(found.raw),
            **({"proof": proof} if self._arguments.prove else {}),
        }

    async def transcript(self) -> Document:
        """One opened challenge, or all of an epoch."""
        running, _ = await self._client.load(EpochRecord, CURRENT_EPOCH_KEY)
        if running is None:
            raise CommandFailed("the chain has no epoch yet")
        epoch: int | None = self._arguments.epoch
        if self._arguments.hash is None:
            return await self._transcripts(max(0, running.number - 1) if epoch is None else epoch)
        name = _digest(self._arguments.hash, "a challenge's hash")
        epochs = [epoch] if epoch is not None else range(running.number, max(-1, running.number - EPOCHS_KEPT - 1), -1)
        for number in epochs:
            key = transcript_key(number, name)
            proven = await self._client.read(key)
            if proven.value is not None:
                view = views.transcript_view(name, decode(TranscriptRecord, proven.value))
                return {"height": proven.height, "epoch": number, **view, **self._proof(key, proven)}
        raise CommandFailed(f"no challenge {name.hex()} was opened in the epochs that the ledger keeps")

    async def _transcripts(self, epoch: int) -> Document:
        """The opened challenges of an epoch, by the lists that the ledger keeps of them."""
        rows: list[Document] = []
        height = 0
        for validator in self._trust.validators:
            opened, height = await self._client.load(OpenedChallenges, opened_key(epoch, validator.address))
            for name in opened.names if opened is not None else ():
                key = transcript_key(epoch, name)
                proven = await self._client.read(key)
                if proven.value is not None:
                    view = views.transcript_view(name, decode(TranscriptRecord, proven.value))
                    rows.append({**view, **self._proof(key, proven)})
        proof = {"proof": rows[0]["proof"]} if rows and self._arguments.prove else {}
        return {"height": height, "epoch": epoch, "transcripts": rows, **proof}

    async def _directory(self) -> tuple[Proven, DirectoryRecord]:
        proven, record = await self._record(DIRECTORY_KEY, "the chain has written no directory yet; nobody has registered")
        return proven, decode(DirectoryRecord, record)

    async def _members(self) -> list[tuple[bytes, ValidatorRecord, Proven]]:
        members: list[tuple[bytes, ValidatorRecord, Proven]] = []
        for validator in self._trust.validators:
            proven = await self._client.read(validator_key(validator.address))
            if proven.value is not None:
                members.append((validator.address, decode(ValidatorRecord, proven.value), proven))
        return sorted(members, key=lambda row: row[1].name)

    async def _record(self, key: bytes, missing: str) -> tuple[Proven, bytes]:
        proven = await self._client.read(key)
        if proven.value is None:
            raise CommandFailed(missing)
        if not proven.verified:
            raise ProofRejected("the answer was not proven")
        return proven, proven.value

    def _proof(self, key: bytes, proven: Proven) -> Document:
        """What `--prove` adds: the arguments of the stock light proxy's `abci_query`, and what we verified."""
        if not self._arguments.prove or proven.value is None:
            return {}
        return {
            "proof": {
                "path": QUERY_PATH,
                "key_hex": key.hex(),
                "value_hex": proven.value.hex(),
                "height": proven.height,
                "verified": proven.verified,
            }
        }


def _digest(text: str, what: str) -> bytes:
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise CommandFailed(f"{what} is 64 hexadecimal digits, not {text!r}", 2)
    return raw


NODE_COLUMNS = ("name", "role", "model", "reputation", "trusted", "address", "operator", "id")
MEMBER_COLUMNS = ("name", "power", "id", "verifier_id")


def show(what: str, document: Document) -> None:
    """The document for people."""
    if what == "nodes":
        print(f"height {document['height']}, epoch {document['epoch']}")
        show_table(document["nodes"], NODE_COLUMNS)
    elif what == "committee":
        print(f"height {document['height']}, power {document['power']}")
        show_table(document["members"], MEMBER_COLUMNS)
    else:
        show_fields({name: value for name, value in document.items() if name != "proof"})
    if "proof" in document:
        show_fields({"proof": document["proof"]})


async def ask(arguments: argparse.Namespace) -> int:
    """Answer one question and print the answer."""
    network = home.place(arguments)
    trust = network.trust()
    client = network.client()
    await client.start()
    try:
        query = Query(client, trust, arguments)
        questions: dict[str, Callable[[], Awaitable[Document]]] = {
            "nodes": query.nodes,
            "node": query.node,
            "epoch": query.epoch,
            "params": query.params,
            "tx": query.tx,
            "directory": query.directory,
            "committee": query.committee,
            "transcript": query.transcript,
        }
        document = await questions[arguments.what]()
    finally:
        await client.close()
    if arguments.output == "json":
        show_json(document)
    else:
        show(arguments.what, document)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line of `planetserve query`."""
    top = argparse.ArgumentParser(
        prog="planetserve query", description="Read the ledger; every answer is checked by the light client."
    )
    shared = argparse.ArgumentParser(add_help=False)
    home.add_arguments(shared)
    shared.add_argument("--output", choices=("text", "json"), default="text")
    shared.add_argument(
        "--prove", action="store_true", help="add the proven key and value, as the stock light proxy takes them"
    )
    kinds = top.add_subparsers(dest="what", required=True, metavar="WHAT")

    def kind(name: str, meaning: str) -> argparse.ArgumentParser:
        return kinds.add_parser(name, parents=[shared], help=meaning, description=meaning)

    kind("nodes", "live nodes and the committee")
    kind("node", "one node, with its credits").add_argument("id", help="a node's id or name")
    kind("epoch", "an epoch and its results").add_argument("number", type=int, nargs="?", help="default: the running one")
    kind("params", "the chain's parameters")
    kind("tx", "a transaction, proven to be in its block").add_argument("hash", help="64 hexadecimal digits")
    kind("directory", "the directory record that everybody routes by")
    kind("committee", "the verification committee")
    transcript = kind("transcript", "an opened challenge with answer and score, or all of an epoch")
    transcript.add_argument("hash", nargs="?", help="the challenge's hash; without it, all of one epoch")
    transcript.add_argument("--epoch", type=int, help="default: the last epoch, or wherever the hash is found")
    return top


if __name__ == "__main__":
    sys.exit(run(ask(parser().parse_args())))
