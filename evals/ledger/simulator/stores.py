"""The ledger in memory: the simplest store that keeps its promises. The twin of the LevelDB store in simulations.

Each version is a whole copy, so nothing here can go wrong by being clever; only the last few are kept.
"""

from collections.abc import Iterator

from abci_app.application import Staged
from abci_app.state.app_hash import app_hash
from abci_app.state.state import MemoryReader
from abci_app.tree import Tree
from evals.ledger.simulator.sync import MemorySide

KEPT = 4


class MemoryVersion(MemoryReader):
    """The rows and tree nodes of one height."""

    __slots__ = ("nodes",)

    def __init__(self, rows: dict[bytes, bytes], nodes: dict[bytes, bytes]) -> None:
        super().__init__(rows)
        self.nodes = nodes

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows under `prefix` from the key `start` on, in ascending key order."""
        return iter(sorted((key, value) for key, value in self.rows.items() if key.startswith(prefix) and key >= start))


class MemoryStore:
    """Versions by height. What was saved survives its application, as a disk would."""

    def __init__(self) -> None:
        self.height = 0
        self.app_hash = b""
        self._versions: dict[int, MemoryVersion] = {}

    @property
    def oldest(self) -> int:
        """The oldest height that can still be read."""
        return min(self._versions, default=0)

    def version(self, height: int) -> MemoryVersion:
        """The version at `height`."""
        return self._versions[height]

    def save(self, staged: Staged, genesis: Staged | None) -> None:
        """Keep one more version."""
        for part in (genesis, staged):
            if part is None:
                continue
            held = self._versions.get(self.height) or MemoryVersion({}, {})
            rows, nodes = dict(held.rows), dict(held.nodes)
            _apply(rows, part.rows)
            _apply(nodes, part.nodes)
            self.height, self.app_hash = part.height, part.app_hash
            self._versions[part.height] = MemoryVersion(rows, nodes)
        for height in sorted(self._versions)[:-KEPT]:
            del self._versions[height]

    def restoring(self, height: int, trusted: bytes) -> MemorySide:
        """Where a snapshot of this height is put together."""

        def finish(rows: dict[bytes, bytes], nodes: dict[bytes, bytes]) -> None:
            assert app_hash(Tree(nodes).root()) == trusted, "the restored rows do not lead to the trusted app hash"
            self.height, self.app_hash = height, trusted
            self._versions = {height: MemoryVersion(rows, nodes)}

        return MemorySide(finish)

    def close(self) -> None:
        """Nothing to release."""


def _apply(held: dict[bytes, bytes], changes: tuple[tuple[bytes, bytes | None], ...]) -> None:
    for key, value in changes:
        if value is None:
            held.pop(key, None)
        else:
            held[key] = value
