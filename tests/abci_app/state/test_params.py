"""Parameters: the defaults hold, and each rule refuses what it should."""

from dataclasses import replace

import pytest

from abci_app.state.params import DEFAULT, params_from_mapping, validate
from network.chain_records import Params
from network.codec import decode, encode
from network.errors import ConfigError


def test_defaults_are_valid_and_travel() -> None:
    assert validate(DEFAULT) == DEFAULT == params_from_mapping({})
    assert decode(Params, encode(DEFAULT)) == DEFAULT


@pytest.mark.parametrize(
    "change",
    [
        {"vrf_end": 0},
        {"commit_end": 5},
        {"reveal_end": 61},
        {"slots": 0},
        {"slots": 65},
        {"alpha": 400_000_001},
        {"assignment": 0},
        {"gamma_inverse": 0},
        {"window": 65},
        {"evidence_limit": 0},
        {"lifetime_epochs": 0},
        {"directory_blocks": 0},
        {"profile": "generous"},
        {"max_nodes": 4097},
        {"threshold": -1},
        {"epoch_blocks": 1_000_001},
        {"tx_quota": 7},
        {"verifier_quota": 511},
        {"registration_work": 33},
        {"registrations_per_block": 0},
        {"voting_blocks": 4},
        {"voting_blocks": 10_000_001},
        {"evidence_blocks": 0},
        {"max_block_bytes": (1 << 20) - 1},
        {"max_block_bytes": (1 << 24) + 1},
        {"directory_blocks": 2**63},
    ],
)
def test_each_rule_names_its_field(change: dict[str, int | str]) -> None:
    with pytest.raises(ConfigError, match="params\\."):
        validate(replace(DEFAULT, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("raw", [{"window": True}, {"window": 5.0}, {"profile": 1}, {"windows": 5}])
def test_wrong_types_and_names_are_refused(raw: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        params_from_mapping(raw)
