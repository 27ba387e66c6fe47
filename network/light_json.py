"""CometBFT's JSON to the light client's dataclasses: the genesis file and the answer of `/commit`.

Everything here comes from a file or a stranger: whatever does not have the expected shape is a ProofRejected (an answer)
or a ConfigError (the genesis file), never a KeyError.
"""

import base64
import binascii
import calendar
import json
import re
from dataclasses import dataclass
from typing import Any

from network.errors import ConfigError
from network.light import BlockId, CommitSignature, GenesisTrust, Header, SignedHeader, Timestamp, TrustedValidator
from network.proof import MerkleProof, ProofOp, ProofRejected

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z")
_SHAPE_ERRORS = (KeyError, TypeError, ValueError, AttributeError, binascii.Error)


@dataclass(frozen=True, slots=True)
class AbciAnswer:
    """The response of `abci_query`, before anything about it has been checked."""

    code: int
    log: str
    height: int
    key: bytes
    value: bytes | None


def genesis_trust(raw: bytes) -> GenesisTrust:
    """The trust root in a CometBFT genesis file. Raises ConfigError."""
    try:
        document = json.loads(raw)
        validators = [
            TrustedValidator(base64.b64decode(row["pub_key"]["value"], validate=True), int(row["power"]))
            for row in document["validators"]
            if _is_ed25519(row["pub_key"]["type"])
        ]
        return GenesisTrust(str(document["chain_id"]), int(document.get("initial_height") or 1), validators)
    except _SHAPE_ERRORS as error:
        raise ConfigError(f"the genesis file is not CometBFT's JSON with Ed25519 validators: {error!r}") from error


def _is_ed25519(kind: str) -> bool:
    if kind != "tendermint/PubKeyEd25519":
        raise ValueError(f"a validator key of type {kind}")
    return True


def signed_header(result: Any) -> SignedHeader:
    """The signed header in the result of `/commit`. Raises ProofRejected."""
    try:
        header, commit = result["signed_header"]["header"], result["signed_header"]["commit"]
        return SignedHeader(
            header=_header(header),
            height=int(commit["height"]),
            round=int(commit["round"]),
            block_id=_block_id(commit["block_id"]),
            signatures=tuple(
                CommitSignature(
                    flag=int(row["block_id_flag"]),
                    validator=bytes.fromhex(row["validator_address"]),
                    time=parse_time(row["timestamp"]),
                    signature=base64.b64decode(row["signature"] or "", validate=True),
                )
                for row in commit["signatures"]
            ),
        )
    except _SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not a signed header: {error!r}") from error


@dataclass(frozen=True, slots=True)
class IncludedTx:
    """The result of `/tx`: a transaction, its result, and the proof that its block holds it."""

    raw: bytes
    height: int
    code: int
    log: str
    codespace: str
    proof: MerkleProof


def included_tx(result: Any) -> IncludedTx:
    """The result of `/tx` with `prove`, still unproven. Raises ProofRejected."""
    try:
        outcome, proof = result["tx_result"], result["proof"]["proof"]
        return IncludedTx(
            raw=base64.b64decode(result["tx"], validate=True),
            height=int(result["height"]),
            code=int(outcome.get("code") or 0),
            log=str(outcome.get("log") or ""),
            codespace=str(outcome.get("codespace") or ""),
            proof=MerkleProof(
                int(proof["total"]),
                int(proof.get("index") or 0),
                base64.b64decode(proof["leaf_hash"]),
                tuple(base64.b64decode(aunt) for aunt in proof.get("aunts") or ()),
            ),
        )
    except _SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not a transaction: {error!r}") from error


def abci_value(response: Any) -> AbciAnswer:
    """The response of `abci_query`, still unproven. Raises ProofRejected."""
    try:
        value = response.get("value")
        return AbciAnswer(
            code=int(response.get("code") or 0),
            log=str(response.get("log") or ""),
            height=int(response.get("height") or 0),
            key=base64.b64decode(response.get("key") or "", validate=True),
            value=base64.b64decode(value, validate=True) if value else None,
        )
    except _SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not that of a query: {error!r}") from error


def proof_ops(response: Any) -> tuple[ProofOp, ...]:
    """The operators in the response of `abci_query`. Raises ProofRejected."""
    try:
        return tuple(
            ProofOp(str(row["type"]), base64.b64decode(row["key"]), base64.b64decode(row["data"]))
            for row in (response.get("proofOps") or {"ops": []})["ops"]
        )
    except _SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer carries no readable proof: {error!r}") from error


def parse_time(text: str) -> Timestamp:
    """An RFC 3339 UTC time with up to nine decimals, as Go prints it. Raises ValueError."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"not a UTC time: {text!r}")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    nanos = int((found.group(7) or "0").ljust(9, "0"))
    return Timestamp(calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0)), nanos)


def _header(raw: Any) -> Header:
    return Header(
        version_block=int(raw["version"]["block"]),
        version_app=int(raw["version"].get("app") or 0),
        chain_id=str(raw["chain_id"]),
        height=int(raw["height"]),
        time=parse_time(raw["time"]),
        last_block_id=_block_id(raw["last_block_id"]),
        **{
            name: bytes.fromhex(raw[name])
            for name in (
                "last_commit_hash",
                "data_hash",
                "validators_hash",
                "next_validators_hash",
                "consensus_hash",
                "app_hash",
                "last_results_hash",
                "evidence_hash",
                "proposer_address",
            )
        },
    )


def _block_id(raw: Any) -> BlockId:
    return BlockId(bytes.fromhex(raw["hash"]), int(raw["parts"]["total"]), bytes.fromhex(raw["parts"]["hash"]))
