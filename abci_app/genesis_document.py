"""The genesis document that a chain goes on with after an export. Pure: mappings in, text out, the same on every replica."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from abci_app.config import consensus_address
from abci_app.state.export import exported_state
from abci_app.state.upgrade import GENESIS_APP_VERSION
from network.chain_records import VALIDATOR_PREFIX, VERSION_KEY, ValidatorRecord, VersionRecord
from network.codec import decode


class Rows(Protocol):
    """The version that is exported."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, in ascending key order."""


def export_genesis(original: Mapping[str, Any], rows: Rows, height: int, app_hash: bytes, genesis_time: str) -> str:
    """The document of the chain whose genesis was `original`, going on after `height`. Everybody who is to go on with it
    must give the same `genesis_time` (RFC 3339, UTC). Raises ConfigError when the rows do not lead to `app_hash`."""
    version = next((decode(VersionRecord, value) for _, value in rows.scan(VERSION_KEY)), VersionRecord(GENESIS_APP_VERSION))
    members = [decode(ValidatorRecord, value) for _, value in rows.scan(VALIDATOR_PREFIX)]
    document = {
        "genesis_time": genesis_time,
        "chain_id": original["chain_id"],
        "initial_height": str(height + 1),
        # CometBFT falls back to this version at the next change of its parameters.
        "consensus_params": {**(original.get("consensus_params") or {}), "version": {"app": str(version.app_version)}},
        "validators": [_validator(member) for member in members if member.power],
        "app_hash": app_hash.hex().upper(),
        "app_state": exported_state(rows.scan(b""), height, app_hash),
    }
    return json.dumps(document, indent=2) + "\n"


def _validator(member: ValidatorRecord) -> dict[str, object]:
    key = base64.b64encode(member.consensus_key).decode()
    return {
        "address": consensus_address(member.consensus_key),
        "pub_key": {"type": "tendermint/PubKeyEd25519", "value": key},
        "power": str(member.power),
        "name": member.name,
    }
