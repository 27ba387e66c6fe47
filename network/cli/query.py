"""`planetserve query`: reads the ledger through the light client; what is printed has been proven."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from network import chain_views as views
from network.aio.chain_client import ChainClient
from network.aio.ledger_reader import LedgerReader, Row, loaded
from network.chain_records import (
    CURRENT_EPOCH_KEY,
    DIRECTORY_KEY,
    PARAMS_KEY,
    PROPOSAL_PREFIX,
    VALIDATOR_PREFIX,
    DirectoryRecord,
    EpochRecord,
    NodeRecord,
    OpenedChallenges,
    Params,
    ProposalRecord,
    TranscriptRecord,
    ValidatorRecord,
    epoch_key,
    kept_epochs,
    node_key,
    opened_key,
    proposal_key,
    transcript_key,
    validator_key,
)
from network.cli import home
from network.cli.output import CommandFailed, run, show_fields, show_json, show_table
from network.ids import NODE_ID_LENGTH, parse_hex

LIST_ROWS = 100
Document = dict[str, Any]


class Query:
    """One question about the ledger, over a started client. Every row is of one height."""

    def __init__(self, client: ChainClient, arguments: argparse.Namespace) -> None:
        self._client = client
        self._reader = LedgerReader(client)
        self._arguments = arguments
        self._height: int = arguments.height

    async def nodes(self) -> Document:
        """Live nodes and the committee."""
        row, directory = await self._directory()
        _, epoch = await self._reader.now(row.height)
        committee = [views.validator_view(*_member(member)) for member in await self._members(row.height)]
        listed = sorted((views.entry_view(entry) for entry in directory.entries), key=lambda each: (each["role"], each["name"]))
        return {"height": row.height, "epoch": epoch.number, "nodes": [*committee, *listed], **self._proof(row)}

    async def node(self) -> Document:
        """One node, by id or name."""
        wanted: str = self._arguments.id
        identifier = parse_hex(wanted, NODE_ID_LENGTH)
        if identifier is None:
            row, directory = await self._directory()
            named = [entry.node_id for entry in directory.entries if entry.name == wanted]
            if len(named) != 1:
                raise CommandFailed(f"{len(named)} live nodes are called {wanted!r}; give the id: planetserve query nodes")
            identifier = named[0]
        row = await self._reader.row(node_key(identifier), self._height, f"there is no node {wanted}")
        return {"height": row.height, **views.node_view(identifier, loaded(NodeRecord, row)), **self._proof(row)}

    async def epoch(self) -> Document:
        """The running epoch, or an earlier one."""
        height, running = await self._reader.now(self._height)
        number: int | None = self._arguments.number
        key = CURRENT_EPOCH_KEY if number in (None, running.number) else epoch_key(number or 0)
        row = await self._reader.row(key, height, f"there is no epoch {number} on the ledger (any more)")
        return {"height": row.height, **views.epoch_view(loaded(EpochRecord, row)), **self._proof(row)}

    async def params(self) -> Document:
        """The chain's parameters."""
        row = await self._reader.row(PARAMS_KEY, self._height, "the chain has no parameters")
        return {"height": row.height, "params": views.params_view(loaded(Params, row)), **self._proof(row)}

    async def directory(self) -> Document:
        """The directory record itself, with keys."""
        row, directory = await self._directory()
        return {"height": row.height, **views.directory_view(directory), **self._proof(row)}

    async def committee(self) -> Document:
        """The committee: who signs headers, and with which key its verifier signs. Each member has its own proof."""
        height, _ = await self._reader.now(self._height)
        members = await self._members(height)
        if not members:
            raise CommandFailed("the ledger has no committee records")
        rows = [{**views.member_view(*_member(member)), **self._proof(member)} for member in members]
        return {"height": height, "power": sum(row["power"] for row in rows), "members": rows, **self._proof(members[0])}

    async def validators(self) -> Document:
        """Every validator record, those without power too, each proven; that the list is complete is a node's word."""
        height, _ = await self._reader.now(self._height)
        found = await self._listed("/validators", "validators", VALIDATOR_PREFIX, height)
        rows = [{**views.member_view(*_member(row)), **self._proof(row)} for row in found]
        return {"height": height, "validators": rows, **self._first_proof(rows)}

    async def proposals(self) -> Document:
        """What the committee has voted on, newest first; that the list is complete is a node's word."""
        height, _ = await self._reader.now(self._height)
        found = await self._listed("/proposals", "proposals", PROPOSAL_PREFIX, height)
        rows = [{**views.proposal_view(loaded(ProposalRecord, row)), **self._proof(row)} for row in found]
        return {"height": height, "proposals": rows, **self._first_proof(rows)}

    async def proposal(self) -> Document:
        """One proposal, with its votes."""
        number: int = self._arguments.number
        if not 0 < number < 2**63:
            raise CommandFailed("a proposal's number is 1 or more", 2)
        row = await self._reader.row(proposal_key(number), self._height, f"there is no proposal {number}")
        return {"height": row.height, **views.proposal_view(loaded(ProposalRecord, row)), **self._proof(row)}

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
        height, running = await self._reader.now(self._height)
        epoch: int | None = self._arguments.epoch
        if self._arguments.hash is None:
            return await self._transcripts(max(0, running.number - 1) if epoch is None else epoch, height)
        name = _digest(self._arguments.hash, "a challenge's hash")
        epochs = [epoch] if epoch is not None else kept_epochs(running.number)
        for number in epochs:
            row = await self._reader.perhaps(transcript_key(number, name), height)
            if row is not None:
                view = views.transcript_view(name, loaded(TranscriptRecord, row))
                return {"height": height, "epoch": number, **view, **self._proof(row)}
        raise CommandFailed(f"no challenge {name.hex()} was opened in the epochs that the ledger keeps")

    async def _transcripts(self, epoch: int, height: int) -> Document:
        """The opened challenges of an epoch, by the lists that the ledger keeps of each member's."""
        keys = [opened_key(epoch, row.key[len(VALIDATOR_PREFIX) :]) for row in await self._members(height)]
        lists = [row for row in await self._reader.rows(keys, height) if row is not None]
        names = [name for row in lists for name in loaded(OpenedChallenges, row).names]
        found = await self._reader.rows([transcript_key(epoch, name) for name in names], height)
        rows = [
            {**views.transcript_view(name, loaded(TranscriptRecord, row)), **self._proof(row)}
            for name, row in zip(names, found, strict=True)
            if row is not None
        ]
        return {"height": height, "epoch": epoch, "transcripts": rows, **self._first_proof(rows)}

    async def _directory(self) -> tuple[Row, DirectoryRecord]:
        missing = "the chain has written no directory yet; nobody has registered"
        row = await self._reader.row(DIRECTORY_KEY, self._height, missing)
        return row, loaded(DirectoryRecord, row)

    async def _members(self, height: int) -> list[Row]:
        """The records of those who signed the header that proves this height."""
        signers = (await self._client.block(height + 1)).validators.validators
        rows = await self._reader.rows([validator_key(signer.address) for signer in signers], height)
        return sorted((row for row in rows if row is not None), key=lambda row: _member(row)[1].name)

    async def _listed(self, path: str, name: str, prefix: bytes, height: int) -> list[Row]:
        """Every row of a list, page by page."""
        rows: list[Row] = []
        following = ""
        while True:
            question = f"{path}{'&' if '?' in path else '?'}limit={LIST_ROWS}&key={following}"
            page, following = await self._reader.listed(question, name, prefix, height)
            rows += page
            if not following or not page:
                return rows

    def _proof(self, row: Row) -> Document:
        return {"proof": row.proof()} if self._arguments.prove else {}

    def _first_proof(self, rows: list[Document]) -> Document:
        return {"proof": rows[0]["proof"]} if rows and self._arguments.prove else {}


