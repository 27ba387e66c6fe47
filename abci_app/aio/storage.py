"""The ledger on disk: LevelDB, one synced write batch per Commit, and an undo log that keeps older versions readable.

The batch carries everything a height changes: rows, tree nodes, what both were before, and the height with its app hash.
So a crash leaves one height or the one before, never something between. Key map and reasons: `docs/ledger.md` section 2
and `docs/adr/0010-undo-log.md`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path

import plyvel

from abci_app.application import Staged
from abci_app.state.app_hash import app_hash, leaf_hash
from abci_app.tree import Nodes, Tree
from network.codec import Message, blob, decode, encode, text, uint
from network.errors import DecodeError, PlanetServeError

FORMAT = 1
KEPT_VERSIONS = 100
CHECKED_ROWS = 2_000

_META_KEY = b"m"  # -> Meta
_ROW = b"s"  # s | state key -> value
_NODE = b"t"  # t | tree node key -> node
_UNDO = b"u"  # u | height u64-be | row or node key -> 00, or 01 | the value before that height
_UNDO_HEAD = 9  # the bytes before the row or node key


class StoreError(PlanetServeError):
    """The data directory cannot be used: foreign, stale, corrupt, or held by another process."""


@dataclass(frozen=True, slots=True)
class Meta(Message):
    """What the directory holds, and for which chain."""

    format: int = uint(1)
    chain_id: str = text(2, limit=64)
    genesis_hash: bytes = blob(3, size=32)
    height: int = uint(4)
    app_hash: bytes = blob(5, size=32)
    oldest: int = uint(6)


class Version:
    """The rows of one committed height. It stays right while later heights are committed, as long as it is kept."""

    def __init__(self, store: "LevelStore", height: int) -> None:
        self._store = store
        self._height = height
        self.nodes: Nodes = _Nodes(store, height)

    def get(self, key: bytes) -> bytes | None:
        """The value under `key` at this height, or None."""
        return self._store.read(_ROW + key, self._height)

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, from the key `start` on, in ascending key order."""
        return self._store.scan_rows(prefix, start, self._height)

    def occupant(self, index: int) -> bytes | None:
        """The key of the row at this leaf, or None."""
        return Tree(self.nodes).occupant(index)


class _Nodes:
    __slots__ = ("_height", "_store")

    def __init__(self, store: "LevelStore", height: int) -> None:
        self._store = store
        self._height = height

    def get(self, key: bytes) -> bytes | None:
        return self._store.read(_NODE + key, self._height)


