"""`/ledger/v1`: records of the ledger, each proven, in the same words as `planetserve query`."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from network import chain_views as views
from network.aio.chain_client import KEY_NOT_FOUND
from network.aio.ledger_reader import LedgerReader, LedgerRefused, Row, gather, loaded
from network.chain_records import (
    CURRENT_EPOCH_KEY,
    DIRECTORY_KEY,
    EVIDENCE_PREFIX,
    NODE_PREFIX,
    PARAMS_KEY,
    PROPOSAL_PREFIX,
    UPGRADE_KEY,
    VALIDATOR_PREFIX,
    VERSION_KEY,
    DirectoryRecord,
    EpochRecord,
    EvidenceRecord,
    NodeRecord,
    Params,
    ProposalRecord,
    TranscriptRecord,
    ValidatorRecord,
    VersionRecord,
    epoch_key,
    kept_epochs,
    node_key,
    proposal_key,
    transcript_key,
    validator_key,
)
from network.chain_tx import UpgradePlan
from network.codec import decode
from network.ids import NODE_ID_LENGTH
from network.rest.asked import Answer, Asked
from network.rest.pagination import number as whole

MOST_EPOCHS = 25  # epoch records of one page: each holds a result per node
Document = dict[str, Any]


class LedgerPages:
    """One method per route."""

    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader

    async def params(self, asked: Asked) -> Answer:
        row = await self._reader.row(PARAMS_KEY, asked.height, "the chain has no parameters")
        return _single(asked, row, {"params": views.params_view(loaded(Params, row))})

    async def nodes(self, asked: Asked) -> Answer:
        if asked.registered:
            return await self._list(asked, "/nodes", "nodes", NODE_PREFIX, _node_row)
        row, record = await self._directory(asked)
        entries = [entry for entry in record.entries if entry.node_id.hex() >= asked.key]
        page, following = entries[: asked.limit], entries[asked.limit :]
        listed = {"epoch": record.epoch, "nodes": [views.entry_view(entry) for entry in page], "complete": True}
        return _single(asked, row, {**listed, "next": following[0].node_id.hex() if following else ""})

    async def node(self, asked: Asked) -> Answer:
        name = asked.identifier("id", NODE_ID_LENGTH)
        row = await self._reader.row(node_key(name), asked.height, f"there is no node {name.hex()}")
        return _single(asked, row, {"node": _node_row(row)})

    async def reputation(self, asked: Asked) -> Answer:
        """What the newest epochs found about a node; `limit` and `next` count epochs."""
        name = asked.identifier("id", NODE_ID_LENGTH)
        node = await self._reader.row(node_key(name), asked.height, f"there is no node {name.hex()}")
        height, running = await self._reader.now(node.height)
        rows, following = await self._epochs(asked, height, running.number - 1)
        history: list[Document] = []
        for row in rows:
            epoch = loaded(EpochRecord, row)
            for result in epoch.results:
                if result.node_id == name:
                    told = {"epoch": epoch.number, "ended_height": epoch.ended_height, **views.record_view(result)}
                    history.append({"key": row.key.hex(), **told, **_proof(asked, row)})
        record = loaded(NodeRecord, node)
        now = {"id": name.hex(), "reputation": views.decimal(record.reputation), "trusted": record.trusted}
        return _single(asked, node, {**now, "history": history, "next": following})

    async def epochs(self, asked: Asked) -> Answer:
        height, running = await self._reader.now(asked.height)
        rows, following = await self._epochs(asked, height, running.number)
        listed = [{"key": row.key.hex(), **_without_results(loaded(EpochRecord, row)), **_proof(asked, row)} for row in rows]
        return Answer(_document(height, {"epochs": listed, "complete": True, "next": following}), height, True)

    async def epoch(self, asked: Asked) -> Answer:
        height, running = await self._reader.now(asked.height)
        number = running.number if asked.words["number"] == "current" else asked.number("number")
        key = CURRENT_EPOCH_KEY if number == running.number else epoch_key(number)
        row = await self._reader.row(key, height, f"there is no epoch {number} on the ledger (any more)")
        record = loaded(EpochRecord, row)
        results = [result for result in record.results if result.node_id.hex() >= asked.key]
        page, following = results[: asked.limit], results[asked.limit :]
        told = {**views.epoch_view(record), "results": [views.record_view(result) for result in page]}
        return _single(asked, row, {"epoch": told, "next": following[0].node_id.hex() if following else ""})

    async def challenges(self, asked: Asked) -> Answer:
        height, running = await self._reader.now(asked.height)
        text = asked.query.get("epoch", "")
        epoch = whole(text, "epoch", 0) if text else max(0, running.number - 1)
        prefix = transcript_key(epoch, b"")
        path = f"/transcripts?epoch={epoch}&limit={asked.limit}&key={asked.key}"
        rows, following = await self._reader.listed(path, "transcripts", prefix, height)
        listed = [{"key": row.key.hex(), **_challenge_row(row), **_proof(asked, row)} for row in rows]
        return Answer(
            _document(height, {"epoch": epoch, "challenges": listed, "complete": False, "next": following}), height, True
        )

    async def challenge(self, asked: Asked) -> Answer:
        name = asked.identifier("hash", 32)
        height, running = await self._reader.now(asked.height)
        text = asked.query.get("epoch", "")
        epochs = [whole(text, "epoch", 0)] if text else kept_epochs(running.number)
        for epoch in epochs:
            row = await self._reader.perhaps(transcript_key(epoch, name), height)
            if row is not None:
                return _single(asked, row, {"epoch": epoch, "challenge": _challenge_row(row)})
        raise LedgerRefused(KEY_NOT_FOUND, f"no challenge {name.hex()} was opened in the epochs that the ledger keeps")

    async def committee(self, asked: Asked) -> Answer:
        """Who signed the header that proves this height, with the records that tie names and verifier keys to them."""
        height, _ = await self._reader.now(asked.height)
        signers = (await self._reader.client.block(height + 1)).validators
        rows = await self._reader.rows([validator_key(entry.address) for entry in signers.validators], height)
        members: list[Document] = []
        for entry, row in zip(signers.validators, rows, strict=True):
            known = _member_row(row) | {"key": row.key.hex()} | _proof(asked, row) if row is not None else {}
            members.append({"id": entry.address.hex(), **known, "voting_power": entry.power})
        listed = {"members": members, "power": signers.total_power, "complete": True}
        return Answer(_document(height, listed), height, True)

    async def validators(self, asked: Asked) -> Answer:
        return await self._list(asked, "/validators", "validators", VALIDATOR_PREFIX, _member_row)

    async def directory(self, asked: Asked) -> Answer:
        row, record = await self._directory(asked)
        return _single(asked, row, {"directory": views.directory_view(record)})

    async def proposals(self, asked: Asked) -> Answer:
        return await self._list(asked, "/proposals", "proposals", PROPOSAL_PREFIX, _proposal_row)

    async def proposal(self, asked: Asked) -> Answer:
        number = asked.number("number")
        row = await self._reader.row(proposal_key(number), asked.height, f"there is no proposal {number}")
        return _single(asked, row, {"proposal": _proposal_row(row)})

    async def evidence(self, asked: Asked) -> Answer:
        return await self._list(asked, "/evidence", "evidence", EVIDENCE_PREFIX, _evidence_row)

    async def upgrade(self, asked: Asked) -> Answer:
        """The version that the chain runs, and the upgrade that it is heading for."""
        runs = await self._reader.row(VERSION_KEY, asked.height, "the chain has no version")
        planned = await self._reader.perhaps(UPGRADE_KEY, runs.height)
        plan: Document | None = None
        if planned is not None:
            plan = {"key": planned.key.hex(), **views.record_view(loaded(UpgradePlan, planned)), **_proof(asked, planned)}
        return _single(asked, runs, {"runs": views.record_view(loaded(VersionRecord, runs)), "plan": plan})

    async def _list(self, asked: Asked, path: str, name: str, prefix: bytes, view: Callable[[Row], Document]) -> Answer:
        height, _ = await self._reader.now(asked.height)
        rows, following = await self._reader.listed(f"{path}?limit={asked.limit}&key={asked.key}", name, prefix, height)
        listed = [{"key": row.key.hex(), **view(row), **_proof(asked, row)} for row in rows]
        return Answer(_document(height, {name: listed, "complete": False, "next": following}), height, True)

    async def _directory(self, asked: Asked) -> tuple[Row, DirectoryRecord]:
        missing = "the chain has written no directory yet; nobody has registered"
        row = await self._reader.row(DIRECTORY_KEY, asked.height, missing)
        return row, _directory(row.value)

    async def _epochs(self, asked: Asked, height: int, newest: int) -> tuple[list[Row], str]:
        """Epoch records from `key`, or the newest, downwards; and the number that the next page begins with."""
        top = min(newest, whole(asked.key, "key", 0)) if asked.key else newest
        bottom = max(-1, top - min(asked.limit, MOST_EPOCHS))
        running = (await self._reader.now(height))[1].number
        keys = [CURRENT_EPOCH_KEY if at == running else epoch_key(at) for at in range(top, bottom, -1)]
        found = await gather(self._reader.perhaps, [(key, height) for key in keys])
        rows = [row for row in found if row is not None]
        return rows, str(bottom) if bottom >= 0 and len(rows) == len(keys) else ""


@lru_cache(maxsize=2)
def _directory(value: bytes) -> DirectoryRecord:
    """The record of a directory, which may hold thousands of nodes and changes rarely."""
    return decode(DirectoryRecord, value)


def _document(height: int, told: Document) -> Document:
    return {"height": height, "proven": True, **told}


def _single(asked: Asked, row: Row, told: Document) -> Answer:
    return Answer(_document(row.height, {"key": row.key.hex(), **told, **_proof(asked, row)}), row.height, True)


def _proof(asked: Asked, row: Row) -> Document:
    return {"proof": row.proof()} if asked.prove else {}


def _node_row(row: Row) -> Document:
    return views.node_view(row.key[len(NODE_PREFIX) :], loaded(NodeRecord, row))


def _member_row(row: Row) -> Document:
    return views.member_view(row.key[len(VALIDATOR_PREFIX) :], loaded(ValidatorRecord, row))


def _proposal_row(row: Row) -> Document:
    return views.proposal_view(loaded(ProposalRecord, row))


def _evidence_row(row: Row) -> Document:
    return views.record_view(loaded(EvidenceRecord, row))


def _challenge_row(row: Row) -> Document:
    return views.transcript_view(row.key[-32:], loaded(TranscriptRecord, row))


def _without_results(record: EpochRecord) -> Document:
    view = views.epoch_view(record)
    del view["results"]
    return view
