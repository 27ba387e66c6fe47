"""State: an overlay of pending writes on a read-only base, so that applying a block leaves its input as it was.

The base is any `Reader` (the LevelDB view, a dictionary in tests, another State). `fork` gives a child whose writes
reach the parent only through `merge`; a transaction that fails is a fork that is dropped.
"""

from collections.abc import Iterator
from typing import Protocol, TypeVar

from abci_app.state.app_hash import leaf_index
from network.codec import Message, decode, encode

M = TypeVar("M", bound=Message)
DECODED_RECORDS = 4096  # of one kind
DECODED_BYTES = 512  # of one record, at most


class Reader(Protocol):
    """What a State stands on: committed rows, readable by key and in key order by prefix."""

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, in ascending key order."""

    def occupant(self, index: int) -> bytes | None:
        """The key of the committed row that holds this leaf of the app hash's tree, or None."""


class Decoded:
    """Small records as they were decoded, by kind and bytes: parameters, epoch and committee are read by every transaction.

    Only what `decode` made is kept, never what was about to be encoded, so that a record is the same object to every
    reader and no replica sees another type of number than one that has just started."""

    __slots__ = ("_records",)

    def __init__(self) -> None:
        self._records: dict[type[Message], dict[bytes, Message]] = {}

    def record(self, kind: type[M], raw: bytes) -> M:
        """The record whose bytes are `raw`. Raises DecodeError."""
        known = self._records.get(kind)
        if known is None:
            known = self._records[kind] = {}
        held: Message | None = known.get(raw)
        if held is not None:
            assert isinstance(held, kind)
            return held
        record = decode(kind, raw)
        if len(raw) <= DECODED_BYTES:
            if len(known) >= DECODED_RECORDS:
                known.clear()
            known[raw] = record
        return record


class State:
    """Readable and writable view; writes stay in this object until somebody asks for `changes`. Forks share what has been
    `decoded`, and so may States that stand on different heights."""

    __slots__ = ("_base", "_decoded", "_writes")

    def __init__(self, base: Reader, decoded: Decoded | None = None) -> None:
        self._base = base
        self._decoded = decoded or Decoded()
        self._writes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, pending writes first."""
        if key in self._writes:
            return self._writes[key]
        return self._base.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Stage a write. Empty values are refused: a proof could not tell them from absence."""
        assert value, f"empty value under {key.hex()}"
        self._writes[key] = value

    def delete(self, key: bytes) -> None:
        """Stage a removal."""
        self._writes[key] = None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows under `prefix` in ascending key order, with the pending writes applied."""
        rows = dict(self._base.scan(prefix))
        for key, value in self._writes.items():
            if not key.startswith(prefix):
                continue
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        yield from sorted(rows.items())

    def occupant(self, index: int) -> bytes | None:
        """The key of the committed row at this leaf; pending writes do not show."""
        return self._base.occupant(index)

    def load(self, kind: type[M], key: bytes) -> M | None:
        """The record under `key`, decoded; None when absent. A row that does not decode is a broken store and crashes."""
        raw = self.get(key)
        return None if raw is None else self._decoded.record(kind, raw)

    def save(self, key: bytes, record: Message) -> None:
        """Stage a record under `key`."""
        self.put(key, encode(record))

    def fork(self) -> "State":
        """A child state; this one does not see its writes."""
        return State(self, self._decoded)

    def merge(self, child: "State") -> None:
        """Take over the writes of a fork of this state."""
        assert child._base is self
        self._writes.update(child._writes)

    def changes(self) -> list[tuple[bytes, bytes | None]]:
        """The pending writes in ascending key order; None is a removal."""
        if len(self._writes) < 2:
            return list(self._writes.items())
        return sorted(self._writes.items())


class MemoryReader:
    """The simplest Reader: a dictionary. The twin of the LevelDB view in tests, and the base of a fresh chain."""

    __slots__ = ("rows",)

    def __init__(self, rows: dict[bytes, bytes] | None = None) -> None:
        self.rows = rows or {}

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None."""
        return self.rows.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, in ascending key order."""
        return iter(sorted((key, value) for key, value in self.rows.items() if key.startswith(prefix)))

    def occupant(self, index: int) -> bytes | None:
        """The key of the row at this leaf, found by looking at every row."""
        return next((key for key in sorted(self.rows) if leaf_index(key) == index), None)
