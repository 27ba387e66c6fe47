"""`validator guard`: what the consensus key has signed, and the way back when its signing state is lost."""

import argparse
from dataclasses import asdict

from abci_app.aio.guard import STATE, mark_path, read_signed, read_state, write_signed
from abci_app.cli import place
from abci_app.guard import Signed
from network.cli.output import show_fields, show_json
from network.errors import ConfigError


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`validator guard`."""
    meaning = "show what the key has signed; raise a lost signing state"
    parser = kinds.add_parser("guard", help=meaning, description=meaning)
    place.add_arguments(parser)
    parser.add_argument(
        "--raise-to",
        type=int,
        metavar="HEIGHT",
        help="sign nothing up to this HEIGHT; take one that no copy of this key can have reached",
    )
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.set_defaults(work=guard)


def guard(arguments: argparse.Namespace) -> int:
    """Show the signing state and its mark; with --raise-to, write a state above both."""
    settings = place.config(arguments)
    path = settings.comet.home / STATE
    if settings.comet.priv_validator_laddr:
        raise ConfigError(f"the key is with the remote signer at {settings.comet.priv_validator_laddr}, which guards it")
    if arguments.raise_to is not None:
        with place.stopped(settings):
            mark = read_signed(mark_path(settings)) or Signed()
            try:
                state = read_state(settings.comet.home) or Signed()
            except ConfigError:
                state = Signed()  # unreadable: what is written instead stands above the mark
            wanted = Signed(arguments.raise_to, 0, 3)
            if not 0 < arguments.raise_to < 2**62:
                raise ConfigError(f"--raise-to {arguments.raise_to}: no chain has a block of that height")
            if wanted < max(mark, state):
                raise ConfigError(
                    f"--raise-to {arguments.raise_to}: this key has signed {max(mark, state)}; it never goes back"
                )
            write_signed(path, wanted)
            write_signed(mark_path(settings), wanted)
    found, mark_found = read_state(settings.comet.home), read_signed(mark_path(settings))
    document = {
        "state": asdict(found) if found is not None else None,
        "mark": asdict(mark_found) if mark_found is not None else None,
        "state_file": str(path),
        "mark_file": str(mark_path(settings)),
    }
    show_json(document) if arguments.output == "json" else show_fields(document)
    return 0
