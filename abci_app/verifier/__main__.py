"""`python -m abci_app.verifier --config config.toml`: the sidecar of a verification node.

Exit codes: 0 stopped on request, 1 failed, 2 usage, 3 a setting or file cannot be used, 5 the keys cannot be used or are
not a committee member's.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # read by NumPy when it is loaded, below

import argparse
import asyncio
import logging
import secrets
import signal
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from abci_app.config import ValidatorConfig, VerifierConfig, from_mapping
from abci_app.verifier.aio.challenger import Challenger
from abci_app.verifier.aio.scorer import Scorer
from abci_app.verifier.aio.verifier import Verifier
from abci_app.verifier.core import VerifierCore
from abci_app.verifier.memory import Memory, memory_from_json
from network.aio.chain_client import client_of
from network.aio.dialer import dialer_of
from network.aio.event_loop import run
from network.aio.guard_store import GUARDS_FILE, GuardStore
from network.aio.keys import KeyFileError, load
from network.aio.logs import configure
from network.aio.user_node import UserNode
from network.errors import ConfigError, DecodeError

log = logging.getLogger("abci_app.verifier")

MEMORY_FILE = "verifier_memory.json"
FOLLOW_S = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m abci_app.verifier", description="the verifier of a verification node")
    parser.add_argument("--config", type=Path, required=True, help="the validator's config.toml")
    path: Path = parser.parse_args(arguments).config
    try:
        config = from_mapping(tomllib.loads(path.read_text()), path.resolve().parent)
        if config.verifier is None:
            raise ConfigError("verifier.enabled is false: there is nothing to run")
        configure(config.node.name, config.node.log_level, config.node.log_format)
        run(_run(config, config.verifier, path.resolve().parent / MEMORY_FILE), config.node.event_loop)
    except KeyFileError as error:
        return _failed(5, error)
    except (ConfigError, OSError, tomllib.TOMLDecodeError) as error:
        return _failed(3, error)
    return 0


async def _run(config: ValidatorConfig, settings: VerifierConfig, memory_file: Path) -> None:
    """Wire the parts and run until a signal comes."""
    keys = load(settings.keys)
    scorer = Scorer(settings.reference)
    client = client_of(config.node)
    user_node = UserNode(
        lambda: client.directory_now,
        secrets.token_bytes,
        path_sets=1,
        dialer=dialer_of(config.node),
        guard_store=GuardStore(settings.keys.with_name(GUARDS_FILE), config.node.chain_id),
    )
    verifier = Verifier(
        VerifierCore(keys.signing, settings.group, secrets.token_bytes, memory=_memory(memory_file)),
        client,
        Challenger(user_node, lambda: client.directory_now, settings.group),
        scorer,
        key=keys.signing,
        group=settings.group,
        memory_file=memory_file,
    )
    await client.start()
    await user_node.start()
    tasks = [asyncio.create_task(client.follow(FOLLOW_S)), asyncio.create_task(verifier.run())]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log.info("verifier ready", extra={"fields": {"key": keys.signing.public.hex()}})
    waiting = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
    finally:
        for task in (*tasks, waiting):
            task.cancel()
        await asyncio.gather(*tasks, waiting, return_exceptions=True)
        await user_node.close()
        await client.close()


def _memory(path: Path) -> Memory | None:
    """What was remembered before a restart; a file that cannot be read costs one epoch, not the start."""
    try:
        return memory_from_json(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, DecodeError) as error:
        log.warning("the memory of the last run cannot be used; this epoch is skipped", extra={"fields": {"reason": error}})
        return None


def _failed(code: int, why: Exception) -> int:
    print(f"error: {why}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
