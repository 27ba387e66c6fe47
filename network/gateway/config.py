"""The gateway's settings: the shared `[node]` table, defaults for what a caller leaves out, and the overlay's path sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from network.config import NodeConfig, Table, known_tables, node_config
from network.inference import MAX_TOKENS
from network.sealing import PADDINGS, SEALS, Sealing


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """One gateway. `group` is the model of requests that name none; empty means the directory's first."""

    node: NodeConfig
    group: str
    temperature_milli: int
    max_tokens: int
    path_sets: int
    sealing: Sealing


def from_mapping(raw: Mapping[str, object], home: Path) -> GatewayConfig:
    """The checked settings of a parsed config.toml; `home` is its folder. Raises ConfigError naming the key."""
    known_tables(raw, ("node", "gateway", "overlay"))
    gateway, overlay = Table(raw, "gateway", optional=True), Table(raw, "overlay", optional=True)
    config = GatewayConfig(
        node=node_config(raw, home),
        group=gateway.text("group", ""),
        temperature_milli=gateway.integer("temperature_milli", 600, high=2000),
        max_tokens=gateway.integer("max_tokens", 256, low=1, high=MAX_TOKENS),
        path_sets=overlay.integer("path_sets", 2, low=1, high=8),
        sealing=Sealing(overlay.text("seal", "auto", choices=SEALS), overlay.text("padding", "pow2", choices=PADDINGS)),
    )
    gateway.done()
    overlay.done()
    return config
