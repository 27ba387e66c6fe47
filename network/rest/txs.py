"""Transactions in the shape of Cosmos' tx API: one message each, no fees, the nonce as sequence, the hash in capitals."""

import base64
from collections.abc import Mapping
from typing import Any

from network.chain_tx import BODIES, SignedTx, TxKind, decode_tx
from network.chain_views import record_view
from network.codec import decode
from network.crypto import sha256
from network.errors import DecodeError
from network.ids import parse_hex
from network.light_json import SHAPE_ERRORS
from network.proof import ProofRejected
from network.rest.blocks import KEY_TYPE
from network.rest.refusal import Refusal

MESSAGES = "/planetserve.ledger.v1."
LONGEST_SEARCH = 512
PAGE_MOST = 100


def tx_view(raw: bytes) -> dict[str, Any]:
    """What a transaction says. One that cannot be decoded keeps its bytes, as `/planetserve.ledger.v1.Unreadable`."""
    try:
        tx = decode_tx(raw)
        kind = TxKind(tx.kind)
        message = {"@type": MESSAGES + BODIES[kind].__name__, **record_view(decode(BODIES[kind], tx.body))}
    except (DecodeError, ValueError):
        tx, message = SignedTx(), {"@type": MESSAGES + "Unreadable", "raw": base64.b64encode(raw).decode()}
    signer = {
        "public_key": {"@type": KEY_TYPE, "key": base64.b64encode(tx.signer).decode()},
        "mode_info": {"single": {"mode": "SIGN_MODE_DIRECT"}},
        "sequence": str(tx.nonce),
    }
    return {
        "@type": "/cosmos.tx.v1beta1.Tx",
        "body": {
            "messages": [message],
            "memo": "",
            "timeout_height": "0",
            "extension_options": [],
            "non_critical_extension_options": [],
        },
        "auth_info": {"signer_infos": [signer], "fee": {"amount": [], "gas_limit": "0", "payer": "", "granter": ""}},
        "signatures": [base64.b64encode(tx.signature).decode()],
    }


def tx_response(raw: bytes, height: int, result: Mapping[str, Any], timestamp: str) -> dict[str, Any]:
    """A transaction with what became of it; `result` is CometBFT's ExecTxResult. Raises ProofRejected when it is none."""
    try:
        return {
            "height": str(height),
            "txhash": sha256(raw).hex().upper(),
            "codespace": str(result.get("codespace") or ""),
            "code": int(result.get("code") or 0),
            "data": str(result.get("data") or ""),
            "raw_log": str(result.get("log") or ""),
            "logs": [],
            "info": str(result.get("info") or ""),
            "gas_wanted": str(result.get("gas_wanted") or "0"),
            "gas_used": str(result.get("gas_used") or "0"),
            "tx": tx_view(raw),
            "timestamp": timestamp,
            "events": [_event(event) for event in result.get("events") or []],
        }
    except SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not a transaction's result: {error!r}") from error


def found(result: Any) -> tuple[list[tuple[bytes, int, Mapping[str, Any]]], int]:
    """The transactions in the result of `/tx_search`, with heights and results, and how many there are in all."""
    try:
        rows = [(base64.b64decode(row["tx"], validate=True), int(row["height"]), row["tx_result"]) for row in result["txs"]]
        return rows, int(result["total_count"])
    except SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not a list of transactions: {error!r}") from error


def search(conditions: list[str]) -> str:
    """CometBFT's query out of the `query=` and `events=` of a request: `type.attribute='value'`, joined by AND."""
    words = " AND ".join(condition.strip() for condition in conditions if condition.strip())
    if not words or len(words) > LONGEST_SEARCH:
        raise Refusal(
            "bad_request", "say what to search for: query=message.sender='HEX' or events=tx.height=5 (at most 512 letters)"
        )
    return words


def tx_name(text: str) -> bytes:
    """A transaction's hash out of a path. Raises Refusal."""
    name = parse_hex(text.removeprefix("0x"), 32)
    if name is None:
        raise Refusal("bad_request", "a transaction's hash is 64 hexadecimal digits")
    return name


def _event(raw: Mapping[str, Any]) -> dict[str, Any]:
    attributes = [
        {"key": str(row["key"]), "value": str(row.get("value") or ""), "index": bool(row.get("index"))}
        for row in raw.get("attributes") or []
    ]
    return {"type": str(raw["type"]), "attributes": attributes}
