"""Reads a validator's config.toml and its chain's genesis document from disk."""

import json
import tomllib
from pathlib import Path

from abci_app.config import ValidatorConfig, from_mapping
from network.errors import ConfigError


def load_config(path: Path) -> ValidatorConfig:
    """The checked settings in `path`. Raises ConfigError."""
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    return from_mapping(raw, path.resolve().parent)


def read_genesis(config: ValidatorConfig) -> bytes:
    """The genesis document of the configured chain. Raises ConfigError when it is unreadable or another chain's."""
    path = config.node.genesis
    try:
        raw = path.read_bytes()
        document = json.loads(raw)
    except OSError as error:
        raise ConfigError(f"node.genesis: {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"node.genesis: {path} is not JSON: {error}") from error
    chain_id = document.get("chain_id") if isinstance(document, dict) else None
    if chain_id != config.node.chain_id:
        raise ConfigError(f"node.genesis: {path} is of the chain {chain_id!r}, node.chain_id is {config.node.chain_id!r}")
    return raw
