"""A network as data: the typed form of a manifest file, and every check that needs no machine to look at.

Keys are checked strictly: an unknown or missing key, a wrong type or an impossible count is a ConfigError that
names the key. `localnet/README.md` describes the file.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from network.config import TLS_RULES
from network.errors import ConfigError

POLICIES = ("none", "round-robin", "tree", "paper", "ttft")
MOST_VALIDATORS, MOST_RELAYS, MOST_MODEL_NODES = 16, 100, 50


@dataclass(frozen=True, slots=True)
class Ports:
    """Where each kind of node begins to count its ports."""

    gateway: int
    relay: int
    model: int
    comet: int


@dataclass(frozen=True, slots=True)
class ModelGroup:
    """A model that nodes may serve: its name on the ledger, its file variant, its noise scheme."""

    name: str
    model: str
    scheme: str


@dataclass(frozen=True, slots=True)
class ModelNode:
    """One model node. `engine_model` is the file it really loads; anything but the group's makes it dishonest."""

    name: str
    group: str
    engine_model: str
    policy: str
    honest: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole network."""

    chain_id: str
    ports: Ports
    params: Mapping[str, int | str]
    groups: tuple[ModelGroup, ...]
    validators: int
    relays: int
    families: int
    model_nodes: tuple[ModelNode, ...]
    gateway: str
    tls: str


def parse(text: str) -> Manifest:
    """The manifest that a TOML text describes. Raises ConfigError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the manifest is not TOML: {error}") from error
    top = _Table(raw, "")
    groups = tuple(_group(table) for table in top.tables("group"))
    validators, relays = top.table("validators"), top.table("relays")
    gateway = top.table("gateway")
    manifest = Manifest(
        chain_id=top.text("chain_id"),
        ports=_ports(top.table("ports")),
        params=_params(top.mapping("params")),
        groups=groups,
        validators=validators.count("count", 1, MOST_VALIDATORS),
        relays=relays.count("count", 0, MOST_RELAYS),
        families=relays.count("families", 1, MOST_RELAYS),
        model_nodes=tuple(_model_node(table, groups) for table in top.tables("model_node")),
        gateway=gateway.text("name"),
        tls=top.text("tls", TLS_RULES[0]),
    )
    for table in (top, validators, relays, gateway):
        table.finish()
    _check(manifest)
    return manifest


def _ports(table: "_Table") -> Ports:
    ports = Ports(*(table.count(key, 1024, 65535) for key in ("gateway", "relay", "model", "comet")))
    table.finish()
    return ports


def _params(raw: Mapping[str, Any]) -> Mapping[str, int | str]:
    for key, value in raw.items():
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ConfigError(f"params.{key} must be an integer or a word, not {value!r}")
    return dict(raw)


def _group(table: "_Table") -> ModelGroup:
    group = ModelGroup(table.text("name"), table.text("model"), table.text("scheme"))
    table.finish()
    return group


def _model_node(table: "_Table", groups: tuple[ModelGroup, ...]) -> ModelNode:
    name, group = table.text("name"), table.text("group")
    claimed = {entry.name: entry.model for entry in groups}
    if group not in claimed:
        raise ConfigError(f"{table.where}group: no [[group]] is named {group!r}")
    engine, routing = table.table("engine", {}), table.table("routing", {})
    served = engine.text("model", claimed[group])
    policy = routing.text("policy", "ttft")
    if policy not in POLICIES:
        raise ConfigError(f"{table.where}routing.policy: {policy!r} is none of {', '.join(POLICIES)}")
    for part in (table, engine, routing):
        part.finish()
    return ModelNode(name, group, served, policy, served == claimed[group])


def _check(manifest: Manifest) -> None:
    if manifest.tls not in TLS_RULES:
        raise ConfigError(f"tls is {manifest.tls!r}, none of {', '.join(TLS_RULES)}")
    names = [node.name for node in manifest.model_nodes] + [manifest.gateway]
    names += [f"validator-{i}" for i in range(manifest.validators)] + [f"relay-{i:02d}" for i in range(manifest.relays)]
    if len(set(names)) != len(names):
        raise ConfigError("two nodes of the manifest have the same name")
    for name in names:
        if not name.replace("-", "").isalnum() or not name.isascii() or len(name) > 64:
            raise ConfigError(f"the node name {name!r} is not made of letters, digits and hyphens")
    if len(manifest.model_nodes) > MOST_MODEL_NODES:
        raise ConfigError(f"{len(manifest.model_nodes)} model nodes are more than the {MOST_MODEL_NODES} that have ports")
    if len({group.name for group in manifest.groups}) != len(manifest.groups):
        raise ConfigError("two groups of the manifest have the same name")


class _Table:
    """One TOML table, read key by key; `finish` refuses what nobody read."""

    def __init__(self, raw: Mapping[str, Any], where: str) -> None:
        self._raw, self.where, self._read = raw, where, set[str]()

    def _take(self, key: str, default: object = None) -> object:
        self._read.add(key)
        value = self._raw.get(key, default)
        if value is None:
            raise ConfigError(f"{self.where}{key} is missing")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self._take(key, default)
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{self.where}{key} must be a word, not {value!r}")
        return value

    def count(self, key: str, least: int, most: int) -> int:
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ConfigError(f"{self.where}{key} must be an integer in {least}..{most}, not {value!r}")
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self._take(key, {})
        if not isinstance(value, dict):
            raise ConfigError(f"{self.where}{key} must be a table")
        return value

    def table(self, key: str, default: Mapping[str, Any] | None = None) -> "_Table":
        value = self._take(key, default)
        if not isinstance(value, Mapping):
            raise ConfigError(f"{self.where}{key} must be a table")
        return _Table(value, f"{self.where}{key}.")

    def tables(self, key: str) -> list["_Table"]:
        value = self._take(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise ConfigError(f"{self.where}{key} must be an array of tables")
        return [_Table(item, f"{self.where}{key}[{i}].") for i, item in enumerate(value)]

    def finish(self) -> None:
        for key in self._raw:
            if key not in self._read:
                raise ConfigError(f"{self.where}{key} is not a key of a manifest")
