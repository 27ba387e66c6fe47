"""Kept versions of the ledger, read from LevelDB: the present rows and nodes, and over them what later blocks replaced.

The key map is here; `storage.py` writes it. What it means: `docs/ledger.md` section 2, `docs/adr/0010-undo-log.md`.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from heapq import merge
from itertools import islice
from typing import Any

from abci_app.state.app_hash import app_hash
from abci_app.tree import Nodes, Tree

META_KEY = b"m"  # -> Meta
ROW = b"s"  # s | state key -> value
NODE = b"t"  # t | tree node key -> node
UNDO = b"u"  # u | height u64-be | row or node key -> 00, or 01 | the value before that height
_UNDO_HEAD = 9  # the bytes before the row or node key
# Present values kept in memory, some 15 MB of them: what a block reads and writes, the next one reads again.
REMEMBERED = 60_000
_REMEMBERED_BYTES = 1024  # of one value, at most
_UNKNOWN = object()


class Rows:
    """What a database holds, up to its latest height. `database` is a plyvel database or a snapshot of one; `remember` is
    how many present values are kept in memory, for whoever tells what he `wrote`."""

    __slots__ = ("_database", "_present", "_remember", "latest")

    def __init__(self, database: Any, latest: int, remember: int = 0) -> None:
        self._database = database
        self._remember = remember
        self._present: dict[bytes, bytes | None] = {}
        self.latest = latest

    def read(self, key: bytes, height: int) -> bytes | None:
        """What stood under a row's or node's key at `height`: the oldest undo entry above it, else the present value."""
        for later in range(height + 1, self.latest + 1):
            undo = self._database.get(undo_key(later, key))
            if undo is not None:
                return before(undo)
        return self.present(key)

    def present(self, key: bytes) -> bytes | None:
        """What stands under a row's or node's key."""
        held: Any = self._present.get(key, _UNKNOWN)
        if held is not _UNKNOWN:
            return held  # type: ignore[no-any-return]
        value: bytes | None = self._database.get(key)
        if self._remember and (value is None or len(value) <= _REMEMBERED_BYTES):
            self._present[key] = value
            self._trim()
        return value

    def all_present(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """What stands under each of these keys."""
        held = self._present
        return [held[key] if key in held else self.present(key) for key in keys]

    def wrote(self, changes: Mapping[bytes, bytes | None]) -> None:
        """These values stand there now."""
        if not self._remember:
            return
        self._present.update(changes)
        for key in [key for key, value in changes.items() if value is not None and len(value) > _REMEMBERED_BYTES]:
            del self._present[key]
        self._trim()

    def forget(self) -> None:
        """Keep nothing in memory: the database was changed otherwise."""
        self._present.clear()

    def _trim(self) -> None:
        if len(self._present) > self._remember:
            for oldest in list(islice(self._present, len(self._present) - self._remember * 3 // 4)):
                del self._present[oldest]

    def scan(self, prefix: bytes, start: bytes, height: int) -> Iterator[tuple[bytes, bytes]]:
        """Rows of `height` under a prefix, from a key on: of each key the oldest undo entry above the height, else the present
        value. Every stream stands on what LevelDB held when the first row was asked for, so a Commit between two rows changes
        nothing; and none is read further than the rows that are taken, so a page of an old height costs a page."""
        begin, end = ROW + max(prefix, start), _after(ROW + prefix)
        with ExitStack() as streams:
            rows = streams.enter_context(self._database.iterator(start=begin, stop=end))
            newest = self.latest
            merged: list[Iterator[tuple[bytes, int, bytes | None]]] = [
                ((bytes(key), newest + 1, bytes(value)) for key, value in rows)
            ]
            for later in range(height + 1, newest + 1):
                undo = streams.enter_context(self._database.iterator(start=undo_key(later, begin), stop=undo_key(later, end)))
                merged.append(_undone(undo, later))
            last = b""
            for key, _, value in merge(*merged):
                if key != last and value is not None:
                    yield key[len(ROW) :], value
                last = key


class Version:
    """The rows of one committed height. It stays right while later heights are committed, as long as it is kept."""

    def __init__(self, rows: Rows, height: int) -> None:
        self._rows = rows
        self._height = height
        self.nodes: Nodes = _Nodes(rows, height)

    def app_hash(self) -> bytes:
        """The app hash that this height's tree leads to."""
        return app_hash(Tree(self.nodes).root())

    def get(self, key: bytes) -> bytes | None:
        """The value under `key` at this height, or None."""
        return self._rows.read(ROW + key, self._height)

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, from the key `start` on, in ascending key order."""
        return self._rows.scan(prefix, start, self._height)

    def occupant(self, index: int) -> bytes | None:
        """The key of the row at this leaf, or None."""
        return Tree(self.nodes).occupant(index)


class _Nodes:
    __slots__ = ("_height", "_rows")

    def __init__(self, rows: Rows, height: int) -> None:
        self._rows = rows
        self._height = height

    def get(self, key: bytes) -> bytes | None:
        return self._rows.read(NODE + key, self._height)


def undo_key(height: int, key: bytes) -> bytes:
    """Where the value that `height` replaced under a row's or node's key is kept."""
    return UNDO + height.to_bytes(8, "big") + key


def _undone(undo: Iterator[tuple[bytes, bytes]], later: int) -> Iterator[tuple[bytes, int, bytes | None]]:
    """The entries of one height: key, that height, and what stood there before it."""
    for key, entry in undo:
        yield undone_key(key), later, before(entry)


def before(entry: bytes) -> bytes | None:
    """What an undo entry says stood there."""
    return bytes(entry[1:]) if entry[:1] == b"\x01" else None


def undone_key(key: bytes) -> bytes:
    """The row's or node's key that an undo entry's key is about."""
    return bytes(key[_UNDO_HEAD:])


def _after(prefix: bytes) -> bytes:
    """The first key beyond those that begin with `prefix`, whose first byte is below 255."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1])
