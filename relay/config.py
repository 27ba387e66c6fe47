"""A relay's settings: the `[node]` table that every role shares, and `[limits]`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from network.config import NodeConfig, known_tables, node_config
from relay.limits import Limits, limits_of


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """One relay."""

    node: NodeConfig
    limits: Limits


def from_mapping(raw: Mapping[str, object], home: Path) -> RelayConfig:
    """The checked settings of a parsed config.toml; `home` is its folder. Raises ConfigError naming the key."""
    known_tables(raw, ("node", "limits"))
    return RelayConfig(node_config(raw, home, "public"), limits_of(raw))