class LevelStore:
    """The open data directory of one replica."""

    def __init__(self, path: Path, *, chain_id: str, genesis_hash: bytes) -> None:
        """Open or create it. Raises StoreError, in words for the operator."""
        self._path = path
        self._db = _open(path)
        try:
            self._meta = self._checked_meta(chain_id, genesis_hash)
        except StoreError:
            self._db.close()
            raise

    @property
    def height(self) -> int:
        """The latest committed height; 0 before the first."""
        return self._meta.height

    @property
    def oldest(self) -> int:
        """The oldest height that `version` can still read."""
        return self._meta.oldest

    @property
    def app_hash(self) -> bytes:
        """The app hash of the latest committed height."""
        return self._meta.app_hash

    def version(self, height: int) -> Version:
        """The committed version at `height`, within `oldest`..`height`."""
        assert self.oldest <= height <= self.height, f"no version {height}"
        return Version(self, height)

    def read(self, key: bytes, height: int) -> bytes | None:
        """What stood under a row's or node's key at `height`: the oldest undo entry above it, else the present value."""
        for later in range(height + 1, self._meta.height + 1):
            undo = self._db.get(_undo_key(later, key))
            if undo is not None:
                return _before(undo)
        value = self._db.get(key)
        return None if value is None else bytes(value)

    def scan_rows(self, prefix: bytes, start: bytes, height: int) -> Iterator[tuple[bytes, bytes]]:
        """Rows of `height` under a prefix, from a key on: the present ones, and over them what later blocks replaced. Both
        are read before the first row is handed out, so a Commit between two rows changes nothing."""
        begin, end = _ROW + max(prefix, start), _after(_ROW + prefix)
        replaced: dict[bytes, bytes | None] = {}
        for later in range(self._meta.height, height, -1):
            for key, entry in self._db.iterator(start=_undo_key(later, begin), stop=_undo_key(later, end)):
                replaced[bytes(key[_UNDO_HEAD:])] = _before(entry)
        with self._db.iterator(start=begin, stop=end) as rows:
            present = ((bytes(key), bytes(value)) for key, value in rows if key not in replaced)
            for key, value in merge(sorted(replaced.items()), present, key=itemgetter(0)):
                if value is not None:
                    yield key[len(_ROW) :], value

    def scan(self, prefix: bytes, *, skip: int) -> Iterator[tuple[bytes, bytes]]:
        """Present rows under a prefix, their keys without the first `skip` bytes."""
        with self._db.iterator(prefix=prefix) as rows:
            for key, value in rows:
                yield bytes(key[skip:]), bytes(value)

    def save(self, staged: Staged, genesis: Staged | None) -> None:
        """Make a version durable in one synced batch, and forget versions beyond KEPT_VERSIONS."""
        base = _flat(genesis) if genesis is not None else {}
        oldest = staged.height - 1 if genesis is not None else self._meta.oldest
        batch = self._db.write_batch(sync=True)
        for key, value in base.items():
            if value is not None:
                batch.put(key, value)
        for key, value in _flat(staged).items():
            before = base.get(key) if genesis is not None else self._db.get(key)
            batch.put(_undo_key(staged.height, key), b"\x00" if before is None else b"\x01" + before)
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        while staged.height - oldest > KEPT_VERSIONS:
            oldest += 1
            for key, _ in self.scan(_undo_key(oldest, b""), skip=0):
                batch.delete(key)
        meta = Meta(FORMAT, self._meta.chain_id, self._meta.genesis_hash, staged.height, staged.app_hash, oldest)
        batch.put(_META_KEY, encode(meta))
        batch.write()
        self._meta = meta

    def close(self) -> None:
        """Release the directory."""
        self._db.close()

    def _checked_meta(self, chain_id: str, genesis_hash: bytes) -> Meta:
        try:
            raw = self._db.get(_META_KEY)
            if raw is None:
                if next(self.scan(b"", skip=0), None) is not None:
                    raise StoreError(
                        f"{self._path} holds a database that is not PlanetServe's; name another [app] data directory"
                    )
                return Meta(FORMAT, chain_id, genesis_hash)
            meta = decode(Meta, raw)
            self._meta = meta
            if meta.format != FORMAT:
                raise StoreError(
                    f"{self._path} has format {meta.format}, this release reads {FORMAT}; remove it to replay the chain"
                )
            if meta.chain_id != chain_id:
                raise StoreError(f"{self._path} belongs to the chain {meta.chain_id!r}, not to {chain_id!r}; move it away")
            if meta.genesis_hash != genesis_hash:
                raise StoreError(
                    f"{self._path} was begun from another genesis of {chain_id!r}; move it and CometBFT's data away"
                )
            self._check_integrity()
        except (plyvel.Error, DecodeError, AssertionError) as error:
            raise StoreError(
                f"{self._path} is corrupt ({error}); remove it: CometBFT replays its blocks into a new one"
            ) from error
        return meta

    def _check_integrity(self) -> None:
        """The stored root is the app hash, and a run of rows, another at every height, are the leaves they should be."""
        version = self.version(self.height)
        tree = Tree(version.nodes)
        if app_hash(tree.root()) != self.app_hash:
            raise StoreError(
                f"{self._path} is corrupt: its tree does not lead to the app hash of height {self.height}; remove it to replay"
            )
        turn = _ROW + bytes([self.app_hash[0] & 0x0F]) + self.app_hash[1:2]
        with (
            self._db.iterator(start=turn, stop=_NODE, verify_checksums=True) as later,
            self._db.iterator(start=_ROW, stop=turn, verify_checksums=True) as earlier,
        ):
            for key, value in islice(chain(later, earlier), CHECKED_ROWS):
                if tree.prove(key[1:]).leaf != leaf_hash(key[1:], value):
                    raise StoreError(
                        f"{self._path} is corrupt: row {key[1:].hex()} is not what its tree says; remove it to replay"
                    )


def _open(path: Path) -> "plyvel.DB":
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is not a directory; name another [app] data directory")
    if path.exists() and any(path.iterdir()) and not (path / "CURRENT").exists():
        raise StoreError(f"{path} holds files that are not a LevelDB database; name another [app] data directory")
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return plyvel.DB(
            str(path),
            create_if_missing=True,
            paranoid_checks=True,
            write_buffer_size=1 << 20,
            lru_cache_size=4 << 20,
            max_open_files=64,
        )
    except (plyvel.CorruptionError, plyvel.IOError, OSError) as error:
        reason = str(error)
        if "lock" in reason.lower():
            raise StoreError(f"{path} is in use by another process; stop it, or name another [app] data directory") from error
        raise StoreError(
            f"{path} cannot be opened ({reason}); free space or restore it, or remove it to replay the chain"
        ) from error


def _flat(staged: Staged) -> dict[bytes, bytes | None]:
    return {_ROW + key: value for key, value in staged.rows} | {_NODE + key: value for key, value in staged.nodes}


def _undo_key(height: int, key: bytes) -> bytes:
    return _UNDO + height.to_bytes(8, "big") + key


def _before(entry: bytes) -> bytes | None:
    """What an undo entry says stood there."""
    return bytes(entry[1:]) if entry[:1] == b"\x01" else None


def _after(prefix: bytes) -> bytes:
    """The first key beyond those that begin with `prefix`, whose first byte is below 255."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1])
