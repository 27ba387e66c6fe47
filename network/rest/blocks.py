"""Blocks, validator sets and node information: from CometBFT's JSON to the shapes of Cosmos' base API.

Hashes turn from hexadecimal into base64, enumerations into words. `binds` says whether a block's content is what its
verified header commits to.
"""

import base64
from collections.abc import Mapping
from typing import Any

from network.crypto import sha256, verify
from network.light_headers import (
    FLAG_COMMIT,
    HEADER_BYTES,
    CommitSignature,
    LightBlock,
    SignedHeader,
    commit_hash,
    merkle_root,
    precommit_bytes,
)
from network.light_json import SHAPE_ERRORS, block_id, commit_signature, header
from network.proof import ProofRejected

FLAGS = {1: "BLOCK_ID_FLAG_ABSENT", 2: "BLOCK_ID_FLAG_COMMIT", 3: "BLOCK_ID_FLAG_NIL"}
KEY_TYPE = "/cosmos.crypto.ed25519.PubKey"


def b64(hexadecimal: str) -> str:
    """Hexadecimal digits as base64."""
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def block_view(result: Any) -> dict[str, Any]:
    """The result of `/block` as `{block_id, block}`. Raises ProofRejected when it is no block."""
    try:
        block = result["block"]
        return {
            "block_id": _block_id(result["block_id"]),
            "block": {
                "header": _header(block["header"]),
                "data": {"txs": list(block["data"].get("txs") or [])},
                "evidence": {"evidence": list(block["evidence"].get("evidence") or [])},
                "last_commit": _commit(block["last_commit"]),
            },
        }
    except SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not a block: {error!r}") from error


def transactions(result: Any) -> tuple[bytes, ...]:
    """The transactions in the result of `/block`. Raises ProofRejected."""
    try:
        return tuple(base64.b64decode(tx, validate=True) for tx in result["block"]["data"].get("txs") or [])
    except SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not a block: {error!r}") from error


def binds(block: LightBlock, result: Any) -> bool:
    """Whether the result of `/block` is what the verified header commits to, to the last field.

    False: not all of it could be compared (evidence, or a last commit whose signers have all left). Raises ProofRejected
    where something is another block's.
    """
    verified = block.header
    if merkle_root([sha256(tx) for tx in transactions(result)]) != verified.data_hash:
        raise ProofRejected("the block's transactions are not those of its header")
    if header(result["block"]) != verified:
        raise ProofRejected("the block's header is not the one that was signed")
    try:
        commit = result["block"]["last_commit"]
        places = [commit_signature(row) for row in commit.get("signatures") or []]
        of_last = int(commit["height"]) == verified.height - 1 and block_id(commit["block_id"]) == verified.last_block_id
        own = block_id(result["block_id"]) == block.signed.block_id
        evidence = result["block"]["evidence"].get("evidence") or []
        signed_last = _one_signature(block, int(commit["round"]), places)
    except SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not a block: {error!r}") from error
    if not own:
        raise ProofRejected("the block's id is not that of its header")
    if commit_hash(places) != verified.last_commit_hash or (places and not of_last) or signed_last is False:
        raise ProofRejected("the block's last commit is not that of its header")
    return signed_last is not None and not evidence and verified.evidence_hash == merkle_root([])


def _one_signature(block: LightBlock, round_number: int, places: list[CommitSignature]) -> bool | None:
    """The last commit's round stands in no hash, only under its signatures: one of them settles it. None when none of the
    signers is in this block's validator set; a chain's first block has no last commit."""
    if not places:
        return round_number == 0
    verified = block.header
    last = SignedHeader(verified, verified.height - 1, round_number, verified.last_block_id, ())
    for place in places:
        signer = block.validators.by_address.get(place.validator)
        if signer is not None and place.flag == FLAG_COMMIT:
            return verify(signer.public_key, precommit_bytes(last, place.time, verified.chain_id), place.signature)
    return None


def validators_view(height: int, rows: list[dict[str, Any]], pagination: dict[str, Any]) -> dict[str, Any]:
    """A validator set as `{block_height, validators, pagination}`."""
    return {"block_height": str(height), "validators": rows, "pagination": pagination}


def validator_row(address: str, public_key: bytes, power: int, priority: str) -> dict[str, Any]:
    """One validator of a set."""
    return {
        "address": address,
        "pub_key": {"@type": KEY_TYPE, "key": base64.b64encode(public_key).decode()},
        "voting_power": str(power),
        "proposer_priority": priority,
    }


def node_info(status: Any, release: str) -> dict[str, Any]:
    """The result of `/status` as `{default_node_info, application_version}`. Raises ProofRejected."""
    try:
        node: Mapping[str, Any] = status["node_info"]
        return {
            "default_node_info": {
                "protocol_version": dict(node["protocol_version"]),
                "default_node_id": node["id"],
                "listen_addr": node["listen_addr"],
                "network": node["network"],
                "version": node["version"],
                "channels": b64(node["channels"]),
                "moniker": node["moniker"],
                "other": dict(node["other"]),
            },
            "application_version": {
                "name": "planetserve",
                "app_name": "planetserve",
                "version": release,
                "git_commit": "",
                "build_tags": "",
                "go_version": "",
                "build_deps": [],
                "cosmos_sdk_version": "",
            },
        }
    except SHAPE_ERRORS as error:
        raise ProofRejected(f"the answer is not a node's status: {error!r}") from error


def _header(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": {"block": str(raw["version"]["block"]), "app": str(raw["version"].get("app") or "0")},
        "chain_id": raw["chain_id"],
        "height": str(raw["height"]),
        "time": raw["time"],
        "last_block_id": _block_id(raw["last_block_id"]),
        **{name: b64(raw[name]) for name in HEADER_BYTES},
    }


def _block_id(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hash": b64(raw["hash"]),
        "part_set_header": {"total": int(raw["parts"]["total"]), "hash": b64(raw["parts"]["hash"])},
    }


def _commit(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "height": str(raw["height"]),
        "round": int(raw["round"]),
        "block_id": _block_id(raw["block_id"]),
        "signatures": [
            {
                "block_id_flag": FLAGS[int(row["block_id_flag"])],
                "validator_address": b64(row["validator_address"]),
                "timestamp": row["timestamp"],
                "signature": row["signature"],
            }
            for row in raw.get("signatures") or []
        ],
    }
