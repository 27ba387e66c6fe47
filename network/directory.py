"""The verified snapshot of live nodes that every role routes by.

Made from one `DirectoryRecord` whose proof the light client has checked; this file only looks things up.
"""

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import encode
from network.crypto import sha256
from network.geometry import DIRECTORY_NAME
from network.ids import Role

REMEMBERED = 8
SETTLE_SECONDS = 15.0  # every role looks for a new directory at least every eleven


class Directory:
    """An immutable directory: `hash` names it in handshakes, `height` is the state height it was proven at.

    It remembers the names of the directories that were current `before` it and when each was first seen (`since`), since
    not every node learns of a new one in the same second: `names`, newest first, of which `name` is its own.
    """

    __slots__ = ("_by_id", "_names", "hash", "height", "name", "names", "record")

    def __init__(self, record: DirectoryRecord, height: int, before: "Directory | None" = None, since: float = 0.0) -> None:
        self.record = record
        self.height = height
        self.hash = sha256(encode(record))
        earlier: tuple[tuple[bytes, float], ...] = before._names if before is not None and before.height else ()
        previous = record.previous[:DIRECTORY_NAME]
        if previous and previous not in (name for name, _ in earlier):
            earlier = ((previous, 0.0), *earlier)  # one that came and went unseen
        self._names: tuple[tuple[bytes, float], ...] = ((self.hash[:DIRECTORY_NAME], since), *earlier)[:REMEMBERED]
        self.names = tuple(name for name, _ in self._names)
        self.name = self.names[0]
        self._by_id = {entry.node_id: entry for entry in record.entries}

    def settled_name(self, now: float) -> bytes:
        """The newest name that every node has had time to learn; this directory's own when there is none."""
        return next((name for name, since in self._names if now - since >= SETTLE_SECONDS), self.name)

    def get(self, node_id: bytes) -> DirectoryEntry | None:
        """The live node with this id, or None."""
        return self._by_id.get(node_id)

    def relays(self) -> tuple[DirectoryEntry, ...]:
        """Live relays, in node-id order."""
        return self._of(Role.RELAY)

    def models(self, group: str, *, trusted_only: bool = True) -> tuple[DirectoryEntry, ...]:
        """Live model nodes of one group, in node-id order; untrusted ones only when asked for."""
        return tuple(e for e in self._of(Role.MODEL) if e.group == group and (e.trusted or not trusted_only))

    def groups(self) -> tuple[str, ...]:
        """Names of the model groups that at least one trusted live node serves, sorted."""
        return tuple(sorted({e.group for e in self._of(Role.MODEL) if e.trusted}))

    def _of(self, role: Role) -> tuple[DirectoryEntry, ...]:
        return tuple(entry for entry in self.record.entries if entry.role == role)


def empty(chain_id: str) -> Directory:
    """The directory before the first block: nobody is known."""
    return Directory(DirectoryRecord(chain_id=chain_id), 0)
