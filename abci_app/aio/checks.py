"""Whether a data directory says one thing only: rows, tree, undo log and app hash must agree.

`check_start` is what every start affords: the root and a run of rows, another at every height. `check_all` reads
everything, for an operator who doubts a disk: it builds the tree anew and goes back through the kept versions with it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from abci_app.aio.database import Meta, StoreError
from abci_app.aio.versions import META_KEY, NODE, ROW, UNDO, Rows, Version, before, undo_key, undone_key
from abci_app.state.app_hash import DEPTH, app_hash, leaf_hash
from abci_app.tree import Tree

CHECKED_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Checked:
    """How much `check_all` has read and found sound."""

    height: int
    app_hash: bytes
    rows: int
    nodes: int
    undo_entries: int


def check_start(path: Path, database: Any, meta: Meta) -> None:
    """The stored root is the app hash; of a run of rows, leaves and tree nodes, each row is the leaf it should be, each leaf
    has its row, and each node the hash that the one above it says. Raises StoreError."""
    tree = Tree(Version(Rows(database, meta.height), meta.height).nodes)
    if app_hash(tree.root()) != meta.app_hash:
        raise _corrupt(path, f"its tree does not lead to the app hash of height {meta.height}")
    turn = meta.app_hash[:2]
    for key, value in _run(database, ROW, bytes([turn[0] & 0x0F]) + turn[1:]):
        if tree.prove(key).leaf != leaf_hash(key, value):
            raise _corrupt(path, f"row {key.hex()} is not what its tree says")
    for key, _ in islice(chain.from_iterable(tree.leaves(4, (turn[0] + part) % 16) for part in range(16)), CHECKED_ROWS):
        if database.get(ROW + key) is None:
            raise _corrupt(path, f"row {key.hex()} is missing")
    for key, _ in _run(database, NODE, bytes([turn[0] % DEPTH])):
        if key[0] and not tree.fits(key[0], int.from_bytes(key[1:], "big")):
            raise _corrupt(path, f"the tree node {key.hex()} is not what the one above it says")


def _run(database: Any, prefix: bytes, turn: bytes) -> Iterator[tuple[bytes, bytes]]:
    """At most CHECKED_ROWS entries of one kind, from `turn` on and round to the first again."""
    end = bytes([prefix[0] + 1])
    with (
        database.iterator(start=prefix + turn, stop=end, verify_checksums=True) as later,
        database.iterator(start=prefix, stop=prefix + turn, verify_checksums=True) as earlier,
    ):
        for key, value in islice(chain(later, earlier), CHECKED_ROWS):
            yield bytes(key[1:]), bytes(value)


def check_all(path: Path, database: Any, meta: Meta) -> Checked:
    """Everything: LevelDB's checksums, the tree built anew from the rows, and the kept versions. Raises StoreError."""
    with database.iterator(prefix=ROW, verify_checksums=True) as found:
        rows = [(bytes(key[1:]), bytes(value)) for key, value in found]
    root, nodes = Tree({}).update(rows)
    if app_hash(root) != meta.app_hash:
        raise _corrupt(path, f"its {len(rows)} rows do not lead to the app hash of height {meta.height}")
    stored = 0
    with database.iterator(prefix=NODE, verify_checksums=True) as found:
        for key, value in found:
            stored += 1
            if nodes.get(bytes(key[1:])) != value:
                raise _corrupt(path, f"the tree node {key[1:].hex()} is not what the rows lead to")
    if stored != len(nodes):
        raise _corrupt(path, f"{len(nodes) - stored} tree nodes are missing")
    return Checked(meta.height, meta.app_hash, len(rows), stored, _check_undo(path, database, meta, nodes))


def _check_undo(path: Path, database: Any, meta: Meta, writes: Mapping[bytes, bytes | None]) -> int:
    """Goes back height by height: the undone rows must change the tree in memory exactly as the undone nodes say."""
    nodes = {key: value for key, value in writes.items() if value is not None}
    entries = 0
    for height in range(meta.height, meta.oldest, -1):
        with database.iterator(prefix=undo_key(height, b""), verify_checksums=True) as found:
            undone = {undone_key(key): before(entry) for key, entry in found}
        entries += len(undone)
        _, earlier = Tree(nodes).update((key[1:], value) for key, value in undone.items() if key[:1] == ROW)
        told = {key[1:]: value for key, value in undone.items() if key[:1] == NODE}
        for key in sorted(earlier.keys() | told.keys()):
            stood = earlier.get(key, nodes.get(key))
            if stood != told.get(key, nodes.get(key)):
                raise _corrupt(path, f"the tree node {key.hex()} of height {height - 1} is not what its rows lead to")
        nodes.update((key, value) for key, value in earlier.items() if value is not None)
        for key in [key for key, value in earlier.items() if value is None]:
            nodes.pop(key, None)
    _check_keys(path, database, meta, entries)
    return entries


def _check_keys(path: Path, database: Any, meta: Meta, entries: int) -> None:
    with database.iterator(include_value=False) as keys:
        strange = next((key for key in keys if key != META_KEY and key[:1] not in (ROW, NODE, UNDO)), None)
    if strange is not None:
        raise _corrupt(path, f"nothing of ours lies under {strange.hex()}")
    with database.iterator(prefix=UNDO, include_value=False) as keys:
        if sum(1 for _ in keys) != entries:
            raise _corrupt(path, f"undo entries lie outside the heights {meta.oldest + 1} to {meta.height}")


def _corrupt(path: Path, why: str) -> StoreError:
    return StoreError(f"{path} is corrupt: {why}; restore a snapshot, or remove it: CometBFT replays its blocks")
