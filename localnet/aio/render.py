"""A plan written to a home: one folder per node with its configuration and keys, and the chain's genesis.

Configurations are written at every start, because paths of this machine stand in them; keys, genesis and the chain's
data only once. Keys are readable by their owner alone.
"""

import json
import os
from pathlib import Path

from localnet.aio.home import Home
from localnet.plan import CONFIG, PlannedNode
from localnet.toml_text import dump


def write(home: Home) -> None:
    """Everything that the nodes of a home read when they start."""
    for node in home.plan.nodes:
        write_node(home, node)


def write_node(home: Home, node: PlannedNode) -> None:
    """One node's folder."""
    folder = home.path / node.name
    folder.mkdir(exist_ok=True)
    _replace(folder / CONFIG, dump(node.config))
    for name, keys in node.keys.items():
        if not (folder / name).exists():
            _replace(folder / name, json.dumps(keys), 0o600)


def _replace(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as out:
        out.write(text)
    partial.replace(path)
