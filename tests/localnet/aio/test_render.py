"""What is rendered is what the roles read: every configuration passes its role's own checks."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import abci_app.config
import network.gateway.config
import relay.config
import serving_node.config
from localnet.aio import render
from localnet.aio.home import Home
from network.light_json import genesis_trust

READERS: dict[str, Callable[..., Any]] = {
    "validator": abci_app.config.from_mapping,
    "relay": relay.config.from_mapping,
    "model": serving_node.config.from_mapping,
    "gateway": network.gateway.config.from_mapping,
}


def test_every_role_accepts_its_configuration(home: Home) -> None:
    render.write(home)
    for node in home.plan.nodes:
        folder = home.path / node.name
        config = READERS[node.role](tomllib.loads((folder / "config.toml").read_text()), folder)
        assert config.node.name == node.name and str(config.node.metrics) == node.metrics
        assert config.node.genesis == home.path / "genesis.json"


def test_the_genesis_is_a_trust_root_and_the_same_in_every_comet_home(home: Home) -> None:
    render.write(home)
    trust = genesis_trust((home.path / "genesis.json").read_bytes())
    assert trust.chain_id == home.plan.manifest.chain_id
    for node in home.plan.of("validator"):
        config = home.path / node.name / "comet" / "config"
        assert (config / "genesis.json").read_bytes() == (home.path / "genesis.json").read_bytes()
        assert tomllib.loads((config / "config.toml").read_text())["p2p"]["persistent_peers"].count("@") == 3


def test_secrets_are_their_owners_alone(home: Home) -> None:
    render.write(home)
    secret = [path for path in home.path.rglob("*key*.json")]
    assert len(secret) == 4 * 4 + 16 + 4 + 1
    assert all(path.stat().st_mode & 0o077 == 0 for path in secret)


def test_what_was_signed_and_who_somebody_is_are_never_written_over(home: Home) -> None:
    render.write(home)
    state = home.path / "validator-0" / "comet" / "data" / "priv_validator_state.json"
    state.write_text(json.dumps({"height": "7", "round": 0, "step": 3}))
    kept = {path: path.read_bytes() for path in (state, home.path / "genesis.json", home.path / "relay-00" / "keys.json")}
    config = home.path / "relay-00" / "config.toml"
    config.write_text("stale")
    render.write(home)
    assert {path: path.read_bytes() for path in kept} == kept
    assert config.read_text() != "stale"
    assert not list(Path(home.path).rglob(".*partial*"))
