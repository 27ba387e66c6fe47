"""The gateway's settings."""

from pathlib import Path
from typing import Any

import pytest

from network.errors import ConfigError
from network.gateway.config import from_mapping
from network.modes import Mode
from network.sealing import Sealing

NODE = {
    "name": "gateway", "chain_id": "c", "listen": "127.0.0.1:8700", "metrics": "127.0.0.1:9700", "rpc": ["http://127.0.0.1:1"],
    "genesis": "../genesis.json", "keys": "keys.json",
}  # fmt: skip


def test_defaults_and_values() -> None:
    plain = from_mapping({"node": NODE}, Path("/net/gateway"))
    assert plain.sealing == Sealing("auto", "pow2") and plain.mode is Mode.DEFAULT
    assert (plain.group, plain.temperature_milli, plain.max_tokens, plain.path_sets) == ("", 600, 256, 2)
    full = {
        "node": NODE,
        "gateway": {"group": "m", "temperature_milli": 0, "max_tokens": 8},
        "overlay": {"path_sets": 3, "guards": 2, "seal": "hybrid", "padding": "padme", "mode": "strict"},
    }
    config = from_mapping(full, Path("/net/gateway"))
    assert (config.group, config.temperature_milli, config.max_tokens, config.path_sets) == ("m", 0, 8, 3)
    assert config.sealing == Sealing("hybrid", "padme") and config.mode is Mode.STRICT
    assert (plain.guards.count, config.guards.count) == (4, 2)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"gateway": {"temperature_milli": 2001}}, "gateway.temperature_milli"),
        ({"gateway": {"max_tokens": 0}}, "gateway.max_tokens"),
        ({"gateway": {"colour": 1}}, "gateway.colour"),
        ({"overlay": {"path_sets": 0}}, "overlay.path_sets"),
        ({"overlay": {"guards": 3}}, "overlay.guards"),
        ({"overlay": {"seal": "plain"}}, "overlay.seal"),
        ({"overlay": {"padding": "none"}}, "overlay.padding"),
        ({"relay": {}}, r"\[relay\]"),
        ({"gateway": {"tls_key": "k.pem"}}, "gateway.tls_certificate and gateway.tls_key"),
        ({"node": {**NODE, "listen": "0.0.0.0:8700"}}, "gateway.api_keys is missing"),
        ({"node": {**NODE, "listen": "192.0.2.1:8700"}, "gateway": {"api_keys": "k"}}, "gateway.tls_certificate is missing"),
        ({"node": {**NODE, "metrics": "0.0.0.0:9700"}}, "node.metrics .* loopback only"),
        ({"node": {**NODE, "advertise": "192.0.2.1:8700"}}, "node.advertise"),
    ],
)
def test_a_bad_value_names_its_key(extra: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_mapping({"node": NODE, **extra}, Path("/net/gateway"))


def test_off_loopback_a_gateway_has_keys_and_says_how_prompts_reach_it() -> None:
    node = {**NODE, "listen": "192.0.2.1:8700"}
    sealed = {"api_keys": "keys", "tls_certificate": "c.pem", "tls_key": "k.pem"}
    config = from_mapping({"node": node, "gateway": sealed}, Path("/net/gateway"))
    assert config.api_keys == Path("/net/gateway/keys") and config.certificate == Path("/net/gateway/c.pem")
    assert from_mapping({"node": node, "gateway": {"api_keys": "keys", "plain_http": True}}, Path("/net")).certificate is None
