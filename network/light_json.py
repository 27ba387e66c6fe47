"""CometBFT's JSON to the light client's dataclasses: the genesis file and the answers of its RPC.

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
from network.light import GenesisTrust
from network.light_headers import (
    HEADER_BYTES,
    BlockId,
    CommitSignature,
    Header,
    LightBlock,
    SignedHeader,
    Timestamp,
    Validator,
    ValidatorSet,
)
from network.proof import MerkleProof, ProofOp, ProofRejected

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z")
# What reading an answer of another shape raises.
SHAPE_ERRORS = (KeyError, TypeError, ValueError, AttributeError, OverflowError, binascii.Error)
_MOST_VALIDATORS = 10_000  # CometBFT's own bound


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
        return GenesisTrust(
            chain_id=_text(document["chain_id"]),
            initial_height=_int64(document.get("initial_height") or 1),
            validators=[_validator(row, "power") for row in document["validators"]],
            time=parse_time(document["genesis_time"]),
        )
    except (*SHAPE_ERRORS, RecursionError) as error:
        raise ConfigError(f"the genesis file is not CometBFT's JSON with Ed25519 validators: {error!r}") from error


def _validator(row: Any, power: str) -> Validator:
    """A validator in a genesis file or an RPC answer, which call its power differently."""
    if row["pub_key"]["type"] != "tendermint/PubKeyEd25519":
        raise ValueError(f"a validator key of type {row['pub_key']['type']!r}")
    return Validator(base64.b64decode(row["pub_key"]["value"], validate=True), _int64(row[power]))


def _int64(value: Any, low: int = 0) -> int:
    """An integer that fits CometBFT's int64: what is hashed must be what was read."""
    number = int(value)
    if isinstance(value, float) or not low <= number < 2**63:
        raise ValueError(f"an integer out of range: {value!r}")
    return number


def _text(value: Any) -> str:
    """Text that can be hashed and printed: JSON can smuggle halves of characters."""
    text = str(value)
    text.encode()
    return text


def validators_page(result: Any) -> tuple[int, int, tuple[Validator, ...]]:
    """The result of `/validators`: its height, how many there are on all pages, and those of this one. Raises ProofRejected."""
    try:
        total = _int64(result["total"])
        if total > _MOST_VALIDATORS:
            raise ValueError(f"{total} validators")
        return _int64(result["block_height"]), total, tuple(_validator(row, "voting_power") for row in result["validators"])
    except SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not a list of validators: {error!r}") from error


def signed_header(result: Any) -> SignedHeader:
    """The signed header in the result of `/commit`. Raises ProofRejected."""
    try:
        commit = result["signed_header"]["commit"]
        return SignedHeader(
            header=_header(result["signed_header"]["header"]),
            height=_int64(commit["height"]),
            round=_int64(commit["round"]),
            block_id=block_id(commit["block_id"]),
            signatures=tuple(commit_signature(row) for row in commit["signatures"]),
        )
    except SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not a signed header: {error!r}") from error


def commit_signature(row: Any) -> CommitSignature:
    """One place of a commit. Raises one of SHAPE_ERRORS."""
    return CommitSignature(
        flag=_int64(row["block_id_flag"]),
        validator=bytes.fromhex(row["validator_address"]),
        time=parse_time(row["timestamp"]),
        signature=base64.b64decode(row["signature"] or "", validate=True),
    )


def light_block(raw: Any) -> LightBlock:
    """A light block in CometBFT's JSON (`network/light_render.py` writes it), unchecked. Raises ProofRejected."""
    signed = signed_header(raw)
    try:
        rows = raw["validator_set"]["validators"]
        return LightBlock(signed, ValidatorSet(_validator(row, "voting_power") for row in rows))
    except SHAPE_ERRORS as error:
        raise ProofRejected(f"not a light block: {error!r}") from error


def header(result: Any) -> Header:
    """The header in the result of `/header`. Raises ProofRejected."""
    try:
        return _header(result["header"])
    except SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not a header: {error!r}") from error


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
            height=_int64(result["height"]),
            code=int(outcome.get("code") or 0),
            log=_text(outcome.get("log") or ""),
            codespace=_text(outcome.get("codespace") or ""),
            proof=MerkleProof(
                _int64(proof["total"]),
                _int64(proof.get("index") or 0),
                base64.b64decode(proof["leaf_hash"]),
                tuple(base64.b64decode(aunt) for aunt in proof.get("aunts") or ()),
            ),
        )
    except SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not a transaction: {error!r}") from error


def abci_value(response: Any) -> AbciAnswer:
    """The response of `abci_query`, still unproven. Raises ProofRejected."""
    try:
        value = response.get("value")
        return AbciAnswer(
            code=int(response.get("code") or 0),
            log=_text(response.get("log") or ""),
            height=_int64(response.get("height") or 0),
            key=base64.b64decode(response.get("key") or "", validate=True),
            value=base64.b64decode(value, validate=True) if value else None,
        )
    except SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not that of a query: {error!r}") from error


def proof_ops(response: Any) -> tuple[ProofOp, ...]:
    """The operators in the response of `abci_query`. Raises ProofRejected."""
    try:
        return tuple(
            ProofOp(_text(row["type"]), base64.b64decode(row["key"]), base64.b64decode(row["data"]))
            for row in (response.get("proofOps") or {"ops": []})["ops"]
        )
    except SHAPE_ERRORS as error:
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
        version_block=_int64(raw["version"]["block"]),
        version_app=_int64(raw["version"].get("app") or 0),
        chain_id=_text(raw["chain_id"]),
        height=_int64(raw["height"]),
        time=parse_time(raw["time"]),
        last_block_id=block_id(raw["last_block_id"]),
        **{name: bytes.fromhex(raw[name]) for name in HEADER_BYTES},
    )


def block_id(raw: Any) -> BlockId:
    """A block's id. Raises one of SHAPE_ERRORS."""
    return BlockId(bytes.fromhex(raw["hash"]), _int64(raw["parts"]["total"]), bytes.fromhex(raw["parts"]["hash"]))
