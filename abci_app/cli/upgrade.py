"""`validator upgrade`: the environments that take over when the chain upgrades."""

import argparse
import os
from pathlib import Path
from typing import Any

from abci_app.aio import upgrades
from abci_app.cli import place
from network.cli.output import show_json, show_table
from network.errors import ConfigError


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`validator upgrade add|remove|list`."""
    meaning = "register environments for the chain's upgrades"
    parser = kinds.add_parser("upgrade", help=meaning, description=meaning)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add = verbs.add_parser("add", help="register the release of a named upgrade; it takes over at the upgrade's height")
    remove = verbs.add_parser("remove", help="forget a registered environment")
    for verb in (add, remove):
        verb.add_argument("name", help="the upgrade's name, as the chain decided it")
    listing = verbs.add_parser("list", help="show what is registered and what runs")
    listing.add_argument("--output", choices=("text", "json"), default="text")
    for verb in (add, remove, listing):
        place.add_arguments(verb)
    add.add_argument("--python", type=Path, required=True, help="the python of the environment that holds the release")
    parser.set_defaults(work=upgrade)


def upgrade(arguments: argparse.Namespace) -> int:
    """Change or show the registry. A running supervisor reads it when it needs it."""
    settings = place.config(arguments)
    registry = upgrades.load(settings)
    if arguments.verb == "list":
        rows: list[dict[str, Any]] = [
            {"name": entry.name, "python": entry.python, "height": entry.height, "in_use": entry.name == registry.current}
            for entry in registry.environments
        ]
        show_json({"environments": rows, "current": registry.current}) if arguments.output == "json" else show_table(
            rows, ("name", "height", "in_use", "python")
        )
        return 0
    if arguments.verb == "add":
        python = Path(os.path.abspath(arguments.python))  # not resolved: a link is what makes an environment one
        if not python.is_file():
            raise ConfigError(f"--python: there is no {python}")
        version = upgrades.probe(python)
        upgrades.save(settings, registry.add(arguments.name, str(python)))
        print(f"{arguments.name}: {python}, application version {version}; it takes over at the upgrade's height")
        return 0
    upgrades.save(settings, registry.remove(arguments.name))
    print(f"{arguments.name}: forgotten")
    return 0
