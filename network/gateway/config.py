"""The gateway's settings: the shared `[node]` table, defaults for what a caller leaves out, and the overlay's path sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from network.config import NodeConfig, Table, known_tables, node_config
from network.guards import GuardRules
from network.inference import MAX_TOKENS
from network.modes import MODE_NAMES, Mode
from network.sealing import PADDINGS, SEALS, Sealing

GUARD_COUNTS = (2, 4)


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """One gateway. `group` is the model of requests that name none; empty means the directory's first."""

    node: NodeConfig
    group: str
    temperature_milli: int
    max_tokens: int
    path_sets: int
    api_keys: Path | None
    certificate: Path | None
    certificate_key: Path | None
    sealing: Sealing
    mode: Mode
    guards: GuardRules


def from_mapping(raw: Mapping[str, object], home: Path) -> GatewayConfig:
    """The checked settings of a parsed config.toml; `home` is its folder. Raises ConfigError naming the key."""
    known_tables(raw, ("node", "gateway", "overlay"))
    gateway, overlay = Table(raw, "gateway", optional=True), Table(raw, "overlay", optional=True)
    config = GatewayConfig(
        node=node_config(raw, home, "guarded"),
        group=gateway.text("group", ""),
        temperature_milli=gateway.integer("temperature_milli", 600, high=2000),
        max_tokens=gateway.integer("max_tokens", 256, low=1, high=MAX_TOKENS),
        path_sets=overlay.integer("path_sets", 2, low=1, high=8),
        api_keys=_optional(gateway, "api_keys", home),
        certificate=_optional(gateway, "tls_certificate", home),
        certificate_key=_optional(gateway, "tls_key", home),
        sealing=Sealing(overlay.text("seal", "auto", choices=SEALS), overlay.text("padding", "pow2", choices=PADDINGS)),
        mode=Mode[overlay.text("mode", "default", choices=MODE_NAMES).upper()],
        guards=GuardRules(_guards(overlay)),
    )
    plain = gateway.flag("plain_http", False)
    gateway.done()
    overlay.done()
    _check_port(gateway, config, plain)
    return config


def _optional(table: Table, key: str, home: Path) -> Path | None:
    return table.path(key, home) if table.has(key) else None


def _check_port(table: Table, config: GatewayConfig, plain: bool) -> None:
    """Off loopback a gateway takes nobody without a key, and says prompts in clear only when told to."""
    if (config.certificate is None) != (config.certificate_key is None):
        raise table.bad("tls_certificate", "and gateway.tls_key go together")
    listen = config.node.listen
    if listen.is_loopback:
        return
    if config.api_keys is None:
        raise table.bad(
            "api_keys",
            f"is missing: on {listen} anybody could ask in your name. Make a key by planetserve keys api FILE NAME and set "
            "gateway.api_keys to FILE, or listen on 127.0.0.1",
        )
    if config.certificate is None and not plain:
        raise table.bad(
            "tls_certificate",
            f"is missing: on {listen} prompts would pass your network in clear. Set gateway.tls_certificate and tls_key, or "
            "gateway.plain_http = true where the way to this port is protected otherwise",
        )


def _guards(overlay: Table) -> int:
    guards = overlay.integer("guards", GuardRules().count)
    if guards not in GUARD_COUNTS:
        raise overlay.bad("guards", f"is {guards}, must be one of {', '.join(map(str, GUARD_COUNTS))}")
    return guards
