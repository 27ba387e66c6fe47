"""A relay's settings: the `[node]` table that every role shares, and nothing more."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from network.config import NodeConfig, known_tables, node_config


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """One relay."""

    node: NodeConfig


def from_mapping(raw: Mapping[str, object], home: Path) -> RelayConfig:
    """The checked settings of a parsed config.toml; `home` is its folder. Raises ConfigError naming the key."""
    known_tables(raw, ("node",))
    return RelayConfig(node_config(raw, home, "public"))
