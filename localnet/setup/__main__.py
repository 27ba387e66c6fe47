"""`python3 -m localnet.setup [--dev | --evals] [--only PART]`: makes what `make localnet` and `make test` need.

Needs nothing but Python 3.11 or 3.12 with its venv module. Exit codes: 0 done, 1 a step failed, 3 this machine
cannot run it, 130 interrupted.
"""

import sys

if not (3, 11) <= sys.version_info[:2] < (3, 13):
    sys.exit(
        f"planetserve needs Python 3.11 or 3.12, and this is {sys.version_info[0]}.{sys.version_info[1]}.\n"
        "  why:  plyvel, the LevelDB binding, has packages for these two only\n"
        "  do:   install one of them, or name it: make PYTHON=/path/to/python3.12 setup"
    )

# The check above must come first: everything below uses syntax that older interpreters cannot read.
import argparse
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from localnet.setup.aio import comet, environment, models
from localnet.setup.aio.stages import Stage
from localnet.setup.failures import SetupError
from localnet.setup.pins import Layout, layout

PARTS = ("environment", "cometbft", "models")


def main() -> int:
    """Make every part that is missing; what is there already costs a glance."""
    parser = argparse.ArgumentParser(prog="python3 -m localnet.setup", description="Set up this checkout.")
    levels = parser.add_mutually_exclusive_group()
    levels.add_argument("--dev", dest="level", action="store_const", const="dev", help="with the tools of tests and linting")
    levels.add_argument(
        "--evals", dest="level", action="store_const", const="evals", help="with those and what evaluations draw with"
    )
    parser.set_defaults(level="run")
    parser.add_argument("--only", choices=PARTS, help="make one part only")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it ignored
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    if sys.platform != "linux":
        print("planetserve's roles run on Linux only: they use /proc and process groups.", file=sys.stderr)
        return 3
    try:
        place = layout(Path(__file__).resolve().parent.parent.parent, os.environ)
        _keep(place, arguments.level, arguments.only)
    except SetupError as error:
        print(f"\nSet-up stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nSet-up interrupted; run the same command again to go on from here.", file=sys.stderr)
        return 130
    return 0


def _keep(place: Layout, level: str, only: str | None) -> None:
    """Everything wanted is there afterwards. Raises SetupError."""
    try:
        place.cache.mkdir(parents=True, exist_ok=True)
        with _alone(place):
            _make(place, level, only)
    except OSError as error:
        raise SetupError(
            "a file or folder could not be used", str(error), f"check the disk and the owner of {place.cache}"
        ) from error


def _make(place: Layout, level: str, only: str | None) -> None:
    log = place.cache / "log" / "setup.log"
    if only in (None, "environment"):
        with Stage("python environment", log) as stage:
            environment.make(place, level, stage)
    if only in (None, "cometbft"):
        with Stage("CometBFT", log) as stage:
            comet.make(place, stage)
    if only in (None, "models"):
        with Stage("model files", log) as stage:
            models.make(place, stage)


@contextmanager
def _alone(place: Layout) -> Iterator[None]:
    """One set-up at a time for all checkouts that share this cache."""
    with (place.cache / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("     ...  another set-up is running; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
