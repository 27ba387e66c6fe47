"""What must hold before a validator's processes are started; each complaint says what to do."""

import errno
import os
import socket
import subprocess
import tomllib
from pathlib import Path

from abci_app.aio.settings import read_genesis
from abci_app.config import COMET_LINES, COMET_VERSION, CometConfig, ValidatorConfig
from network.config import Address
from network.errors import ConfigError


def preflight(config: ValidatorConfig) -> None:
    """Raises ConfigError for the first thing that would keep the validator from running."""
    genesis = read_genesis(config)
    _check_binary(config.comet.binary)
    _check_comet_home(config.comet, genesis)
    ports = {"node.metrics": config.node.metrics, "comet.rpc": config.comet.rpc, "comet.p2p": config.comet.p2p}
    if config.comet.prometheus is not None:
        ports["comet.prometheus"] = config.comet.prometheus
    for key, address in ports.items():
        _check_port(key, address)


def _check_binary(binary: Path) -> None:
    try:
        done = subprocess.run([str(binary), "version"], capture_output=True, text=True, timeout=20, check=True)
    except FileNotFoundError as error:
        raise ConfigError(f"comet.binary: {binary} does not exist; `make setup` installs it") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"comet.binary: {binary} does not run ({error}); `make setup` installs CometBFT {COMET_VERSION}"
        ) from error
    version = done.stdout.strip()
    if not version.startswith(COMET_LINES):
        raise ConfigError(
            f"comet.binary: {binary} is CometBFT {version or 'of no version'}; v0.38 or v0.40 is needed, `make setup` "
            f"installs {COMET_VERSION}"
        )


def _check_comet_home(comet: CometConfig, genesis: bytes) -> None:
    home = comet.home
    names = ["config.toml", "genesis.json", "node_key.json"]
    if not comet.priv_validator_laddr:
        names.append("priv_validator_key.json")
    for path in (home / "config" / name for name in names):
        if not path.is_file():
            raise ConfigError(f"comet.home: {path} is missing; create the validator's folder again")
    if (home / "config" / "genesis.json").read_bytes() != genesis:
        raise ConfigError(
            f"comet.home: {home / 'config' / 'genesis.json'} is not the document of node.genesis: a foreign chain's home"
        )
    _check_tables(comet)


def _check_tables(comet: CometConfig) -> None:
    """CometBFT takes a setting from its environment only where its config.toml has the key."""
    path = comet.home / "config" / "config.toml"
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"comet.home: {path} is not TOML that can be read ({error})") from error
    wanted = {"statesync": comet.statesync, "instrumentation": comet.prometheus}
    keys = {"statesync": "enable", "instrumentation": "prometheus"}
    for table, value in wanted.items():
        if value is not None and keys[table] not in tables.get(table, {}):
            raise ConfigError(
                f"comet.home: {path} has no [{table}] table to be set from ours; add the one that "
                "`planetserve validator init` writes"
            )


def _check_port(key: str, address: Address) -> None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(f"{key}: {address} is in use; stop what uses it, or choose another port") from error
            raise ConfigError(f"{key}: cannot listen on {address} ({os.strerror(error.errno or 0)})") from error
