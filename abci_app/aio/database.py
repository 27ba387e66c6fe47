"""The LevelDB directory itself: opening it, what it says about itself, and putting a restored one in its place.

Only one process holds a directory: LevelDB locks it. Every complaint is a StoreError in words for the operator.
"""

import fcntl
import shutil
from dataclasses import dataclass
from pathlib import Path

import plyvel

from network.aio.files import sync_folder
from network.codec import Message, blob, text, uint
from network.errors import PlanetServeError

FORMAT = 1


class StoreError(PlanetServeError):
    """The data directory cannot be used: foreign, stale, corrupt, full, or held by another process."""


@dataclass(frozen=True, slots=True)
class Meta(Message):
    """What the directory holds, and for which chain."""

    format: int = uint(1)
    chain_id: str = text(2, limit=64)
    genesis_hash: bytes = blob(3, size=32)
    height: int = uint(4)
    app_hash: bytes = blob(5, size=32)
    oldest: int = uint(6)


def open_database(path: Path) -> "plyvel.DB":
    """Open or create the directory. Raises StoreError."""
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
            # With LevelDB's defaults reading takes half of a block's time at 100,000 rows; hashes do not compress.
            write_buffer_size=4 << 20,
            lru_cache_size=32 << 20,
            bloom_filter_bits=10,
            compression=None,
            max_open_files=64,
        )
    except (plyvel.CorruptionError, plyvel.IOError, OSError) as error:
        reason = str(error)
        if "lock" in reason.lower():
            raise StoreError(f"{path} is in use by another process; stop it, or name another [app] data directory") from error
        raise StoreError(
            f"{path} cannot be opened ({reason}); free space or restore it, or remove it to replay the chain"
        ) from error


def side_path(path: Path) -> Path:
    """Where a replacement of the directory is built."""
    return path.with_name(f"{path.name}.restoring")


def put_in_place(path: Path) -> None:
    """Replace the closed directory by the complete one beside it. A crash in between is finished by `settle`."""
    old = _old_path(path)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    side_path(path).rename(path)
    sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def settle(path: Path) -> None:
    """Finish a replacement that a crash interrupted: the old directory was put aside only once the new one was complete."""
    if not path.exists() and _old_path(path).exists() and side_path(path).exists():
        side_path(path).rename(path)
        sync_folder(path.parent)


def require_unused(path: Path) -> None:
    """Raises StoreError where another process uses the directory, or it is not a database that may be replaced. It need not
    be sound, so it is asked for LevelDB's lock alone."""
    settle(path)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / "CURRENT").exists():
        raise StoreError(f"{path} holds files that are not a LevelDB database; name another [app] data directory")
    with (path / "LOCK").open("ab") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(f"{path} is in use by another process; stop the validator first") from error


def clear_leftovers(path: Path) -> None:
    """Remove what an interrupted restore left; for the process that holds the directory."""
    for leftover in (side_path(path), _old_path(path)):
        shutil.rmtree(leftover, ignore_errors=True)


def _old_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.replaced")
