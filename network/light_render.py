"""Light blocks and evidence of an attack on light clients as CometBFT's JSON: the memory file, and `/broadcast_evidence`.

Who is named in the evidence follows CometBFT's own rules (`types/evidence.go`), or a node would refuse it.
"""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from network.light import Trusted
from network.light_headers import FLAG_COMMIT, HEADER_BYTES, BlockId, Header, LightBlock, Timestamp, Validator, ValidatorSet

_DERIVED = ("validators_hash", "next_validators_hash", "consensus_hash", "app_hash", "last_results_hash")


@dataclass(frozen=True, slots=True)
class Fork:
    """Two verified blocks of one height that differ, and the last state on which both sides agree."""

    common: Trusted
    ours: LightBlock
    theirs: LightBlock


def time_json(time: Timestamp) -> str:
    """RFC 3339 in UTC as Go prints it: as many decimals as are needed."""
    moment = (datetime(1970, 1, 1) + timedelta(seconds=time.seconds)).isoformat()
    return f"{moment}.{time.nanos:09d}".rstrip("0").rstrip(".") + "Z"


def light_block_json(block: LightBlock) -> dict[str, Any]:
    """A light block as CometBFT writes it; `network/light_json.py` reads it back."""
    header, signed = block.header, block.signed
    places = [
        {
            "block_id_flag": place.flag,
            "validator_address": place.validator.hex().upper(),
            "timestamp": time_json(place.time),
            "signature": base64.b64encode(place.signature).decode() or None,
        }
        for place in signed.signatures
    ]
    commit = {
        "height": str(signed.height),
        "round": signed.round,
        "block_id": _block_id(signed.block_id),
        "signatures": places,
    }
    return {
        "signed_header": {"header": header_json(header), "commit": commit},
        "validator_set": _set_json(block.validators),
    }


def header_json(header: Header) -> dict[str, Any]:
    """A header as CometBFT writes it."""
    return {
        "version": {"block": str(header.version_block), "app": str(header.version_app)},
        "chain_id": header.chain_id,
        "height": str(header.height),
        "time": time_json(header.time),
        "last_block_id": _block_id(header.last_block_id),
        **{name: getattr(header, name).hex().upper() for name in HEADER_BYTES},
    }


def attack_evidence(conflicting: LightBlock, right: LightBlock, common: Trusted, initial_height: int) -> dict[str, Any]:
    """Evidence against those who signed `conflicting`, if `right` is the chain's block at that height."""
    lunatic = any(getattr(conflicting.header, name) != getattr(right.header, name) for name in _DERIVED)
    guilty = _guilty(conflicting, right, common.validators if lunatic else conflicting.validators, lunatic=lunatic)
    # Before the first block stands the genesis file; the evidence has to name a block.
    height = max(common.height, initial_height) if lunatic else right.height
    total = common.validators.total_power if lunatic else right.validators.total_power
    return {
        "type": "tendermint/LightClientAttackEvidence",
        "value": {
            "ConflictingBlock": light_block_json(conflicting),
            "CommonHeight": str(height),
            "ByzantineValidators": [_validator_json(entry) for entry in guilty] or None,
            "TotalVotingPower": str(total),
            "Timestamp": time_json(common.time if lunatic else right.header.time),
        },
    }


def _guilty(conflicting: LightBlock, right: LightBlock, known: ValidatorSet, *, lunatic: bool) -> list[Validator]:
    """Lunatic: whoever of the common set signed the invalid header. Equivocation: who signed both in one round. Amnesia (two
    rounds): nobody can be named."""
    signers = {place.validator for place in conflicting.signed.signatures if place.flag == FLAG_COMMIT}
    if not lunatic:
        if conflicting.signed.round != right.signed.round:
            return []
        signers &= {place.validator for place in right.signed.signatures if place.flag == FLAG_COMMIT}
    return [entry for entry in known.validators if entry.address in signers]


def _set_json(validators: ValidatorSet) -> dict[str, Any]:
    """CometBFT wants a proposer of the set in it, any one; priorities are part of no hash."""
    rows = [_validator_json(entry) for entry in validators.validators]
    return {"validators": rows, "proposer": rows[0]}


def _validator_json(validator: Validator) -> dict[str, Any]:
    return {
        "address": validator.address.hex().upper(),
        "pub_key": {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(validator.public_key).decode()},
        "voting_power": str(validator.power),
        "proposer_priority": "0",
    }


def _block_id(block_id: BlockId) -> dict[str, Any]:
    parts = {"total": block_id.parts_total, "hash": block_id.parts_hash.hex().upper()}
    return {"hash": block_id.hash.hex().upper(), "parts": parts}
