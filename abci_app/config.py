"""A validator's settings, and the files that CometBFT wants beside them. Pure: text and mappings in, text out.

Localnet renders a validator's folder with this module; the supervisor reads it back. The settings for small machines and
what they were measured to do: `docs/adr/0012-comet-settings.md`.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from network.config import Address, NodeConfig, Table, known_tables, node_config, parse_address
from network.ids import node_id

COMET_VERSION = "0.38.25"
# What `cometbft version` may begin with: the pinned line, and v0.40 of the line after, which reports itself as 0.39.0.
COMET_LINES = ("0.38.", "0.39.0", "0.40.")
MAX_BLOCK_BYTES = 4 * 1024 * 1024
# sun_path holds 108 bytes with its closing zero; CometBFT and we are given the same absolute path.
MAX_SOCKET_PATH = 107


@dataclass(frozen=True, slots=True)
class StateSync:
    """Where a fresh CometBFT asks for a snapshot, and the header it begins to trust at."""

    rpc_servers: tuple[str, ...]
    trust_height: int
    trust_hash: str
    trust_period: str


@dataclass(frozen=True, slots=True)
class CometConfig:
    """The CometBFT that this validator runs. `priv_validator_laddr` is where it waits for a remote signer, empty without
    one; `prometheus` where it serves its own metrics."""

    binary: Path
    home: Path
    rpc: Address
    p2p: Address
    priv_validator_laddr: str = ""
    statesync: StateSync | None = None
    prometheus: Address | None = None


@dataclass(frozen=True, slots=True)
class VerifierConfig:
    """The sidecar that asks and scores; `abci_app/verifier` reads it."""

    keys: Path
    model_path: Path
    reference: Path
    group: str


@dataclass(frozen=True, slots=True)
class ValidatorConfig:
    """Everything one validator's processes need to know; no verifier where it is not enabled."""

    node: NodeConfig
    comet: CometConfig
    socket: Path
    data: Path
    verifier: VerifierConfig | None
    check_order: bool = True
    snapshot_interval: int = 500
    snapshot_keep: int = 2
    retain_blocks: int = 0

    @property
    def snapshots(self) -> Path:
        """The folder of the snapshots it offers, beside its data."""
        return self.data.parent / "snapshots"


def from_mapping(raw: Mapping[str, object], home: Path) -> ValidatorConfig:
    """The checked settings of a parsed config.toml whose folder is `home`. Raises ConfigError naming the key."""
    known_tables(raw, ("node", "comet", "app", "verifier"))
    node = node_config(raw, home)
    comet = _comet(Table(raw, "comet"), home)
    app = Table(raw, "app")
    socket, data = app.path("socket", home), app.path("data", home)
    if len(str(socket).encode()) > MAX_SOCKET_PATH:
        raise app.bad(
            "socket", f"is {socket}, {len(str(socket).encode())} bytes; a unix socket's path has at most {MAX_SOCKET_PATH}"
        )
    order = app.flag("check_order", True)
    interval, keep = app.integer("snapshot_interval", 500), app.integer("snapshot_keep", 2, low=1, high=10)
    retain = app.integer("retain_blocks", 0)
    app.done()
    verifier = _verifier(Table(raw, "verifier"), home) if "verifier" in raw else None
    return ValidatorConfig(node, comet, socket, data, verifier, order, interval, keep, retain)


def _comet(table: Table, home: Path) -> CometConfig:
    config = CometConfig(
        binary=table.path("binary", home),
        home=table.path("home", home),
        rpc=table.loopback("rpc"),
        p2p=table.loopback("p2p"),
        priv_validator_laddr=_signer(table),
        statesync=_statesync(table.table("statesync")) if table.has("statesync") else None,
        prometheus=table.loopback("prometheus") if table.has("prometheus") else None,
    )
    table.done()
    return config


def _signer(table: Table) -> str:
    """Where CometBFT waits for a remote signer, as CometBFT takes it. It takes whoever dials first: a unix socket, or a
    port that only the signer can reach."""
    value = table.text("priv_validator_laddr", "")
    if value.startswith("tcp://"):
        parse_address(value.removeprefix("tcp://"), "comet.priv_validator_laddr")
    elif value and not value.startswith("unix:///"):
        raise table.bad("priv_validator_laddr", f"is {value!r}, must be tcp://HOST:PORT or unix:///PATH")
    return value


def _statesync(table: Table) -> StateSync:
    servers = tuple(table.url("rpc_servers", value) for value in table.texts("rpc_servers"))
    if len(servers) < 2:
        raise table.bad("rpc_servers", "must name two RPC servers: CometBFT compares what they say")
    config = StateSync(
        rpc_servers=servers,
        trust_height=table.integer("trust_height", low=1, high=2**63 - 1),
        trust_hash=table.digest("trust_hash").hex().upper(),
        trust_period=table.text("trust_period", "168h0m0s"),
    )
    if not re.fullmatch(r"(\d+h)?(\d+m)?(\d+s)?", config.trust_period) or not config.trust_period:
        raise table.bad("trust_period", "must be hours, minutes and seconds as in 168h0m0s")
    table.done()
    return config


def _verifier(table: Table, home: Path) -> VerifierConfig | None:
    enabled = table.flag("enabled")
    config = VerifierConfig(
        keys=table.path("keys", home),
        model_path=table.path("model_path", home),
        reference=table.path("reference", home),
        group=table.text("group"),
    )
    table.done()
    return config if enabled else None


