"""The ledger on disk: LevelDB, one synced write batch per Commit, and an undo log that keeps older versions readable.

The batch carries everything a height changes: rows, tree nodes, what both were before, and the height with its app hash.
So a crash leaves one height or the one before, never something between. Key map and reasons: `docs/ledger.md` section 2
and `docs/adr/0010-undo-log.md`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import plyvel

from abci_app.aio.checks import Checked, check_all, check_start
from abci_app.aio.database import (
    FORMAT,
    Meta,
    StoreError,
    clear_leftovers,
    open_database,
    put_in_place,
    settle,
    side_path,
)
from abci_app.aio.versions import META_KEY, NODE, REMEMBERED, ROW, Rows, Version, before, undo_key, undone_key
from abci_app.application import Staged
from abci_app.state.app_hash import app_hash
from abci_app.tree import Nodes, Tree
from network.codec import decode, encode
from network.errors import ConfigError, DecodeError

__all__ = ["KEPT_VERSIONS", "LevelStore", "Restoring", "StoreError"]

KEPT_VERSIONS = 100

Changes = Iterable[tuple[bytes, bytes | None]]


class LevelStore:
    """The open data directory of one replica."""

    def __init__(self, path: Path, *, chain_id: str, genesis_hash: bytes) -> None:
        """Open or create it. Raises StoreError, in words for the operator."""
        self._path = path
        settle(path)
        self._db = open_database(path)
        try:
            clear_leftovers(path)
            self._meta = self._checked_meta(chain_id, genesis_hash)
        except StoreError:
            self._db.close()
            raise
        self._rows = Rows(self._db, self._meta.height, REMEMBERED)

    @property
    def chain_id(self) -> str:
        """The chain whose ledger it holds."""
        return self._meta.chain_id

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
        return Version(self._rows, height)

    def require_kept(self, height: int) -> None:
        """Raises StoreError when a block's height is not, or no longer, among the kept versions."""
        if not max(1, self.oldest) <= height <= self.height:
            raise StoreError(f"height {height} is not kept; {max(1, self.oldest)} to {self.height} are")

    @contextmanager
    def frozen(self, height: int) -> Iterator[Version]:
        """The version at `height`, readable until the end of the block however many heights are committed meanwhile."""
        assert self.oldest <= height <= self.height, f"no version {height}"
        with self._db.snapshot() as held:
            yield Version(Rows(held, self.height), height)

    def save(self, staged: Staged, genesis: Staged | None) -> None:
        """Make a version durable in one synced batch, and forget versions beyond KEPT_VERSIONS. Raises StoreError when the
        disk refuses; then the height before is what the directory holds."""
        base = _flat(genesis.rows, genesis.nodes) if genesis is not None else {}
        oldest = staged.height - 1 if genesis is not None else self._meta.oldest
        batch = self._db.write_batch(sync=True)
        for key, value in base.items():
            if value is not None:
                batch.put(key, value)
        changes = _flat(staged.rows, staged.nodes)
        stood = self._rows.all_present(changes) if genesis is None else [base.get(key) for key in changes]
        put, undo = batch.put, undo_key(staged.height, b"")
        for (key, value), before_it in zip(changes.items(), stood, strict=True):
            put(undo + key, b"\x00" if before_it is None else b"\x01" + before_it)
            if value is None:
                batch.delete(key)
            else:
                put(key, value)
        while staged.height - oldest > KEPT_VERSIONS:
            oldest += 1
            for key in self._db.iterator(prefix=undo_key(oldest, b""), include_value=False):
                batch.delete(key)
        meta = replace(self._meta, height=staged.height, app_hash=staged.app_hash, oldest=oldest)
        self._write(batch, meta)
        self._rows.wrote(base | changes)

    def rollback(self) -> int:
        """Go back to the height before, as `cometbft rollback` does, and answer it. Raises StoreError when that version is
        not kept."""
        height = self.height - 1
        if height < max(1, self.oldest):
            raise StoreError(f"{self._path} is at height {self.height} and keeps nothing before it; restore a snapshot instead")
        batch = self._db.write_batch(sync=True)
        for key, entry in self._db.iterator(prefix=undo_key(self.height, b"")):
            _put(batch, undone_key(key), before(entry))
            batch.delete(key)
        self._write(batch, replace(self._meta, height=height, app_hash=self.version(height).app_hash()))
        self._rows.forget()
        return height

    def restoring(self, height: int, trusted: bytes) -> "Restoring":
        """A directory beside this one that becomes it once it leads to the trusted app hash."""
        meta = replace(self._meta, height=height, app_hash=trusted, oldest=height)
        return Restoring(self._path, meta, self._adopt)

    def verify_all(self) -> Checked:
        """Read everything and compare. Raises StoreError for the first thing that does not agree."""
        if not self.height:
            raise StoreError(f"{self._path} holds no height yet")
        return check_all(self._path, self._db, self._meta)

    def close(self) -> None:
        """Release the directory."""
        self._db.close()

    def _adopt(self, meta: Meta) -> None:
        self._db.close()
        put_in_place(self._path)
        self._db = open_database(self._path)
        self._meta = meta
        self._rows = Rows(self._db, meta.height, REMEMBERED)

    def _write(self, batch: "plyvel.WriteBatch", meta: Meta) -> None:
        batch.put(META_KEY, encode(meta))
        try:
            batch.write()
        except plyvel.IOError as error:
            raise StoreError(
                f"{self._path}: height {meta.height} cannot be written ({error}); height {self.height} is safe. Free space and "
                "start again: CometBFT hands the block over once more"
            ) from error
        self._meta = meta
        self._rows.latest = meta.height

    def _checked_meta(self, chain_id: str, genesis_hash: bytes) -> Meta:
        try:
            raw = self._db.get(META_KEY, verify_checksums=True)
            if raw is None:
                if next(iter(self._db.iterator(include_value=False)), None) is not None:
                    raise StoreError(
                        f"{self._path} holds a database that is not PlanetServe's; name another [app] data directory"
                    )
                return Meta(FORMAT, chain_id, genesis_hash)
            meta = decode(Meta, raw)
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
            check_start(self._path, self._db, meta)
        except (plyvel.Error, DecodeError, AssertionError) as error:
            raise StoreError(
                f"{self._path} is corrupt ({error}); restore a snapshot, or remove it: CometBFT replays its blocks"
            ) from error
        return meta


