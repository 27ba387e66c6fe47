"""Which validator a command means, and holding it still while its files are changed."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from abci_app.aio.guard import lock_home
from abci_app.aio.settings import load_config, read_genesis
from abci_app.aio.storage import LevelStore, StoreError
from abci_app.config import ValidatorConfig
from network.cli.main import configuration
from network.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words by which every command names its validator."""
    parser.add_argument("validator", nargs="?", help="the validator's folder, or the name of one in the network's home")
    parser.add_argument("--config", type=Path, help="its config.toml, instead of a folder or name")
    parser.add_argument(
        "--home",
        default=os.environ.get("PLANETSERVE_HOME", ".localnet"),
        help="the network's home (default: $PLANETSERVE_HOME, else .localnet)",
    )


def config_path(arguments: argparse.Namespace) -> Path:
    """The configuration file that the words name. Raises ConfigError."""
    if (arguments.validator is None) == (arguments.config is None):
        raise ConfigError("name one validator: its folder, its name in --home, or --config FILE")
    path: Path = arguments.config or configuration(arguments.validator, arguments.home)
    if not path.is_file():
        raise ConfigError(f"there is no {path}; `planetserve validator init` makes a validator")
    return path.resolve()


def config(arguments: argparse.Namespace) -> ValidatorConfig:
    """The settings of the validator that the words name. Raises ConfigError."""
    return load_config(config_path(arguments))


@contextmanager
def stopped(settings: ValidatorConfig) -> Iterator[None]:
    """For as long as this lasts the validator cannot start. Raises Running when it runs."""
    lock = lock_home(settings.comet.home)
    try:
        yield
    finally:
        os.close(lock)


def agree(question: str, yes: bool) -> bool:
    """Whether the operator wants it; `yes` answers for them."""
    if yes:
        return True
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


@contextmanager
def opened(settings: ValidatorConfig) -> Iterator[LevelStore]:
    """The application's data of a stopped validator. Raises Running, or StoreError when there is none that can be used."""
    with stopped(settings):
        if not settings.data.exists():
            raise StoreError(f"{settings.data} does not exist: the validator has no data yet")
        store = LevelStore(settings.data, chain_id=settings.node.chain_id, genesis_hash=genesis_hash(settings))
        try:
            yield store
        finally:
            store.close()


def genesis_hash(settings: ValidatorConfig) -> bytes:
    """What the data directory remembers its chain's genesis document by."""
    return sha256(read_genesis(settings)).digest()
