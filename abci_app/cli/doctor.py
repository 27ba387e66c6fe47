"""`validator doctor`: reads all of a stopped validator's ledger, compares everything with everything, asks the invariants."""

import argparse

from abci_app.cli import place
from abci_app.state import invariants
from network.cli.output import CommandFailed, show_fields, show_json


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`validator doctor`."""
    meaning = "read the whole ledger on disk and check that rows, tree, versions and app hash agree"
    parser = kinds.add_parser("doctor", help=meaning, description=meaning)
    place.add_arguments(parser)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.set_defaults(work=doctor)


def doctor(arguments: argparse.Namespace) -> int:
    """Say how much was found sound; what is not ends the command with its name and the way out."""
    with place.opened(place.config(arguments)) as store:
        found = store.verify_all()
        faults = invariants.check(store.version(store.height))
    if faults:
        raise CommandFailed("the files are sound, but no such state can be reached; report it: " + "; ".join(faults))
    document = {
        "height": found.height,
        "app_hash": found.app_hash.hex(),
        "rows": found.rows,
        "tree_nodes": found.nodes,
        "undo_entries": found.undo_entries,
    }
    show_json(document) if arguments.output == "json" else show_fields(document)
    return 0