@dataclass(frozen=True, slots=True)
class CometSettings:
    """What differs between the CometBFT homes of one network. Peers are `node id@host:port`."""

    moniker: str
    socket: Path
    rpc: Address
    p2p: Address
    peers: tuple[str, ...] = ()
    block_interval_ms: int = 1000


def render_comet_config(settings: CometSettings) -> str:
    """CometBFT's config.toml: what we set; CometBFT has defaults for the rest."""
    quoted = json.dumps  # a JSON string is a TOML basic string
    return f"""# Written by PlanetServe. Keys that are not here keep CometBFT {COMET_VERSION}'s defaults.
proxy_app = {quoted(f"unix://{settings.socket}")}
moniker = {quoted(settings.moniker)}
abci = "socket"
db_backend = "goleveldb"
log_level = "error"
filter_peers = false

[rpc]
laddr = {quoted(f"tcp://{settings.rpc}")}
max_request_batch_size = 100
max_body_bytes = 1000000

[p2p]
laddr = {quoted(f"tcp://{settings.p2p}")}
persistent_peers = {quoted(",".join(settings.peers))}
pex = false
addr_book_strict = false
allow_duplicate_ip = true
flush_throttle_timeout = "10ms"

[mempool]
size = 20000
cache_size = 200000
max_tx_bytes = 65536

[consensus]
timeout_propose = "500ms"
timeout_propose_delta = "250ms"
timeout_prevote = "500ms"
timeout_precommit = "500ms"
timeout_commit = "{settings.block_interval_ms}ms"
skip_timeout_commit = false
create_empty_blocks = true
peer_gossip_sleep_duration = "10ms"

[tx_index]
indexer = "kv"

# The supervisor sets these two tables from PlanetServe's config.toml, by the environment.
[statesync]
enable = false
rpc_servers = ""
trust_height = 0
trust_hash = ""
trust_period = "168h0m0s"

[instrumentation]
prometheus = false
prometheus_listen_addr = "127.0.0.1:26660"
"""


@dataclass(frozen=True, slots=True)
class GenesisValidator:
    """One member of the initial validator set, and the key its verifier signs with."""

    name: str
    consensus_key: bytes
    verifier_key: bytes
    power: int = 10


@dataclass(frozen=True, slots=True)
class GenesisGroup:
    """One model group of the initial state."""

    name: str
    model_hash: bytes
    scheme: str


def render_genesis(
    chain_id: str,
    genesis_time: str,
    validators: Sequence[GenesisValidator],
    groups: Sequence[GenesisGroup],
    params: Mapping[str, object],
) -> str:
    """CometBFT's genesis document. `genesis_time` is RFC 3339 in UTC; `params` names what differs from the defaults."""
    document = {
        "genesis_time": genesis_time,
        "chain_id": chain_id,
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": str(MAX_BLOCK_BYTES), "max_gas": "-1"},
            "evidence": {"max_age_num_blocks": "100000", "max_age_duration": "172800000000000", "max_bytes": "1048576"},
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": "1"},
            "abci": {"vote_extensions_enable_height": "0"},
        },
        "validators": [
            {
                "address": consensus_address(member.consensus_key),
                "pub_key": _typed("PubKeyEd25519", member.consensus_key),
                "power": str(member.power),
                "name": member.name,
            }
            for member in validators
        ],
        "app_hash": "",
        "app_state": {
            "params": dict(params),
            "verifiers": [
                {
                    "consensus_key": member.consensus_key.hex(),
                    "verifier_key": member.verifier_key.hex(),
                    "name": member.name,
                }
                for member in validators
            ],
            "groups": [{"name": group.name, "model_hash": group.model_hash.hex(), "scheme": group.scheme} for group in groups],
        },
    }
    return json.dumps(document, indent=2) + "\n"


class KeyPair(Protocol):
    """An Ed25519 key pair, as `network.crypto.SigningKey` is one. The supervisor reads this module and needs no crypto."""

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes."""

    @property
    def public(self) -> bytes:
        """The public key."""


def render_node_key(key: KeyPair) -> str:
    """CometBFT's node_key.json: the identity of its p2p connections."""
    return json.dumps({"priv_key": _typed("PrivKeyEd25519", key.seed + key.public)}) + "\n"


def render_validator_key(key: KeyPair) -> str:
    """CometBFT's priv_validator_key.json: the consensus key. Keep it off every other machine."""
    document = {
        "address": consensus_address(key.public),
        "pub_key": _typed("PubKeyEd25519", key.public),
        "priv_key": _typed("PrivKeyEd25519", key.seed + key.public),
    }
    return json.dumps(document, indent=2) + "\n"


def render_validator_state() -> str:
    """CometBFT's priv_validator_state.json of a key that has signed nothing. Never write it over an existing one."""
    return json.dumps({"height": "0", "round": 0, "step": 0}) + "\n"


def comet_node_id(key: bytes) -> str:
    """The p2p id of the holder of this node key's public half."""
    return node_id(key).hex()


def consensus_address(key: bytes) -> str:
    """The address CometBFT shows for a consensus key."""
    return node_id(key).hex().upper()


def _typed(kind: str, raw: bytes) -> dict[str, str]:
    return {"type": f"tendermint/{kind}", "value": base64.b64encode(raw).decode()}
