"""A plan written to a home: one folder per node with its configuration and keys, the chain's genesis, CometBFT's homes.

Configurations are written at every start, because paths of this machine stand in them; keys, genesis and what a
validator has signed only once. Keys are readable by their owner alone.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from abci_app.config import render_comet_config, render_genesis, render_node_key, render_validator_key, render_validator_state
from localnet import committee
from localnet.aio.home import Home
from localnet.plan import CONFIG, GENESIS, PlannedNode
from localnet.toml_text import dump
from network.aio import files


def write(home: Home) -> None:
    """Everything that the nodes of a home read when they start."""
    genesis = home.path / GENESIS
    if not genesis.exists():
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        seed, manifest = home.identity.seed, home.plan.manifest
        validators = committee.genesis_validators(manifest, seed)
        groups = committee.genesis_groups(manifest, home.identity.hashes)
        files.replace(genesis, render_genesis(manifest.chain_id, now, validators, groups, dict(manifest.params)), 0o644)
    for node in home.plan.nodes:
        write_node(home, node)


def write_node(home: Home, node: PlannedNode) -> None:
    """One node's folder."""
    folder = home.path / node.name
    folder.mkdir(exist_ok=True)
    files.replace(folder / CONFIG, dump(node.config), 0o644)
    for name, keys in node.keys.items():
        _once(folder / name, json.dumps(keys), 0o600)
    if node.role == "validator":
        _comet(home, node, folder)


def _comet(home: Home, node: PlannedNode, folder: Path) -> None:
    """A CometBFT home. The record of what the validator has signed must never be written over."""
    seed = home.identity.seed
    config, data = folder / "comet" / "config", folder / "comet" / "data"
    config.mkdir(parents=True, exist_ok=True)
    data.mkdir(exist_ok=True)
    settings = committee.comet_settings(home.plan, node, folder, seed)
    settings.socket.parent.mkdir(mode=0o700, exist_ok=True)
    files.replace(config / "config.toml", render_comet_config(settings), 0o644)
    _once(config / "genesis.json", (home.path / GENESIS).read_text())
    _once(config / "node_key.json", render_node_key(committee.p2p_key(seed, node.name)), 0o600)
    _once(config / "priv_validator_key.json", render_validator_key(committee.consensus_key(seed, node.name)), 0o600)
    _once(data / "priv_validator_state.json", render_validator_state(), 0o600)


def _once(path: Path, text: str, mode: int = 0o644) -> None:
    if not path.exists():
        files.replace(path, text, mode)
