"""Export and import: the same rows and app hash, and nothing else gets in."""

from collections.abc import Callable
from typing import Any

import pytest

from abci_app.state.app_hash import app_hash, leaf_hash, leaf_index, root_hash
from abci_app.state.export import exported_state, imported_state, is_export
from abci_app.state.state import State
from network.chain_records import CURRENT_EPOCH_KEY, PARAMS_KEY, ValidatorRecord, validator_key
from network.codec import encode
from network.errors import ConfigError


def rows_of(state: State) -> list[tuple[bytes, bytes]]:
    return list(state.scan(b""))


def hash_of(rows: list[tuple[bytes, bytes]]) -> bytes:
    return app_hash(root_hash(sorted((leaf_index(key), leaf_hash(key, value)) for key, value in rows)))


@pytest.fixture
def rows(chain: Any) -> list[tuple[bytes, bytes]]:
    """A committee and model nodes in the middle of an epoch."""
    chain.to_offset(7)
    return rows_of(chain.state)


@pytest.fixture
def validators(rows: list[tuple[bytes, bytes]], chain: Any) -> list[tuple[bytes, int]]:
    found = [chain.state.load(ValidatorRecord, key) for key, _ in rows if key[:1] == b"\x0d"]
    return [(record.consensus_key, record.power) for record in found]


def test_there_and_back(rows: list[tuple[bytes, bytes]], validators: list[tuple[bytes, int]]) -> None:
    document = exported_state(reversed(rows), 41, hash_of(rows))
    assert is_export(document) and document == exported_state(rows, 41, hash_of(rows))
    state = imported_state(document, 42, validators[::-1])
    assert rows_of(state) == rows
    assert not is_export({"params": {}, "verifiers": []})


def test_an_export_that_is_not_the_heights_is_refused(rows: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ConfigError, match="do not lead to the app hash of height 41"):
        exported_state(rows[1:], 41, hash_of(rows))


def changed(key: bytes, value: bytes | None) -> Callable[[dict[str, Any]], None]:
    def change(rows: dict[str, Any]) -> None:
        if value is None:
            del rows[key.hex()]
        else:
            rows[key.hex()] = value.hex()

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (changed(PARAMS_KEY, b"\x08\x01"), "do not lead to app_hash"),
        (changed(PARAMS_KEY, None), "do not lead to app_hash"),
        (changed(b"\x7fnew", b"v"), "do not lead to app_hash"),
        (lambda rows: rows.update({"": "00"}), "hexadecimal"),
        (lambda rows: rows.update({"7f": ""}), "hexadecimal"),
        (lambda rows: rows.update({"7F": "00"}), "hexadecimal"),
        (lambda rows: rows.update({"7f ": "00"}), "hexadecimal"),
        (lambda rows: rows.update({"zz": "00"}), "hexadecimal"),
        (lambda rows: rows.update({"7f": 5}), "hexadecimal"),
        (lambda rows: rows.update({b"x:1".hex(): "00"}), "cannot be"),
    ],
)
def test_changed_rows_are_refused(
    rows: list[tuple[bytes, bytes]],
    validators: list[tuple[bytes, int]],
    change: Callable[[dict[str, Any]], None],
    complaint: str,
) -> None:
    document: dict[str, Any] = exported_state(rows, 41, hash_of(rows))
    change(document["rows"])
    with pytest.raises(ConfigError, match=complaint):
        imported_state(document, 42, validators)


def test_the_frame_must_fit(rows: list[tuple[bytes, bytes]], validators: list[tuple[bytes, int]]) -> None:
    document = exported_state(rows, 41, hash_of(rows))
    for wrong, height, set_of, complaint in (
        (document, 43, validators, "height must be 42"),
        ({**document, "params": {}}, 42, validators, "and no other"),
        ({**document, "rows": []}, 42, validators, "must be an object"),
        ({**document, "height": "41"}, 42, validators, "height must be"),
        (document, 42, validators[1:], "is not the committee"),
        (document, 42, [(validators[0][0], 99), *validators[1:]], "is not the committee"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            imported_state(wrong, height, set_of)


@pytest.mark.parametrize("key", [PARAMS_KEY, CURRENT_EPOCH_KEY])
def test_a_state_that_cannot_go_on_is_refused(chain: Any, validators: list[tuple[bytes, int]], key: bytes) -> None:
    """The app hash fits, because whoever made the document computed it; the records do not."""
    chain.state.delete(key)
    rows = rows_of(chain.state)
    with pytest.raises(ConfigError, match="are missing"):
        imported_state(exported_state(rows, 41, hash_of(rows)), 42, validators)
    chain.state.put(key, b"\xff")
    rows = rows_of(chain.state)
    with pytest.raises(ConfigError, match="does not decode"):
        imported_state(exported_state(rows, 41, hash_of(rows)), 42, validators)


def test_a_validator_without_power_is_not_in_comets_set(chain: Any, validators: list[tuple[bytes, int]]) -> None:
    chain.state.put(validator_key(bytes(20)), encode(ValidatorRecord(bytes([7]) * 32, bytes([8]) * 32, 0, "gone")))
    rows = rows_of(chain.state)
    state = imported_state(exported_state(rows, 41, hash_of(rows)), 42, validators)
    assert rows_of(state) == rows
