"""`validator snapshot` and `restore`: the state of one height as something to keep, carry and come back from."""

import argparse
from pathlib import Path
from typing import Any

from abci_app.aio.archive import export_snapshot, restore_snapshot
from abci_app.aio.snapshots import SnapshotFolder, take_now
from abci_app.cli import place
from abci_app.snapshot import Snapshot
from network.cli.output import FAILED, CommandFailed, show_fields, show_json, show_table


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`validator snapshot VERB` and `validator restore`."""
    meaning = "list, create, delete or export snapshots"
    top = kinds.add_parser("snapshot", help=meaning, description=meaning)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, said in (
        ("list", "show what there is; also while the validator runs"),
        ("create", "take one of the latest height, while the validator is stopped"),
        ("delete", "remove one"),
        ("export", "write one to a single file"),
    ):
        parser = verbs.add_parser(verb, help=said, description=said)
        if verb in ("delete", "export"):
            parser.add_argument("height", type=int, metavar="HEIGHT")
        if verb == "export":
            parser.add_argument("file", type=Path, metavar="FILE")
        place.add_arguments(parser)
        parser.add_argument("--output", choices=("text", "json"), default="text")
        parser.set_defaults(work=snapshot)
    meaning = "replace the application's data by a snapshot's; CometBFT then replays the blocks after it"
    parser = kinds.add_parser("restore", help=meaning, description=meaning)
    parser.add_argument("snapshot", metavar="SNAPSHOT", help="the height of one of its own snapshots, or an exported file")
    place.add_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(work=restore)


def snapshot(arguments: argparse.Namespace) -> int:
    """Do one verb."""
    settings = place.config(arguments)
    folder = SnapshotFolder(settings.snapshots)
    if arguments.verb == "list":
        rows = [_row(found) for found in folder.list()]
        if arguments.output == "json":
            show_json({"snapshots": rows})
        else:
            show_table(rows, ("height", "chunks", "app_hash", "hash"))
        return 0
    if arguments.verb == "delete":
        folder.delete(arguments.height)
        print(f"the snapshot of height {arguments.height} is deleted")
        return 0
    if arguments.verb == "create":
        with place.opened(settings) as store:
            made = take_now(store, folder, store.height)
    else:
        made = export_snapshot(folder, arguments.height, arguments.file)
    show_json(_row(made)) if arguments.output == "json" else show_fields(_row(made))
    return 0


def restore(arguments: argparse.Namespace) -> int:
    """Verify a snapshot while it is restored beside the data, then let it take the data's place."""
    settings = place.config(arguments)
    own = settings.snapshots / arguments.snapshot
    source = own if arguments.snapshot.isdecimal() and own.is_dir() else Path(arguments.snapshot)
    if not source.exists():
        raise CommandFailed(
            f"there is no snapshot {arguments.snapshot}; `planetserve validator snapshot list` shows those there are"
        )
    with place.stopped(settings):
        if not (settings.comet.home / "data" / "blockstore.db").is_dir():
            raise CommandFailed(
                "CometBFT has no blocks here to go on from; a fresh validator takes its snapshot from the network: set "
                "[comet.statesync] in config.toml (docs/validator.md)"
            )
        if not place.agree(f"Replace {settings.data} by the snapshot {source}?", arguments.yes):
            print("nothing is changed")
            return FAILED
        chain_id, genesis_hash = settings.node.chain_id, place.genesis_hash(settings)
        made = restore_snapshot(source, settings.data, chain_id=chain_id, genesis_hash=genesis_hash)
    print(
        f"the application is at height {made.height} with app hash {made.app_hash.hex()}; the next start replays what follows"
    )
    return 0


def _row(found: Snapshot) -> dict[str, Any]:
    return {
        "height": found.height,
        "chunks": len(found.parts),
        "app_hash": found.app_hash.hex(),
        "hash": found.hash.hex(),
    }
