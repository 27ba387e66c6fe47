"""The gateway's settings."""

from pathlib import Path
from typing import Any

import pytest

from network.errors import ConfigError
from network.gateway.config import from_mapping
from network.sealing import Sealing

NODE = {
    "name": "gateway", "chain_id": "c", "listen": "127.0.0.1:8700", "metrics": "127.0.0.1:9700", "rpc": ["http://127.0.0.1:1"],
    "genesis": "../genesis.json", "keys": "keys.json",
}  # fmt: skip


def test_defaults_and_values() -> None:
    plain = from_mapping({"node": NODE}, Path("/net/gateway"))
    assert plain.sealing == Sealing("auto", "pow2")
    assert (plain.group, plain.temperature_milli, plain.max_tokens, plain.path_sets) == ("", 600, 256, 2)
    full = {
        "node": NODE,
        "gateway": {"group": "m", "temperature_milli": 0, "max_tokens": 8},
        "overlay": {"path_sets": 3, "seal": "hybrid", "padding": "padme"},
    }
    config = from_mapping(full, Path("/net/gateway"))
    assert (config.group, config.temperature_milli, config.max_tokens, config.path_sets) == ("m", 0, 8, 3)
    assert config.sealing == Sealing("hybrid", "padme")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"gateway": {"temperature_milli": 2001}}, "gateway.temperature_milli"),
        ({"gateway": {"max_tokens": 0}}, "gateway.max_tokens"),
        ({"gateway": {"colour": 1}}, "gateway.colour"),
        ({"overlay": {"path_sets": 0}}, "overlay.path_sets"),
        ({"overlay": {"seal": "plain"}}, "overlay.seal"),
        ({"overlay": {"padding": "none"}}, "overlay.padding"),
        ({"relay": {}}, r"\[relay\]"),
    ],
)
def test_a_bad_value_names_its_key(extra: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_mapping({"node": NODE, **extra}, Path("/net/gateway"))
