"""A node's private keys on disk: one JSON file, readable by its owner only, written whole or not at all."""

import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from network.aio import files
from network.crypto import KEY_LENGTH, SigningKey, exchange_public
from network.errors import ConfigError
from network.geometry import HYBRID_PRIVATE
from network.hpke import OnionPrivate, hybrid_public
from network.ids import NodeId, node_id
from network.onion_keys import KeyRing


class KeyFileError(ConfigError):
    """The key file cannot be used; commands exit with 5."""


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """A node's Ed25519 signing key and its onion keys."""

    signing: SigningKey
    onion: KeyRing

    @property
    def node_id(self) -> NodeId:
        """The id under which the node is registered."""
        return node_id(self.signing.public)

    @property
    def onion_public(self) -> bytes:
        """The X25519 key that set-ups and cloves are made for."""
        return exchange_public(self.onion.current.x25519)

    @property
    def hybrid_public(self) -> bytes:
        """The hybrid key that cloves are sealed to; empty where there is none."""
        return hybrid_public(self.onion.current.hybrid) if self.onion.current.hybrid else b""

    def __repr__(self) -> str:
        return f"NodeKeys(node_id={self.node_id.hex()})"


def load_or_create(path: Path) -> NodeKeys:
    """The keys in `path`, made on the first call. Raises KeyFileError."""
    return load(path) if path.exists() else create(path)


def load(path: Path) -> NodeKeys:
    """The keys in an existing file that only its owner can read. Raises KeyFileError."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise KeyFileError(f"{path} can be read by others (mode {mode:04o}); if nobody has, run: chmod 600 {path}")
        rows = json.loads(path.read_bytes())
        seed, current = _key(rows, "signing_seed", KEY_LENGTH), _onion(rows, "")
        previous = _onion(rows, "previous_") if "previous_onion_private" in rows else None
        ring = KeyRing(current, float(rows.get("onion_since", 0)), float(rows.get("onion_announced", 0)), previous)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        # The cause is dropped on purpose: a decoder's message may quote the file's content.
        raise KeyFileError(
            f"{path} is not a key file: it must hold signing_seed and onion_private, 64 hexadecimal digits each"
        ) from None
    return NodeKeys(SigningKey(seed), ring)


def create(path: Path) -> NodeKeys:
    """New keys, saved to `path`, which must not exist yet. Raises KeyFileError."""
    if path.exists():
        raise KeyFileError(f"{path} exists already; keys are never overwritten")
    onion = OnionPrivate(secrets.token_bytes(KEY_LENGTH))
    keys = NodeKeys(SigningKey(secrets.token_bytes(KEY_LENGTH)), KeyRing(onion))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _write_beside(path, keys)
        try:
            os.link(partial, path)  # unlike rename, never replaces the keys of a node that started meanwhile
        finally:
            partial.unlink()
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from error
    return keys


def save(path: Path, keys: NodeKeys) -> None:
    """Replace what `path` holds by newer onion keys of the same node; after a crash it holds the old or the new whole."""
    try:
        files.replace(path, json.dumps(_rows(keys)))
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from error


def _write_beside(path: Path, keys: NodeKeys) -> Path:
    """The file's new content under another name, on the disk."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(_rows(keys), file)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        partial.unlink()
        raise
    return partial


def _rows(keys: NodeKeys) -> dict[str, str | float]:
    ring = keys.onion
    rows: dict[str, str | float] = {"signing_seed": keys.signing.seed.hex()}
    for prefix, private in (("", ring.current), ("previous_", ring.previous)):
        if private is not None:
            rows[f"{prefix}onion_private"] = private.x25519.hex()
            if private.hybrid:
                rows[f"{prefix}hybrid_private"] = private.hybrid.hex()
    times = {"onion_since": ring.since, "onion_announced": ring.announced}
    return rows | {name: at for name, at in times.items() if at}


def _onion(rows: dict[str, Any], prefix: str) -> OnionPrivate:
    hybrid = _key(rows, f"{prefix}hybrid_private", HYBRID_PRIVATE) if f"{prefix}hybrid_private" in rows else b""
    return OnionPrivate(_key(rows, f"{prefix}onion_private", KEY_LENGTH), hybrid)


def _key(rows: dict[str, Any], name: str, length: int) -> bytes:
    key = bytes.fromhex(rows[name])
    if len(key) != length:
        raise ValueError("a key has the wrong length")
    return key