def _member(row: Row) -> tuple[bytes, ValidatorRecord]:
    return row.key[len(VALIDATOR_PREFIX) :], loaded(ValidatorRecord, row)


def _digest(text: str, what: str) -> bytes:
    raw = parse_hex(text.removeprefix("0x"), 32)
    if raw is None:
        raise CommandFailed(f"{what} is 64 hexadecimal digits, not {text!r}", 2)
    return raw


NODE_COLUMNS = ("name", "role", "model", "reputation", "trusted", "address", "operator", "id")
MEMBER_COLUMNS = ("name", "power", "id", "verifier_id")
PROPOSAL_COLUMNS = ("id", "status", "change", "title", "submitted_height", "closing_height", "decided_height")


def show(what: str, document: Document) -> None:
    """The document for people."""
    if what == "nodes":
        print(f"height {document['height']}, epoch {document['epoch']}")
        show_table(document["nodes"], NODE_COLUMNS)
    elif what == "committee":
        print(f"height {document['height']}, power {document['power']}")
        show_table(document["members"], MEMBER_COLUMNS)
    elif what == "validators":
        print(f"height {document['height']}")
        show_table(document["validators"], (*MEMBER_COLUMNS, "jailed"))
    elif what == "proposals":
        print(f"height {document['height']}")
        show_table(document["proposals"], PROPOSAL_COLUMNS)
    else:
        show_fields({name: value for name, value in document.items() if name != "proof"})
    if "proof" in document:
        show_fields({"proof": document["proof"]})


async def ask(arguments: argparse.Namespace) -> int:
    """Answer one question and print the answer."""
    network = home.place(arguments)
    client = network.client()
    await client.start()
    try:
        query = Query(client, arguments)
        questions: dict[str, Callable[[], Awaitable[Document]]] = {
            "nodes": query.nodes,
            "node": query.node,
            "epoch": query.epoch,
            "params": query.params,
            "tx": query.tx,
            "directory": query.directory,
            "committee": query.committee,
            "validators": query.validators,
            "proposals": query.proposals,
            "proposal": query.proposal,
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
    shared.add_argument("--height", type=int, default=0, metavar="H", help="an earlier height that the nodes still keep")
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
    kind("validators", "every validator record, those without power too")
    kind("proposals", "what the committee has voted on, newest first")
    kind("proposal", "one proposal, with its votes").add_argument("number", type=int, help="its number")
    transcript = kind("transcript", "an opened challenge with answer and score, or all of an epoch")
    transcript.add_argument("hash", nargs="?", help="the challenge's hash; without it, all of one epoch")
    transcript.add_argument("--epoch", type=int, help="default: the last epoch, or wherever the hash is found")
    return top


if __name__ == "__main__":
    sys.exit(run(ask(parser().parse_args())))
