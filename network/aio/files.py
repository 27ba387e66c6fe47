"""Files that a crash leaves whole: a small one replaced at once, a large one written to its last byte, names made durable."""

import os
from pathlib import Path


def replace(path: Path, text: str, mode: int = 0o600) -> None:
    """Put a file of this text in the place of `path`, on disk before this returns. Raises OSError, and leaves the old one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def write(path: Path, raw: bytes) -> None:
    """Write a file that a power failure does not take back, once its folder is synced. Raises OSError."""
    with path.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the folder's names durable. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
