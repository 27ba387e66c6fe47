"""A validator's folder of snapshots: taking them beside the running chain, offering and deleting them.

A snapshot is a folder named after its height with `metadata` and its chunks `000000`, `000001`, …. It is built under
another name and renamed when all of it is durable, so a crash leaves whole ones only. It is taken from a LevelDB snapshot
in slices of 3 ms on the event loop, with pauses as long, so that blocks go on; chunks are written by a thread.
"""

import asyncio
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, thread_time

import plyvel

from abci_app.aio.database import StoreError
from abci_app.aio.storage import LevelStore
from abci_app.aio.versions import Version
from abci_app.snapshot import Snapshot, Step, decode_snapshot, take
from abci_app.state_sync import MOST_OFFERS, Offer, offer_of
from network.aio import files
from network.crypto import sha256
from network.errors import DecodeError

# Of this thread's CPU, so that a busy machine makes a slice no smaller; and of the clock.
SLICE, PAUSE = 0.003, 0.003
# A snapshot that a crash or a restart has prevented is taken this many heights later at most: the undo log is read for it.
LATE = 20
METADATA = "metadata"
_MAKING = ".making"

logger = logging.getLogger(__name__)


class SnapshotFolder:
    """Whole snapshots on disk, by height."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: dict[int, Snapshot] = {}
        for entry in sorted(path.iterdir()) if path.is_dir() else ():
            if entry.name.isdigit() and (snapshot := _load(entry)) is not None:
                self._held[snapshot.height] = snapshot

    @property
    def oldest(self) -> int | None:
        """The lowest height that has a snapshot, or None."""
        return min(self._held, default=None)

    def list(self) -> list[Snapshot]:
        """All of them, newest first."""
        return [self._held[height] for height in sorted(self._held, reverse=True)]

    def get(self, height: int) -> Snapshot:
        """One of them. Raises StoreError when there is none."""
        if height not in self._held:
            raise StoreError(f"{self._path} has no snapshot of height {height}; `list` shows those there are")
        return self._held[height]

    def offers(self) -> Sequence[Offer]:
        """The newest ones, as peers are told of them."""
        return [offer_of(snapshot) for snapshot in self.list()[:MOST_OFFERS]]

    def chunk(self, height: int, index: int) -> bytes:
        """A chunk's bytes; empty when it is not there, or no longer what it was."""
        snapshot = self._held.get(height)
        if snapshot is None or index >= len(snapshot.parts):
            return b""
        try:
            raw = self._file(height, index).read_bytes()
        except OSError as error:
            logger.error("chunk %d of the snapshot of height %d cannot be read (%s); delete it", index, height, error)
            return b""
        if sha256(raw) != snapshot.parts[index].chunk:
            logger.error("chunk %d of the snapshot of height %d has changed on disk; delete it", index, height)
            return b""
        return raw

    def begin(self, height: int) -> Path:
        """An empty folder to build the snapshot of a height in."""
        self.clear_leftovers()
        making = self._path / f"{height}{_MAKING}"
        making.mkdir(parents=True)
        return making

    def finish(self, snapshot: Snapshot) -> None:
        """All chunks are written: the snapshot is whole."""
        making = self._path / f"{snapshot.height}{_MAKING}"
        files.write(making / METADATA, snapshot.metadata)
        files.sync_folder(making)
        shutil.rmtree(self._path / str(snapshot.height), ignore_errors=True)
        making.rename(self._path / str(snapshot.height))
        files.sync_folder(self._path)
        self._held[snapshot.height] = snapshot

    def delete(self, height: int) -> None:
        """Remove one. Raises StoreError when there is none."""
        self.get(height)
        shutil.rmtree(self._path / str(height), ignore_errors=True)
        del self._held[height]

    def keep(self, count: int) -> None:
        """Remove all but the newest `count`."""
        for snapshot in self.list()[count:]:
            self.delete(snapshot.height)

    def clear_leftovers(self) -> None:
        """Remove what a crash left half made."""
        for entry in self._path.glob(f"*{_MAKING}") if self._path.is_dir() else ():
            shutil.rmtree(entry, ignore_errors=True)

    def _file(self, height: int, index: int) -> Path:
        return self._path / str(height) / chunk_name(index)


