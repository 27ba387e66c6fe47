"""From a manifest to nodes: names, ports, keys and each role's configuration, computed and nothing else.

Pure: the network's random seed is an argument, and every key is derived from it and the node's name, so the same
seed gives the same network. The schema of each `config.toml` belongs to the role that reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localnet.manifest import Manifest, ModelNode, Ports
from network.crypto import sha256
from network.errors import ConfigError

HOST = "127.0.0.1"
METRICS_SHIFT, ENGINE_SHIFT = 1000, 50
EPHEMERAL_PORTS = 32768  # the kernel lends the ports from here on to clients
COMET_STEP, COMET_RPC, COMET_OPS = 10, 1, 4
TRUSTING_PERIOD_S = 10 * 365 * 24 * 3600  # one machine holds every key, and a home may lie unused for long
CONFIG = "config.toml"
GENESIS = "genesis.json"


@dataclass(frozen=True, slots=True)
class Files:
    """Files that the nodes use. `models` and `hashes` are by variant (`F16`, `Q4_0`); `sockets` is where the validators'
    unix sockets go when their own folders have too long a path for one, else empty."""

    cometbft: str
    models: Mapping[str, str]
    hashes: Mapping[str, str]
    reference: str
    sockets: str = ""


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """One node: what it is, where it listens, how it starts, and what its folder holds."""

    name: str
    role: str
    address: str
    metrics: str
    ports: tuple[int, ...]
    module: str
    config: Mapping[str, Any]
    keys: Mapping[str, Mapping[str, str]]
    honest: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole network, its nodes in the order in which they start."""

    manifest: Manifest
    nodes: tuple[PlannedNode, ...]

    def of(self, role: str) -> tuple[PlannedNode, ...]:
        """The nodes of one role."""
        return tuple(node for node in self.nodes if node.role == role)

    @property
    def rpc(self) -> tuple[str, ...]:
        """Addresses of the validators' CometBFT RPC."""
        return tuple(node.address for node in self.of("validator"))

    @property
    def gateway(self) -> PlannedNode:
        """The gateway."""
        return self.of("gateway")[0]


def ports(manifest: Manifest, port_base: int | None) -> Ports:
    """The manifest's ports, or all of them moved to `port_base` .. `port_base` + 1299 with the gateway at the base."""
    if port_base is None or port_base == manifest.ports.gateway:
        return manifest.ports
    return Ports(gateway=port_base, relay=port_base + 100, model=port_base + 200, comet=port_base + 400)


def secret(seed: bytes, name: str, use: str) -> bytes:
    """A node's 32-byte secret for one use, derived from the network's seed."""
    return sha256(b"planetserve/localnet/1\0", seed, name.encode(), b"\0", use.encode())


def plan(manifest: Manifest, seed: bytes, files: Files, port_base: int | None = None) -> Plan:
    """Every node of the network. Raises ConfigError when two nodes would share a port or a port is out of range."""
    at = ports(manifest, port_base)
    rpc = [f"http://{HOST}:{at.comet + COMET_STEP * i + COMET_RPC}" for i in range(manifest.validators)]
    nodes = [_validator(manifest, i, at, seed, files) for i in range(manifest.validators)]
    nodes += [_relay(manifest, i, at, seed, rpc) for i in range(manifest.relays)]
    nodes += [_model(manifest, i, node, at, seed, rpc, files) for i, node in enumerate(manifest.model_nodes)]
    nodes.append(_gateway(manifest, at, seed, rpc))
    taken: dict[int, str] = {}
    for node in nodes:
        for port in node.ports:
            if port in taken:
                raise ConfigError(f"{node.name} and {taken[port]} would both listen on port {port}")
            if not 1024 <= port < EPHEMERAL_PORTS:
                raise ConfigError(
                    f"{node.name} would listen on port {port}, outside 1024..{EPHEMERAL_PORTS - 1}; "
                    f"a port base of 1024..{EPHEMERAL_PORTS - 1300} keeps every port inside"
                )
            taken[port] = node.name
    return Plan(manifest, tuple(nodes))


