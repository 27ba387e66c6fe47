"""The state as part of a genesis document, and back: every row as it is, so that the chain goes on with the same app hash.

`app_state` of an exported genesis is {"height", "app_hash", "rows": {key: value}}, hashes, keys and values in hexadecimal.
It stands for the state after `height`; the chain that begins with it has the initial height after that.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from abci_app.state.app_hash import app_hash, leaf_hash, leaf_index, root_hash
from abci_app.state.state import MemoryReader, State
from network.chain_records import CURRENT_EPOCH_KEY, PARAMS_KEY, VALIDATOR_PREFIX, EpochRecord, Params, ValidatorRecord
from network.codec import decode
from network.errors import ConfigError, DecodeError

ENTRIES = frozenset({"height", "app_hash", "rows"})


def exported_state(rows: Iterable[tuple[bytes, bytes]], height: int, expected: bytes) -> dict[str, object]:
    """The `app_state` of the version whose rows these are. Raises ConfigError when they do not lead to its app hash."""
    held = sorted(rows)
    if _app_hash(held) != expected:
        raise ConfigError(f"the {len(held)} rows do not lead to the app hash of height {height}; check the data directory")
    return {
        "height": height,
        "app_hash": expected.hex(),
        "rows": {key.hex(): value.hex() for key, value in held},
    }


def is_export(document: Mapping[str, object]) -> bool:
    """Whether a genesis document's `app_state` is an exported one."""
    return "rows" in document


def imported_state(document: Mapping[str, object], initial_height: int, validators: Sequence[tuple[bytes, int]]) -> State:
    """The state that an exported `app_state` stands for. Raises ConfigError naming what is wrong with it."""
    rows, height = document.get("rows"), document.get("height")
    _require(set(document) == ENTRIES, f"an exported state has the entries {', '.join(sorted(ENTRIES))} and no other")
    _require(isinstance(height, int) and height == initial_height - 1, f"height must be {initial_height - 1}")
    if not isinstance(rows, dict):
        raise ConfigError("genesis app_state: rows must be an object")
    state = State(MemoryReader())
    for name, text in rows.items():
        key, value = _hex(name), _hex(text)
        _require(not key.startswith(b"x:") and state.get(key) is None, f"the key {name} is given twice, or cannot be")
        state.put(key, value)
    held = [(key, value) for key, value in state.changes() if value is not None]
    _require(_app_hash(held).hex() == document.get("app_hash"), "the rows do not lead to app_hash")
    _check_records(state, validators)
    return state


def _check_records(state: State, validators: Sequence[tuple[bytes, int]]) -> None:
    """What InitChain could find wrong: rows lead to the app hash that somebody vouched for, CometBFT's set may differ."""
    try:
        complete = state.load(Params, PARAMS_KEY) is not None and state.load(EpochRecord, CURRENT_EPOCH_KEY) is not None
        members = [decode(ValidatorRecord, value) for _, value in state.scan(VALIDATOR_PREFIX)]
    except DecodeError as error:
        raise ConfigError(f"genesis app_state: a record does not decode: {error}") from error
    _require(complete, "the parameters or the running epoch are missing")
    powers = sorted((member.consensus_key, member.power) for member in members if member.power)
    _require(powers == sorted(validators), "CometBFT's validator set is not the committee of the rows")


def _app_hash(rows: Sequence[tuple[bytes, bytes]]) -> bytes:
    leaves = sorted((leaf_index(key), leaf_hash(key, value)) for key, value in rows)
    distinct = all(left[0] != right[0] for left, right in pairwise(leaves))
    _require(distinct, "two rows share a leaf")
    return app_hash(root_hash(leaves))


def _hex(text: object) -> bytes:
    raw = b""
    if isinstance(text, str) and text == text.lower():
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
    _require(bool(raw) and raw.hex() == text, "keys and values are lower-case hexadecimal, and not empty")
    return raw


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise ConfigError(f"genesis app_state: {why}")
