"""Starts one front: `python -m serving_node.front --config front.toml`.

Exit codes: 0 ended as told, 3 settings or ports cannot be used, 5 the key file cannot be used.
"""

import argparse
import asyncio
import gc
import signal
import sys
import tomllib
from pathlib import Path

from network.aio.event_loop import run
from network.aio.keys import KeyFileError, load_or_create
from network.aio.logs import configure
from network.crypto import SigningKey
from network.errors import ConfigError
from serving_node.front.aio.front import Front
from serving_node.front.config import FrontConfig, from_mapping

GARBAGE = 20_000


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m serving_node.front", description="One owner's OpenAI endpoint beside one engine."
    )
    parser.add_argument("--config", type=Path, required=True, help="path of front.toml")
    path: Path = parser.parse_args().config
    try:
        config = from_mapping(tomllib.loads(path.read_text()), path.resolve().parent)
        configure(config.name, config.log_level, config.log_format)
        run(_serve(config, load_or_create(config.keys).signing), config.event_loop)
    except KeyFileError as error:
        return _say(error, 5)
    except (ConfigError, OSError, tomllib.TOMLDecodeError) as error:
        return _say(error, 3)
    return 0


async def _serve(config: FrontConfig, signing: SigningKey) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    front = Front(config, signing)
    gc.collect()
    gc.freeze()  # what start-up left is here to stay; later collections need not walk it
    gc.set_threshold(GARBAGE)  # requests leave no cycles: the usual 700 would search for them every few requests
    await front.run(stop)


def _say(error: Exception, code: int) -> int:
    print(f"front: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
