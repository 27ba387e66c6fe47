"""What the committee's CometBFT homes and genesis are made of, derived from the network's seed. Pure.

The formats belong to `abci_app.config`; this file only says whose keys and addresses go in.
"""

from collections.abc import Mapping
from pathlib import Path

from abci_app.config import CometSettings, GenesisGroup, GenesisValidator, comet_node_id
from localnet.manifest import Manifest
from localnet.plan import Plan, PlannedNode, secret
from network.config import parse_address
from network.crypto import SigningKey


def consensus_key(seed: bytes, name: str) -> SigningKey:
    """The key that a validator signs blocks with."""
    return SigningKey(secret(seed, name, "consensus"))


def p2p_key(seed: bytes, name: str) -> SigningKey:
    """The identity of a validator's p2p connections."""
    return SigningKey(secret(seed, name, "p2p"))


def genesis_validators(manifest: Manifest, seed: bytes) -> list[GenesisValidator]:
    """The initial validator set, all of equal power."""
    return [
        GenesisValidator(
            name,
            consensus_key(seed, name).public,
            SigningKey(secret(seed, f"{name}/verifier", "signing")).public,
        )
        for name in (f"validator-{i}" for i in range(manifest.validators))
    ]


def genesis_groups(manifest: Manifest, hashes: Mapping[str, str]) -> list[GenesisGroup]:
    """The model groups of the initial state."""
    return [GenesisGroup(group.name, bytes.fromhex(hashes[group.model]), group.scheme) for group in manifest.groups]


def comet_settings(network: Plan, node: PlannedNode, folder: Path, seed: bytes) -> CometSettings:
    """One validator's CometBFT: its ports, its application's socket, and everybody else as a persistent peer."""
    peers = tuple(
        f"{comet_node_id(p2p_key(seed, other.name).public)}@{other.config['comet']['p2p']}"
        for other in network.of("validator")
        if other.name != node.name
    )
    return CometSettings(
        moniker=node.name,
        socket=folder / node.config["app"]["socket"],
        rpc=parse_address(node.config["comet"]["rpc"]),
        p2p=parse_address(node.config["comet"]["p2p"]),
        peers=peers,
    )
