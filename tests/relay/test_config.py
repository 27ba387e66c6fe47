"""A relay's settings."""

from pathlib import Path
from typing import Any

import pytest

from network.errors import ConfigError
from relay.config import from_mapping
from relay.limits import Limits

NODE = {
    "name": "relay-03",
    "chain_id": "test",
    "listen": "127.0.0.1:8803",
    "metrics": "127.0.0.1:9803",
    "family": "family-03",
    "rpc": ["http://127.0.0.1:26657"],
    "genesis": "../genesis.json",
    "keys": "keys.json",
}


def test_a_relay_reads_the_common_table(tmp_path: Path) -> None:
    config = from_mapping({"node": NODE}, tmp_path)
    assert config.node.name == "relay-03" and str(config.node.listen) == "127.0.0.1:8803"
    assert config.node.keys == tmp_path / "keys.json"


@pytest.mark.parametrize(
    "wrong", [{}, {"node": {**NODE, "listen": "0.0.0.0:1"}}, {"node": NODE, "engine": {}}, {"node": {"name": 3}}]
)
def test_what_cannot_be_used_stops_the_start(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        from_mapping(wrong, tmp_path)


def test_limits_are_read_and_an_impossible_one_stops_the_start(tmp_path: Path) -> None:
    assert from_mapping({"node": NODE}, tmp_path).limits == Limits()
    assert from_mapping({"node": NODE, "limits": {"circuits": 7}}, tmp_path).limits == Limits(circuits=7)
    with pytest.raises(ConfigError, match="puzzle_bits"):
        from_mapping({"node": NODE, "limits": {"puzzle_bits": 0}}, tmp_path)