def _common(manifest: Manifest, name: str, port: int, metrics: int, family: str, rpc: list[str], turn: int) -> dict[str, Any]:
    """The [node] table. `turn` spreads the nodes over the validators' RPC servers."""
    turn %= max(len(rpc), 1)
    return {
        "name": name,
        "chain_id": manifest.chain_id,
        "listen": f"{HOST}:{port}",
        "metrics": f"{HOST}:{metrics}",
        "family": family,
        "rpc": rpc[turn:] + rpc[:turn],
        "genesis": f"../{GENESIS}",
        "keys": "keys.json",
        "log_level": "info",
        "tls": manifest.tls,
        "trusting_period_s": TRUSTING_PERIOD_S,
    }


def _keys(seed: bytes, name: str) -> dict[str, str]:
    return {"signing_seed": secret(seed, name, "signing").hex(), "onion_private": secret(seed, name, "onion").hex()}


def _validator(manifest: Manifest, i: int, at: Ports, seed: bytes, files: Files) -> PlannedNode:
    name = f"validator-{i}"
    p2p = at.comet + COMET_STEP * i
    rpc, ops = p2p + COMET_RPC, p2p + COMET_OPS
    others = [f"http://{HOST}:{at.comet + COMET_STEP * j + COMET_RPC}" for j in range(manifest.validators)]
    group = manifest.groups[0]
    config = {
        "node": _common(manifest, name, rpc, ops, f"committee-{i}", others, i),
        "comet": {"binary": files.cometbft, "home": "comet", "rpc": f"{HOST}:{rpc}", "p2p": f"{HOST}:{p2p}"},
        "app": {"socket": f"{files.sockets}/{name}.sock" if files.sockets else "app.sock", "data": "app.db"},
        "verifier": {
            "enabled": True,
            "keys": "verifier_keys.json",
            "model_path": files.models[group.model],
            "reference": files.reference,
            "group": group.name,
        },
    }
    keys = {"keys.json": _keys(seed, name), "verifier_keys.json": _keys(seed, f"{name}/verifier")}
    return PlannedNode(name, "validator", f"{HOST}:{rpc}", f"{HOST}:{ops}", (p2p, rpc, ops), "abci_app", config, keys)


def _relay(manifest: Manifest, i: int, at: Ports, seed: bytes, rpc: list[str]) -> PlannedNode:
    name, port = f"relay-{i:02d}", at.relay + i
    metrics = port + METRICS_SHIFT
    config = {"node": _common(manifest, name, port, metrics, f"family-{i % manifest.families:02d}", rpc, i)}
    keys = {"keys.json": _keys(seed, name)}
    return PlannedNode(name, "relay", f"{HOST}:{port}", f"{HOST}:{metrics}", (port, metrics), "relay", config, keys)


def _model(manifest: Manifest, i: int, node: ModelNode, at: Ports, seed: bytes, rpc: list[str], files: Files) -> PlannedNode:
    port = at.model + i
    metrics, engine = port + METRICS_SHIFT, port + ENGINE_SHIFT
    claimed = next(group for group in manifest.groups if group.name == node.group)
    config = {
        "node": _common(manifest, node.name, port, metrics, f"operator-{node.name}", rpc, i),
        "engine": {
            "kind": "embedded",
            "group": node.group,
            "model_path": files.models[node.engine_model],
            "model_hash": files.hashes[claimed.model],
            "address": f"{HOST}:{engine}",
            "threads": 1,
            "context": 4096,
            "slots": 2,
            "url": "",
        },
        "routing": {"policy": node.policy},
    }
    address, listens = f"{HOST}:{port}", (port, metrics, engine)
    keys = {"keys.json": _keys(seed, node.name)}
    return PlannedNode(node.name, "model", address, f"{HOST}:{metrics}", listens, "serving_node", config, keys, node.honest)


def _gateway(manifest: Manifest, at: Ports, seed: bytes, rpc: list[str]) -> PlannedNode:
    name, port = manifest.gateway, at.gateway
    metrics = port + METRICS_SHIFT
    config = {
        "node": _common(manifest, name, port, metrics, "user", rpc, 0),
        "gateway": {"group": "", "temperature_milli": 600, "max_tokens": 256},
        "overlay": {"path_sets": 2},
    }
    address, keys = f"{HOST}:{port}", {"keys.json": _keys(seed, name)}
    return PlannedNode(name, "gateway", address, f"{HOST}:{metrics}", (port, metrics), "network.gateway", config, keys)
