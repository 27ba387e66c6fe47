"""A node's private keys on disk: one JSON file, readable by its owner only, created whole or not at all."""

import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from network.crypto import KEY_LENGTH, SigningKey, exchange_public
from network.errors import ConfigError
from network.ids import NodeId, node_id


class KeyFileError(ConfigError):
    """The key file cannot be used; commands exit with 5."""


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """A node's Ed25519 signing key and X25519 onion key pair."""

    signing: SigningKey
    onion_private: bytes
    onion_public: bytes

    @property
    def node_id(self) -> NodeId:
        """The id under which the node is registered."""
        return node_id(self.signing.public)

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
        signing_seed, onion_private = bytes.fromhex(rows["signing_seed"]), bytes.fromhex(rows["onion_private"])
        if len(signing_seed) != KEY_LENGTH or len(onion_private) != KEY_LENGTH:
            raise ValueError("a key has the wrong length")
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        # The cause is dropped on purpose: a decoder's message may quote the file's content.
        raise KeyFileError(
            f"{path} is not a key file: it must hold signing_seed and onion_private, 64 hexadecimal digits each"
        ) from None
    return NodeKeys(SigningKey(signing_seed), onion_private, exchange_public(onion_private))


def create(path: Path) -> NodeKeys:
    """New keys, saved to `path`, which must not exist yet. Raises KeyFileError."""
    seeds = {"signing_seed": secrets.token_bytes(KEY_LENGTH), "onion_private": secrets.token_bytes(KEY_LENGTH)}
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    if path.exists():
        raise KeyFileError(f"{path} exists already; keys are never overwritten")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump({name: seed.hex() for name, seed in seeds.items()}, file)
                file.flush()
                os.fsync(file.fileno())
            os.link(partial, path)  # unlike rename, never replaces the keys of a node that started meanwhile
        finally:
            partial.unlink()
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from error
    onion_private = seeds["onion_private"]
    return NodeKeys(SigningKey(seeds["signing_seed"]), onion_private, exchange_public(onion_private))
