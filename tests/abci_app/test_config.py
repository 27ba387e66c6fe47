"""A validator's settings: what is accepted, what is refused by name, and the files CometBFT reads."""

import base64
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from abci_app.config import (
    CometSettings,
    GenesisGroup,
    GenesisValidator,
    StateSync,
    comet_node_id,
    consensus_address,
    from_mapping,
    render_comet_config,
    render_genesis,
    render_node_key,
    render_validator_key,
    render_validator_state,
)
from abci_app.state.genesis import Genesis, genesis_state
from network.config import Address
from network.crypto import SigningKey, sha256
from network.errors import ConfigError

HOME = Path("/srv/net/validator-0")
STATE_SYNC = {"rpc_servers": ["http://127.0.0.1:1", "http://127.0.0.1:2"], "trust_height": 7, "trust_hash": "ab" * 32}


def raw() -> dict[str, Any]:
    return {
        "node": {
            "name": "validator-0",
            "chain_id": "c",
            "listen": "127.0.0.1:26657",
            "metrics": "127.0.0.1:26660",
            "rpc": ["http://127.0.0.1:26657"],
            "genesis": "../genesis.json",
            "keys": "keys.json",
        },
        "comet": {"binary": "/opt/cometbft", "home": "comet", "rpc": "127.0.0.1:26657", "p2p": "127.0.0.1:26656"},
        "app": {"socket": "app.sock", "data": "app.db"},
        "verifier": {
            "enabled": True,
            "keys": "verifier_keys.json",
            "model_path": "/m.gguf",
            "reference": "/r.npy",
            "group": "tiny",
        },
    }


def test_paths_are_relative_to_the_file() -> None:
    config = from_mapping(raw(), HOME)
    assert config.socket == HOME / "app.sock" and config.comet.binary == Path("/opt/cometbft")
    assert config.node.genesis == HOME.parent / "genesis.json"
    assert config.verifier is not None and config.verifier.keys == HOME / "verifier_keys.json"


def test_no_verifier() -> None:
    without = raw()
    del without["verifier"]
    assert from_mapping(without, HOME).verifier is None
    assert from_mapping({**raw(), "verifier": {**raw()["verifier"], "enabled": False}}, HOME).verifier is None


def test_optional_keys_have_their_defaults() -> None:
    config = from_mapping(raw(), HOME)
    assert (config.check_order, config.snapshot_interval, config.snapshot_keep, config.retain_blocks) == (True, 500, 2, 0)
    assert config.snapshots == HOME / "snapshots"
    assert (config.comet.priv_validator_laddr, config.comet.statesync, config.comet.prometheus) == ("", None, None)


def test_optional_keys_are_read() -> None:
    document = raw()
    document["app"] |= {"check_order": False, "snapshot_interval": 0, "snapshot_keep": 3, "retain_blocks": 9}
    document["comet"] |= {"priv_validator_laddr": "unix:///run/signer", "statesync": STATE_SYNC, "prometheus": "127.0.0.1:5"}
    config = from_mapping(document, HOME)
    assert (config.check_order, config.snapshot_interval, config.snapshot_keep, config.retain_blocks) == (False, 0, 3, 9)
    assert config.comet.priv_validator_laddr == "unix:///run/signer" and config.comet.prometheus == Address("127.0.0.1", 5)
    servers = ("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert config.comet.statesync == StateSync(servers, 7, "AB" * 32, "168h0m0s")


@pytest.mark.parametrize(
    ("table", "key", "value", "complaint"),
    [
        ("comet", "rpc", "0.0.0.0:26657", "comet.rpc"),
        ("comet", "p2p", "nowhere", "comet.p2p"),
        ("comet", "binary", 1, "comet.binary"),
        ("comet", "surprise", 1, "comet.surprise"),
        ("app", "socket", "x" * 120, "at most 107"),
        ("app", "surprise", 1, "app.surprise"),
        ("verifier", "group", None, "verifier.group"),
        ("surprise", "key", 1, "surprise"),
        ("app", "check_order", 1, "app.check_order"),
        ("app", "snapshot_keep", 0, "app.snapshot_keep"),
        ("app", "retain_blocks", -1, "app.retain_blocks"),
        ("comet", "priv_validator_laddr", "127.0.0.1:26659", "comet.priv_validator_laddr"),
        ("comet", "prometheus", "0.0.0.0:26660", "comet.prometheus"),
        ("comet", "statesync", {"rpc_servers": ["http://127.0.0.1:1"]}, "comet.statesync.rpc_servers"),
        ("comet", "statesync", {**STATE_SYNC, "trust_height": 0}, "comet.statesync.trust_height"),
        ("comet", "statesync", {**STATE_SYNC, "trust_hash": "ab"}, "comet.statesync.trust_hash"),
        ("comet", "statesync", {**STATE_SYNC, "trust_period": "a week"}, "comet.statesync.trust_period"),
        ("comet", "statesync", {**STATE_SYNC, "surprise": 1}, "comet.statesync.surprise"),
    ],
)
def test_a_bad_value_is_named(table: str, key: str, value: object, complaint: str) -> None:
    document = raw()
    document.setdefault(table, {})[key] = value
    if value is None:
        del document[table][key]
    with pytest.raises(ConfigError, match=complaint):
        from_mapping(document, HOME)


def test_comet_config_is_toml_that_says_what_we_mean() -> None:
    settings = CometSettings(
        'a "quoted" name', Path("/run/a b/s"), Address("127.0.0.1", 1), Address("127.0.0.1", 2), ("id@127.0.0.1:4", "x@y:5")
    )
    config = tomllib.loads(render_comet_config(settings))
    assert config["proxy_app"] == "unix:///run/a b/s" and config["moniker"] == 'a "quoted" name'
    assert config["p2p"]["persistent_peers"] == "id@127.0.0.1:4,x@y:5" and config["p2p"]["laddr"] == "tcp://127.0.0.1:2"
    assert config["consensus"]["timeout_commit"] == "1000ms" and config["log_level"] == "error"


def test_keys_are_as_cometbft_writes_them() -> None:
    """The identity of a known seed: RFC 8032's first test vector."""
    key = SigningKey(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    document = json.loads(render_validator_key(key))
    assert base64.b64decode(document["priv_key"]["value"]) == key.seed + key.public
    assert document["pub_key"] == {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(key.public).decode()}
    assert document["address"] == consensus_address(key.public) == "21FE31DFA154A261626BF854046FD2271B7BED4B"
    assert json.loads(render_node_key(key))["priv_key"]["type"] == "tendermint/PrivKeyEd25519"
    assert comet_node_id(key.public) == "21fe31dfa154a261626bf854046fd2271b7bed4b"
    assert json.loads(render_validator_state()) == {"height": "0", "round": 0, "step": 0}


def test_the_rendered_genesis_is_one_the_state_machine_takes() -> None:
    members = [GenesisValidator(f"v{n}", sha256(b"c", bytes([n])), sha256(b"v", bytes([n]))) for n in range(4)]
    group = GenesisGroup("tiny", sha256(b"m"), "llamacpp-mt19937-v1")
    document = json.loads(render_genesis("c", "2026-01-01T00:00:00Z", members, [group], {"epoch_blocks": 60}))
    validators = tuple((base64.b64decode(v["pub_key"]["value"]), int(v["power"])) for v in document["validators"])
    state = genesis_state(Genesis("c", 1, validators, json.dumps(document["app_state"]).encode()))
    assert sum(1 for _ in state.scan(b"\x0d")) == 4
