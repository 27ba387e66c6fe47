"""A snapshot as one file that can be carried to another machine, and a data directory restored from one.

The file is uvarint length | metadata, then uvarint length | chunk for each part: as canonical as the snapshot itself. What
is restored has been verified to lead to the app hash that the metadata names; that this is the chain's is for CometBFT to
find, which compares it with the block after when it replays.
"""

from collections.abc import Iterator
from pathlib import Path

from abci_app.aio.database import FORMAT, Meta, StoreError, put_in_place, require_unused
from abci_app.aio.snapshots import METADATA, SnapshotFolder, chunk_name
from abci_app.aio.storage import Restoring
from abci_app.snapshot import CHUNK_LIMIT, METADATA_LIMIT, Snapshot, decode_snapshot
from abci_app.state_sync import Outcome, Restore, Verdict, offer_of
from network.codec import decode_varint, encode_varint
from network.errors import DecodeError


def export_snapshot(folder: SnapshotFolder, height: int, target: Path) -> Snapshot:
    """Write one snapshot to a file that does not exist yet. Raises StoreError."""
    snapshot = folder.get(height)
    try:
        with target.open("xb") as file:
            file.write(_framed(snapshot.metadata))
            for index in range(len(snapshot.parts)):
                raw = folder.chunk(height, index)
                if not raw:
                    raise StoreError(f"chunk {index} of the snapshot of height {height} is damaged; delete the snapshot")
                file.write(_framed(raw))
    except FileExistsError as error:
        raise StoreError(f"{target} exists; name a file that does not") from error
    except (OSError, StoreError) as error:
        target.unlink(missing_ok=True)
        raise error if isinstance(error, StoreError) else StoreError(f"{target} cannot be written ({error})") from error
    return snapshot


def restore_snapshot(source: Path, data: Path, *, chain_id: str, genesis_hash: bytes) -> Snapshot:
    """Replace the data directory, which may be damaged or missing, by what a snapshot holds: a folder of ours or an
    exported file. The directory is untouched until all of it is restored. Raises StoreError."""
    require_unused(data)
    parts = _folder_parts(source) if source.is_dir() else _file_parts(source)
    try:
        snapshot = decode_snapshot(next(parts))

        def beside(height: int, trusted: bytes) -> Restoring:
            meta = Meta(FORMAT, chain_id, genesis_hash, height, trusted, height)
            return Restoring(data, meta, lambda _meta: put_in_place(data))

        restore = Restore(chain_id, beside)
        if restore.offer(offer_of(snapshot), snapshot.app_hash) is not Verdict.ACCEPT:
            raise StoreError(f"{source} is of the chain {snapshot.chain_id!r}, not of {chain_id!r}")
        for index in range(len(snapshot.parts)):
            if restore.apply(index, next(parts), "").outcome is not Outcome.ACCEPT:
                restore.drop()
                raise StoreError(f"{source} is damaged: chunk {index} is not what its metadata lists; take another snapshot")
    except (OSError, DecodeError, StopIteration) as error:
        raise StoreError(f"{source} is not a whole snapshot ({error or 'it ends early'})") from error
    return snapshot


def _folder_parts(folder: Path) -> Iterator[bytes]:
    yield (folder / METADATA).read_bytes()
    index = 0
    while (folder / chunk_name(index)).exists():
        yield (folder / chunk_name(index)).read_bytes()
        index += 1


def _file_parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while first := file.read(1):
            head = first
            while head[-1] & 0x80 and len(head) < 5:
                head += file.read(1) or b"\x00"
            length, _ = decode_varint(head, 0)
            if length > max(METADATA_LIMIT, CHUNK_LIMIT):
                raise DecodeError("a part is larger than any can be")
            yield file.read(length)


def _framed(raw: bytes) -> bytes:
    return encode_varint(len(raw)) + raw
