"""`validator rollback`: application and CometBFT taken back by one block together; the next start executes it again."""

import argparse
import re
import subprocess

from abci_app.cli import place
from abci_app.config import ValidatorConfig
from network.cli.output import FAILED, CommandFailed


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`validator rollback`."""
    meaning = "take application and CometBFT back by one block, which is then executed again"
    parser = kinds.add_parser("rollback", help=meaning, description=meaning)
    place.add_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(work=rollback)


def rollback(arguments: argparse.Namespace) -> int:
    """CometBFT first: it knows which block is the last that both have; then the application, down to the same height."""
    settings = place.config(arguments)
    with place.opened(settings) as store:
        if store.height < 2 or store.oldest >= store.height:
            raise CommandFailed(f"the application is at height {store.height} and keeps nothing before it")
        if not place.agree(f"Take {settings.node.name} back by one block, from height {store.height}?", arguments.yes):
            print("nothing is changed")
            return FAILED
        height = _comet_back(settings)
        while store.height > max(height, store.oldest):
            store.rollback()
        if store.height != height:
            raise CommandFailed(
                f"CometBFT is back at height {height}, and the application at {store.height}; "
                + ("run rollback again" if store.height < height else "restore a snapshot, or reset")
            )
    print(f"application and CometBFT are at height {height}; the next start executes block {height + 1} again")
    return 0


def _comet_back(settings: ValidatorConfig) -> int:
    """The height that CometBFT is at after it has gone back. Raises CommandFailed with its words when it cannot."""
    command = [str(settings.comet.binary), "rollback", f"--home={settings.comet.home}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Rolled back state to height (\d+)", done.stdout)
    if done.returncode or found is None:
        said = (done.stdout + done.stderr).strip().splitlines() or ["it said nothing"]
        raise CommandFailed(f"CometBFT cannot go back: {said[-1]}")
    return int(found.group(1))