class SnapshotMaker:
    """The shelf of a running replica: takes a snapshot every `interval` heights, none if that is 0, and keeps the newest
    `keep`."""

    def __init__(self, store: LevelStore, folder: SnapshotFolder, *, interval: int, keep: int) -> None:
        self._store = store
        self._folder = folder
        self._interval = interval
        self._keep = keep
        self._newest = max((snapshot.height for snapshot in folder.list()), default=0)
        self._task: asyncio.Task[None] | None = None
        folder.clear_leftovers()

    @property
    def oldest(self) -> int | None:
        """The lowest height that has a snapshot, or None."""
        return self._folder.oldest

    @property
    def busy(self) -> bool:
        """Whether one is being taken."""
        return self._task is not None and not self._task.done()

    def offers(self) -> Sequence[Offer]:
        """What is offered, newest first."""
        return self._folder.offers()

    def chunk(self, height: int, index: int) -> bytes:
        """A chunk's bytes, or none."""
        return self._folder.chunk(height, index)

    def committed(self, height: int) -> None:
        """Begin a snapshot where one is due and none is being taken."""
        if not self._interval:
            return
        due = height - height % self._interval
        if self.busy or due <= self._newest or height - due > LATE or due < max(1, self._store.oldest):
            return
        self._newest = due
        held = ExitStack()
        version = held.enter_context(self._store.frozen(due))
        self._task = asyncio.get_running_loop().create_task(self._take(due, version, held))

    async def close(self) -> None:
        """Give up what is being taken."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _take(self, height: int, version: Version, held: ExitStack) -> None:
        began = monotonic()
        with held:
            try:
                making = self._folder.begin(height)
                steps = take(version, self._store.chain_id, height, version.app_hash())
                snapshot = await _in_slices(steps, making)
                await asyncio.to_thread(self._folder.finish, snapshot)
            except (OSError, ValueError, plyvel.Error) as error:
                self._folder.clear_leftovers()
                logger.error("no snapshot of height %d could be taken: %s", height, error)
                return
        self._folder.keep(self._keep)
        logger.info("snapshot of height %d: %d chunks in %.1f s", height, len(snapshot.parts), monotonic() - began)


async def _in_slices(steps: Iterator[Step], making: Path) -> Snapshot:
    pause_at = thread_time() + SLICE
    while not isinstance(step := next(steps), Snapshot):
        if step is not None:
            await asyncio.to_thread(files.write, making / chunk_name(step.number), step.raw)
        if thread_time() > pause_at:
            await asyncio.sleep(PAUSE)
            pause_at = thread_time() + SLICE
    return step


def take_now(store: LevelStore, folder: SnapshotFolder, height: int) -> Snapshot:
    """The snapshot of a kept height, at once: for an operator whose validator is stopped. Raises StoreError."""
    store.require_kept(height)
    try:
        with store.frozen(height) as version:
            making = folder.begin(height)
            steps = take(version, store.chain_id, height, version.app_hash())
            while not isinstance(step := next(steps), Snapshot):
                if step is not None:
                    files.write(making / chunk_name(step.number), step.raw)
        folder.finish(step)
    except (OSError, ValueError, plyvel.Error) as error:
        folder.clear_leftovers()
        raise StoreError(f"no snapshot of height {height} could be taken: {error}") from error
    return step


def chunk_name(index: int) -> str:
    """The file of a chunk."""
    return f"{index:06d}"


def _load(entry: Path) -> Snapshot | None:
    """The snapshot in a folder; None, and a line in the log, when it is not one."""
    try:
        snapshot = decode_snapshot((entry / METADATA).read_bytes())
        missing = [at for at in range(len(snapshot.parts)) if not (entry / chunk_name(at)).is_file()]
    except (OSError, DecodeError) as error:
        logger.warning("%s is no snapshot (%s); remove it", entry, error)
        return None
    if missing or entry.name != str(snapshot.height):
        logger.warning("%s is no whole snapshot; remove it", entry)
        return None
    return snapshot
