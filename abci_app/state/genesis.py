"""Genesis to State: the committee, the model groups and the parameters that the genesis document's `app_state` names.

`app_state` is JSON: {"params": {...}, "verifiers": [{"consensus_key", "verifier_key", "name"}], "groups": [{"name",
"model_hash", "scheme"}], "app_version": 1}, keys and hashes in hexadecimal. Powers come from CometBFT's validator set, so
that there is one source for them. Everything is checked; a genesis that does not fit ends the process before the first block.
An exported state (`export.py`) stands there instead.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from abci_app.state import epoch, upgrade
from abci_app.state.context import BlockContext
from abci_app.state.export import imported_state, is_export
from abci_app.state.params import params_from_mapping
from abci_app.state.state import MemoryReader, State
from network.chain_records import (
    PARAMS_KEY,
    VERSION_KEY,
    ModelGroup,
    ValidatorRecord,
    VersionRecord,
    group_key,
    validator_key,
)
from network.chain_tx import MAX_COMMITTEE, MAX_POWER
from network.codec import decode
from network.crypto import sha256
from network.errors import ConfigError, DecodeError
from network.ids import node_id, parse_hex

MAX_GROUPS = 256


@dataclass(frozen=True, slots=True)
class Genesis:
    """What InitChain hands over: validators are (Ed25519 consensus key, power) pairs."""

    chain_id: str
    initial_height: int
    validators: tuple[tuple[bytes, int], ...]
    app_state: bytes


def genesis_state(genesis: Genesis) -> State:
    """The state before the first block. Raises ConfigError naming what is wrong with the genesis document."""
    try:
        document = _mapping(json.loads(genesis.app_state), "the document")
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"genesis app_state is not JSON: {error}") from error
    if is_export(document):
        state = imported_state(document, genesis.initial_height, genesis.validators)
        upgrade.require_supported(state, genesis.initial_height)
        return state
    unknown = sorted(set(document) - {"params", "verifiers", "groups", "app_version"})
    _require(not unknown, f"unknown entries: {', '.join(unknown)}")
    state = State(MemoryReader())
    state.save(PARAMS_KEY, params_from_mapping(_mapping(document.get("params", {}), "params")))
    _save_committee(state, genesis.validators, _list(document.get("verifiers", []), "verifiers"))
    _save_groups(state, _list(document.get("groups", []), "groups"))
    state.save(VERSION_KEY, VersionRecord(app_version(document)))
    upgrade.require_supported(state, genesis.initial_height)
    seed = sha256(b"planetserve/genesis/1", genesis.chain_id.encode(), b"\x00", genesis.app_state)
    epoch.init(state, BlockContext(genesis.chain_id, genesis.initial_height, seed, seed))
    return state


def app_version(document: object) -> int:
    """The application version that a genesis document begins with: named, or in the rows of an exported state."""
    fields = _mapping(document, "the document")
    if is_export(fields):
        row = _mapping(fields["rows"], "rows").get(VERSION_KEY.hex())
        return upgrade.GENESIS_APP_VERSION if row is None else _version(row)
    value = fields.get("app_version", upgrade.GENESIS_APP_VERSION)
    if type(value) is not int or value < upgrade.GENESIS_APP_VERSION:
        raise ConfigError(f"genesis app_state: app_version must be an integer from {upgrade.GENESIS_APP_VERSION} on")
    return value


def _version(row: object) -> int:
    try:
        return decode(VersionRecord, bytes.fromhex(str(row))).app_version
    except (ValueError, DecodeError) as error:
        raise ConfigError(f"genesis app_state: the version row does not decode: {error}") from error


def _save_committee(state: State, validators: Sequence[tuple[bytes, int]], entries: list[object]) -> None:
    powers = dict(validators)
    _require(len(powers) == len(validators) > 0, "CometBFT's validator set is empty or names a key twice")
    _require(len(powers) <= MAX_COMMITTEE, f"more than {MAX_COMMITTEE} validators")
    _require(max(powers.values()) <= MAX_POWER, f"a validator's power is more than {MAX_POWER}")
    verifier_keys: set[bytes] = set()
    for position, entry in enumerate(entries):
        where = f"verifiers[{position}]"
        fields = _mapping(entry, where)
        consensus_key = _hex(fields, "consensus_key", where)
        verifier_key = _hex(fields, "verifier_key", where)
        _require(consensus_key in powers, f"{where}: consensus_key is not in CometBFT's validator set, or is named twice")
        _require(verifier_key not in verifier_keys, f"{where}: verifier_key is named twice")
        verifier_keys.add(verifier_key)
        record = ValidatorRecord(consensus_key, verifier_key, powers.pop(consensus_key), _text(fields, "name", where, 64))
        state.save(validator_key(node_id(consensus_key)), record)
    _require(not powers, f"{len(powers)} of CometBFT's validators have no entry in verifiers")


def _save_groups(state: State, entries: list[object]) -> None:
    _require(len(entries) <= MAX_GROUPS, f"more than {MAX_GROUPS} groups")
    for position, entry in enumerate(entries):
        where = f"groups[{position}]"
        fields = _mapping(entry, where)
        name = _text(fields, "name", where, 128)
        _require(state.get(group_key(name)) is None, f"{where}: {name!r} is named twice")
        group = ModelGroup(name, _hex(fields, "model_hash", where), _text(fields, "scheme", where, 32))
        state.save(group_key(name), group)


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise ConfigError(f"genesis app_state: {why}")


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise ConfigError(f"genesis app_state: {where} must be a list")
    return value


def _mapping(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ConfigError(f"genesis app_state: {where} must be an object")
    return value


def _text(fields: dict[str, object], name: str, where: str, most: int) -> str:
    value = fields.get(name)
    text = value if isinstance(value, str) else ""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # half of a character, which JSON can smuggle in
        size = 0
    _require(0 < size <= most, f"{where}: {name} must be a text of 1 to {most} bytes")
    return text


def _hex(fields: dict[str, object], name: str, where: str) -> bytes:
    value = _text(fields, name, where, 64)
    raw = parse_hex(value, 32) or b""
    _require(bool(raw), f"{where}: {name} must be 64 hexadecimal digits")
    return raw
