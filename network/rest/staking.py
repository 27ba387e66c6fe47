"""The committee in the words of Cosmos' staking and slashing modules, so that an explorer's validator pages work.

There is no money here: a validator's tokens are its voting power, and nothing is delegated. What the ledger does not know
(commission, unbonding) is zero or empty, never invented.
"""

import base64
from typing import Any

from network.chain_records import ValidatorRecord
from network.chain_tx import MAX_COMMITTEE
from network.rest.bech32 import CONSENSUS, OPERATOR, encode
from network.rest.blocks import KEY_TYPE

DENOM = "power"
WINDOW = 100  # blocks over which missed signatures are counted
NEVER = "1970-01-01T00:00:00Z"
BONDED, UNBONDED = "BOND_STATUS_BONDED", "BOND_STATUS_UNBONDED"
STATUSES = ("", "BOND_STATUS_UNSPECIFIED", BONDED, UNBONDED, "BOND_STATUS_UNBONDING")


def decimal(number: int) -> str:
    """A whole number as Cosmos writes its 18-digit decimals."""
    return f"{number}.{'0' * 18}"


def validator_view(address: bytes, record: ValidatorRecord) -> dict[str, Any]:
    """A committee member as a staking validator."""
    return {
        "operator_address": encode(OPERATOR, address),
        "consensus_pubkey": {"@type": KEY_TYPE, "key": base64.b64encode(record.consensus_key).decode()},
        "jailed": is_jailed(record),
        "status": BONDED if record.power else UNBONDED,
        "tokens": str(record.power),
        "delegator_shares": decimal(record.power),
        "description": {"moniker": record.name, "identity": "", "website": "", "security_contact": "", "details": ""},
        "unbonding_height": "0",
        "unbonding_time": NEVER,
        "commission": {
            "commission_rates": {"rate": decimal(0), "max_rate": decimal(0), "max_change_rate": decimal(0)},
            "update_time": NEVER,
        },
        "min_self_delegation": "0",
    }


def is_jailed(record: ValidatorRecord) -> bool:
    """Whether the ledger took the member's power away."""
    return record.jailed


def pool_view(power: int) -> dict[str, Any]:
    """All power, as bonded tokens."""
    return {"pool": {"not_bonded_tokens": "0", "bonded_tokens": str(power)}}


def staking_params() -> dict[str, Any]:
    """What an explorer asks before it shows amounts."""
    return {
        "params": {
            "unbonding_time": "0s",
            "max_validators": MAX_COMMITTEE,
            "max_entries": 0,
            "historical_entries": 0,
            "bond_denom": DENOM,
            "min_commission_rate": decimal(0),
        }
    }


def slashing_params() -> dict[str, Any]:
    """Absence is shown, not punished; a double signature costs all power."""
    return {
        "params": {
            "signed_blocks_window": str(WINDOW),
            "min_signed_per_window": decimal(0),
            "downtime_jail_duration": "0s",
            "slash_fraction_double_sign": decimal(1),
            "slash_fraction_downtime": decimal(0),
        }
    }


def signing_info(address: bytes, record: ValidatorRecord, missed: int) -> dict[str, Any]:
    """One member's signing over the window. Who was jailed comes back by vote only, which is what tombstoned means."""
    return {
        "address": encode(CONSENSUS, address),
        "start_height": str(record.joined),
        "index_offset": "0",
        "jailed_until": NEVER,
        "tombstoned": is_jailed(record),
        "missed_blocks_counter": str(missed),
    }
