"""The models folder: a file is there whole and right, or it is not there.

Files are written beside their target under a name that ends in `.part`, then renamed: an interrupted run leaves nothing
that a later run could take for a model, and the later run removes what it finds of it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from serving_node.models.catalogue import ModelFile
from serving_node.models.errors import ModelError, PreflightError

_SPARE_BYTES = 64 * 1024 * 1024


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return file_digest(handle, "sha256").hexdigest()


def is_right(path: Path, wanted: ModelFile) -> bool:
    """Whether `path` is there and has the wanted size and hash, as far as these are pinned."""
    if not path.is_file() or (wanted.size and path.stat().st_size != wanted.size):
        return False
    return not wanted.sha256 or file_sha256(path) == wanted.sha256


def prepare_folder(folder: Path, needed: int) -> None:
    """Make `folder` and check that `needed` bytes fit. Raises PreflightError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PreflightError(
            f"cannot make {folder}: {error.strerror}. Set XDG_CACHE_HOME to a folder you may write to."
        ) from error
    if not os.access(folder, os.W_OK):
        raise PreflightError(f"{folder} may not be written to. Change its owner, or set XDG_CACHE_HOME to another folder.")
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise PreflightError(
            f"{folder} has {free >> 20} MiB free, {(needed + _SPARE_BYTES) >> 20} MiB are needed. "
            "Free some space, or set XDG_CACHE_HOME to a folder on another disk."
        )


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write to, renamed to `target` when the block ends well and removed when it does not."""
    for stale in target.parent.glob(f".{target.name}.*.part"):
        if not Path(f"/proc/{stale.suffixes[-2][1:]}").exists():
            _remove(stale)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, target)
    except OSError as error:
        raise PreflightError(f"cannot write {target}: {error.strerror or error}. Check free space and rights.") from error
    finally:
        _remove(part)


def check_made(path: Path, wanted: ModelFile) -> None:
    """Refuse a freshly made file whose bytes are not the pinned ones. Raises ModelError."""
    if not is_right(path, wanted):
        raise ModelError(
            f"the new {wanted.name} has SHA-256 {file_sha256(path)}, this release expects {wanted.sha256}. "
            "The `gguf` or `numpy` installed here rounds or writes differently: install the locked versions (make setup)."
        )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
