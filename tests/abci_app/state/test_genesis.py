"""Genesis: what the document must say, and that a chain's first state does not depend on how it is spelled."""

import json
from typing import Any

import pytest

from abci_app.state.genesis import Genesis, genesis_state
from network.chain_records import (
    CURRENT_EPOCH_KEY,
    PARAMS_KEY,
    EpochRecord,
    ModelGroup,
    Params,
    ValidatorRecord,
    group_key,
    validator_key,
)
from network.crypto import sha256
from network.errors import ConfigError
from network.ids import node_id

CONSENSUS = [sha256(b"consensus", bytes([n])) for n in range(2)]
VERIFIER = [sha256(b"verifier", bytes([n])) for n in range(2)]
MODEL = sha256(b"model")


def document() -> dict[str, Any]:
    return {
        "params": {"epoch_blocks": 90, "profile": "paper"},
        "verifiers": [
            {"consensus_key": CONSENSUS[n].hex(), "verifier_key": VERIFIER[n].hex(), "name": f"v{n}"} for n in range(2)
        ],
        "groups": [{"name": "tiny", "model_hash": MODEL.hex(), "scheme": "llamacpp-mt19937-v1"}],
    }


def build(app_state: object, height: int = 1) -> Genesis:
    return Genesis("genesis-test", height, ((CONSENSUS[0], 10), (CONSENSUS[1], 7)), json.dumps(app_state).encode())


def test_records() -> None:
    state = genesis_state(build(document(), 5))
    params = state.load(Params, PARAMS_KEY)
    assert params is not None and (params.epoch_blocks, params.profile, params.tau) == (90, "paper", 400_000_000)
    member = state.load(ValidatorRecord, validator_key(node_id(CONSENSUS[1])))
    assert member == ValidatorRecord(CONSENSUS[1], VERIFIER[1], 7, "v1"), "powers are CometBFT's"
    assert state.load(ModelGroup, group_key("tiny")) == ModelGroup("tiny", MODEL, "llamacpp-mt19937-v1")
    epoch = state.load(EpochRecord, CURRENT_EPOCH_KEY)
    assert epoch is not None and (epoch.number, epoch.first_height) == (0, 5)


def test_spelling_does_not_matter() -> None:
    spelled = json.dumps(document(), indent=4, sort_keys=True).encode()
    other = Genesis("genesis-test", 1, ((CONSENSUS[1], 7), (CONSENSUS[0], 10)), spelled)
    rows = {k: v for k, v in genesis_state(build(document())).changes() if k != CURRENT_EPOCH_KEY}
    assert rows == {k: v for k, v in genesis_state(other).changes() if k != CURRENT_EPOCH_KEY}


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("params", "epoch_blocks"), 3, "params.epoch_blocks"),
        (("params", "epoch_blocks"), "90", "params.epoch_blocks"),
        (("params", "surprise"), 1, "no such parameter"),
        (("surprise",), 1, "unknown entries: surprise"),
        (("verifiers", 0, "consensus_key"), "00", "64 hexadecimal digits"),
        (("verifiers", 0, "consensus_key"), "00" * 32, "not in CometBFT's validator set"),
        (("verifiers", 1, "verifier_key"), VERIFIER[0].hex(), "named twice"),
        (("verifiers", 0, "name"), "", "1 to 64 bytes"),
        (("verifiers", 0, "name"), "n" * 65, "1 to 64 bytes"),
        (("verifiers", 0, "name"), "\ud800", "1 to 64 bytes"),
        (("verifiers",), [], "2 of CometBFT's validators"),
        (("verifiers",), {}, "must be a list"),
        (("groups", 0), "tiny", "must be an object"),
        (("groups",), document()["groups"] * 2, "named twice"),
    ],
)
def test_a_genesis_that_does_not_fit_is_refused(path: tuple[Any, ...], value: object, complaint: str) -> None:
    raw = document()
    at: Any = raw
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    with pytest.raises(ConfigError, match=complaint):
        genesis_state(build(raw))


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_an_object_is_refused(raw: bytes) -> None:
    with pytest.raises(ConfigError):
        genesis_state(Genesis("genesis-test", 1, ((CONSENSUS[0], 1),), raw))
