"""Ledger records as documents for people and scripts: hexadecimal for bytes, decimals of nine places for amounts."""

from dataclasses import fields
from typing import Any

from network.chain_records import (
    UNIT,
    DirectoryEntry,
    DirectoryRecord,
    EpochRecord,
    NodeRecord,
    Params,
    ProposalRecord,
    ProposalStatus,
    TranscriptRecord,
    ValidatorRecord,
)
from network.chain_tx import BODIES, EVIDENCE_OFFSET, TxKind, decode_tx
from network.codec import Message, decode
from network.errors import DecodeError
from network.ids import ROLE_WORDS, Role, node_id

AMOUNTS = frozenset(
    {
        "reputation",
        "credit",
        "credits",
        "reputation_before",
        "reputation_after",
        "alpha",
        "beta",
        "tau",
        "threshold",
        "initial_reputation",
        "assignment",
    }
)


def decimal(amount: int) -> str:
    """An amount of 1e-9 units as a decimal string of nine places."""
    return f"{amount // UNIT}.{amount % UNIT:09d}"


def record_view(record: Message) -> dict[str, Any]:
    """Any record, field by field."""
    rows = {field.name: getattr(record, field.name) for field in fields(record)}  # type: ignore[arg-type]
    return {name: _value(name, value) for name, value in rows.items()}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Message):
        return record_view(value)
    if isinstance(value, tuple):
        return [_value(name, item) for item in value]
    if name in AMOUNTS and isinstance(value, int):
        return decimal(value)
    return value


def entry_view(entry: DirectoryEntry) -> dict[str, Any]:
    """One row of `query nodes`."""
    return {
        "id": entry.node_id.hex(),
        "name": entry.name,
        "role": ROLE_WORDS[Role(entry.role)],
        "model": entry.group or None,
        "reputation": decimal(entry.reputation),
        "trusted": entry.trusted,
        "address": entry.address,
        "operator": entry.family,
    }


def validator_view(address: bytes, record: ValidatorRecord) -> dict[str, Any]:
    """A committee member as a row of `query nodes`: in full standing while it is in the committee."""
    return {
        "id": address.hex(),
        "name": record.name,
        "role": "validator",
        "model": None,
        "reputation": decimal(UNIT),
        "trusted": True,
        "address": "",
        "operator": "",
    }


def member_view(address: bytes, record: ValidatorRecord) -> dict[str, Any]:
    """A committee member as a row of `query committee`."""
    return {
        "id": address.hex(),
        "name": record.name,
        "power": record.power,
        "consensus_key": record.consensus_key.hex(),
        "verifier_key": record.verifier_key.hex(),
        "verifier_id": node_id(record.verifier_key).hex(),
        "jailed": record.jailed,
        "joined_height": record.joined,
    }


def node_view(identifier: bytes, record: NodeRecord) -> dict[str, Any]:
    """One registered node, with what the directory leaves out."""
    view = record_view(record)
    return {
        "id": identifier.hex(),
        "name": record.name,
        "role": ROLE_WORDS[Role(record.role)],
        "model": record.group or None,
        "reputation": decimal(record.reputation),
        "trusted": record.trusted,
        "address": record.address,
        "operator": record.family,
        "hybrid": bool(record.hybrid_key),
        **{
            name: view[name]
            for name in (
                "retired",
                "registered_height",
                "renewed_epoch",
                "credits",
                "clean_epochs",
                "suspicion",
                "signing_key",
                "onion_key",
                "model_hash",
            )
        },
    }


def epoch_view(record: EpochRecord) -> dict[str, Any]:
    """One epoch; `ended_height` is null while it runs."""
    view = record_view(record)
    view["ended_height"] = record.ended_height or None
    view["state"] = "ended" if record.ended_height else "running"
    return view


def params_view(record: Params) -> dict[str, Any]:
    """The chain's parameters."""
    return record_view(record)


def directory_view(record: DirectoryRecord) -> dict[str, Any]:
    """The directory as everybody routes by it."""
    view = record_view(record)
    view["written_height"] = view.pop("height")
    rows = zip(record.entries, view.pop("entries"), strict=True)
    view["entries"] = [{**entry_view(entry), **_keys(row)} for entry, row in rows]
    return view


def _keys(row: dict[str, Any]) -> dict[str, Any]:
    return {**{name: row[name] for name in ("signing_key", "onion_key", "model_hash")}, "hybrid": bool(row["hybrid_key"])}


def transcript_view(name: bytes, record: TranscriptRecord) -> dict[str, Any]:
    """An opened challenge, its answer, and its score. Evidence in millinats, signed."""
    view = {"hash": name.hex(), **record_view(record)}
    if view["challenge"] is not None:
        view["challenge"]["body"] = record.challenge.body.decode(errors="replace")
    if view["score"] is not None:
        view["score"]["evidence"] = record.score.evidence - EVIDENCE_OFFSET
    return view


def proposal_view(record: ProposalRecord) -> dict[str, Any]:
    """A proposal: the one change that it is about, its votes, and what became of it."""
    proposal = record_view(record.proposal)
    change = next(name for name in ("params", "validator", "group", "upgrade", "cancel") if proposal[name])
    return {
        "id": record.id,
        "title": record.proposal.title,
        "proposer": record.proposer.hex(),
        "change": change,
        "content": proposal[change],
        "status": ProposalStatus(record.status).name.lower(),
        "reason": record.reason,
        "submitted_height": record.submitted_height,
        "closing_height": record.closing_height,
        "decided_height": record.decided_height or None,
        "votes": [record_view(vote) for vote in record.votes],
    }


def tx_view(raw: bytes) -> dict[str, Any]:
    """What a transaction says, as far as it can be decoded."""
    try:
        tx = decode_tx(raw)
        kind = TxKind(tx.kind)
        body = record_view(decode(BODIES[kind], tx.body))
    except (DecodeError, ValueError):
        return {"kind": "unreadable", "signer": None, "nonce": None, "body": None}
    return {"kind": kind.name.lower(), "signer": node_id(tx.signer).hex(), "nonce": tx.nonce, "body": body}