class Restoring:
    """A data directory while it is restored. Every part is durable when `add` returns; nothing counts before `finish`."""

    def __init__(self, path: Path, meta: Meta, adopt: Callable[[Meta], None]) -> None:
        """Begin. Raises ConfigError where a directory could not take the place of the present one at the end."""
        if path.is_mount():
            raise ConfigError(f"app.data: {path} is a mount point, which nothing can replace; name a folder below it")
        clear_leftovers(path)
        self._path = path
        self._meta = meta
        self._adopt = adopt
        self._db = open_database(side_path(path))
        self.nodes: Nodes = Version(Rows(self._db, 0), 0).nodes

    def add(self, rows: Changes, nodes: Changes) -> None:
        """Write rows, and the tree nodes that they change."""
        batch = self._db.write_batch(sync=True)
        for key, value in _flat(rows, nodes).items():
            _put(batch, key, value)
        self._write(batch)

    def finish(self) -> None:
        """Take the place of the directory. The tree must lead to the app hash."""
        assert app_hash(Tree(self.nodes).root()) == self._meta.app_hash, "a restored tree that does not lead to its app hash"
        batch = self._db.write_batch(sync=True)
        batch.put(META_KEY, encode(self._meta))
        self._write(batch)
        self._db.close()
        self._adopt(self._meta)

    def drop(self) -> None:
        """Give up and remove what was written."""
        self._db.close()
        clear_leftovers(self._path)

    def _write(self, batch: "plyvel.WriteBatch") -> None:
        try:
            batch.write()
        except plyvel.IOError as error:
            raise StoreError(
                f"{side_path(self._path)}: a restored part cannot be written ({error}); free space and start again"
            ) from error


def _flat(rows: Changes, nodes: Changes) -> dict[bytes, bytes | None]:
    return {ROW + key: value for key, value in rows} | {NODE + key: value for key, value in nodes}


def _put(batch: "plyvel.WriteBatch", key: bytes, value: bytes | None) -> None:
    if value is None:
        batch.delete(key)
    else:
        batch.put(key, value)
