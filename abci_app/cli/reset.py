"""`validator reset`: the chain's data thrown away, to begin it again. Keys and what they have signed always stay."""

import argparse
import shutil
from pathlib import Path

from abci_app.aio.guard import STATE
from abci_app.cli import place
from abci_app.config import ValidatorConfig
from network.cli.output import FAILED


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`validator reset`."""
    meaning = "throw the chain's data away, to begin it again; keys and signing state stay"
    parser = kinds.add_parser("reset", help=meaning, description=meaning)
    place.add_arguments(parser)
    parser.add_argument("--snapshots", action="store_true", help="the snapshots, too")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(work=reset)


def reset(arguments: argparse.Namespace) -> int:
    """Remove what a chain leaves on disk."""
    settings = place.config(arguments)
    with place.stopped(settings):
        doomed = _doomed(settings, arguments.snapshots)
        if not doomed:
            print("there is no data; nothing is removed")
            return 0
        print("\n".join(f"remove {path}" for path in doomed))
        print(f"keep   {settings.comet.home / STATE}: it guards against signing twice")
        print("A chain that no other validator keeps is lost with them.")
        if not place.agree("Remove these?", arguments.yes):
            print("nothing is removed")
            return FAILED
        for path in doomed:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    print("removed; at its next start the validator fetches the chain from its peers")
    return 0


def _doomed(settings: ValidatorConfig, snapshots: bool) -> list[Path]:
    comet = settings.comet.home / "data"
    kept = settings.comet.home / STATE
    found = sorted(path for path in comet.iterdir() if path != kept) if comet.is_dir() else []
    folders = [settings.data, settings.snapshots] if snapshots else [settings.data]
    return [*(path for path in folders if path.exists()), *found]
