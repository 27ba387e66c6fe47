"""Starts one model node: `python -m serving_node --config config.toml`.

Exit codes: 0 ended as told, 1 the engine failed, 3 settings or ports cannot be used, 5 the key file cannot be used.
"""

import argparse
import asyncio
import signal
import sys
import tomllib
from pathlib import Path

from network.aio.event_loop import run
from network.aio.keys import KeyFileError, NodeKeys, load_or_create
from network.aio.logs import configure
from network.errors import ConfigError
from serving_node.aio.server import Sidecar, make_engine
from serving_node.config import ServingConfig, from_mapping
from serving_node.engine import EngineStartError


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m serving_node", description="Serve one model to the network.")
    parser.add_argument("--config", type=Path, required=True, help="path of config.toml")
    path: Path = parser.parse_args().config
    try:
        config = from_mapping(tomllib.loads(path.read_text()), path.resolve().parent)
        configure(config.node.name, config.node.log_level, config.node.log_format)
        run(_serve(config, load_or_create(config.node.keys)), config.node.event_loop)
    except KeyFileError as error:
        return _say(error, 5)
    except (ConfigError, OSError, tomllib.TOMLDecodeError) as error:
        return _say(error, 3)
    except EngineStartError as error:
        return _say(error, 1)
    return 0


async def _serve(config: ServingConfig, keys: NodeKeys) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Sidecar(config, keys, make_engine(config.engine)).run(stop)


def _say(error: Exception, code: int) -> int:
    print(f"model node: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
