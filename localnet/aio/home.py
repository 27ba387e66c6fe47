"""The home of a network: one folder that holds its manifest, its seed, and a folder per node.

A home is made beside its final place and renamed, so that it is there whole or not at all. A folder that some other
program made is refused, never cleaned.
"""

import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from localnet import manifest as manifests
from localnet.aio.processes import Herd
from localnet.errors import PREFLIGHT, UNREACHABLE, LocalnetError
from localnet.manifest import Manifest
from localnet.plan import Files, Plan, plan
from localnet.setup.aio import comet
from localnet.setup.pins import Layout
from network.errors import ConfigError

FORMAT = 1
SOCKET_PATH = 107
NETWORK, MANIFEST = "network.json", "manifest.toml"


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a network itself: a random id, the seed of all its keys, its ports, and the hashes of its models."""

    network: str
    seed: bytes
    port_base: int | None
    hashes: dict[str, str]


@dataclass(frozen=True, slots=True)
class Home:
    """An existing home, read and checked."""

    path: Path
    identity: Identity
    plan: Plan
    herd: Herd


def exists(path: Path) -> bool:
    """Whether there is a network at `path`. Raises LocalnetError when something else is there."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    if not (path / NETWORK).is_file():
        raise LocalnetError(
            f"{path} exists and is not a home of a localnet (it has no {NETWORK})",
            "name another folder with --home, or move that one away",
            PREFLIGHT,
        )
    return True


def load(path: Path, layout: Layout) -> Home:
    """The network at `path`. Raises LocalnetError when there is none, or one that this release cannot run."""
    if not exists(path):
        raise LocalnetError(f"there is no network at {path}", "start one: planetserve localnet up", UNREACHABLE)
    try:
        raw = json.loads((path / NETWORK).read_text())
        if raw["format"] != FORMAT:
            raise LocalnetError(
                f"{path} was made by another release (format {raw['format']}, this one has {FORMAT})", _wipe(path), PREFLIGHT
            )
        identity = Identity(raw["network"], bytes.fromhex(raw["seed"]), raw["port_base"], dict(raw["hashes"]))
        manifest = manifests.parse((path / MANIFEST).read_text())
        return _home(path, identity, manifest, layout)
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise LocalnetError(f"the home {path} is damaged: {error}", _wipe(path), PREFLIGHT) from error


def create(path: Path, manifest_text: str, port_base: int | None, layout: Layout) -> Home:
    """A new network at `path`: its identity and manifest; the nodes' folders are written by `render`."""
    try:
        manifest = manifests.parse(manifest_text)
        variants = {group.model for group in manifest.groups}
        missing = [layout.model(variant) for variant in sorted(variants) if not layout.model(variant).is_file()]
        if missing:
            raise LocalnetError(f"the model file {missing[0]} is missing", "make setup", PREFLIGHT)
        hashes = {variant: _sha256(layout.model(variant)) for variant in sorted(variants)}
        identity = Identity(secrets.token_hex(8), secrets.token_bytes(32), port_base, hashes)
        home = _home(path, identity, manifest, layout)
    except ConfigError as error:
        raise LocalnetError(f"the manifest cannot be used: {error}", "mend the manifest or the port base", PREFLIGHT) from error
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        (partial / MANIFEST).write_text(manifest_text)
        with os.fdopen(os.open(partial / NETWORK, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
            json.dump(
                {
                    "format": FORMAT,
                    "network": identity.network,
                    "seed": identity.seed.hex(),
                    "port_base": port_base,
                    "hashes": hashes,
                },
                out,
                indent=2,
            )
        if path.exists():
            path.rmdir()
        partial.replace(path)
    except OSError as error:
        raise LocalnetError(
            f"the home {path} was not made: {error}", "name a writable folder with --home", PREFLIGHT
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return home


def _home(path: Path, identity: Identity, manifest: Manifest, layout: Layout) -> Home:
    found = comet.find(layout)
    variants = {group.model for group in manifest.groups} | {node.engine_model for node in manifest.model_nodes}
    files = Files(
        cometbft=str(found or layout.cometbft),
        models={variant: str(layout.model(variant)) for variant in variants},
        hashes=identity.hashes,
        reference=str(layout.reference),
        sockets=_sockets(path, identity.network),
    )
    return Home(path, identity, plan(manifest, identity.seed, files, identity.port_base), Herd(path, identity.network))


def _sockets(path: Path, network: str) -> str:
    """Empty, or a short folder for unix sockets: their paths end at 107 bytes, and a home may lie deep."""
    longest = path / "validator-00" / "app.sock"
    return "" if len(os.fsencode(longest)) <= SOCKET_PATH else str(Path(tempfile.gettempdir()) / f"planetserve-{network}")


def herd(path: Path) -> Herd | None:
    """The processes of the network at `path`, even when the rest of its home is damaged; None without a network id."""
    try:
        return Herd(path, str(json.loads((path / NETWORK).read_text())["network"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def wipe(path: Path) -> None:
    """Remove a home and what it has elsewhere. Only a home: `exists` has refused everything else."""
    found = herd(path) if exists(path) else None
    if found is not None:
        shutil.rmtree(Path(tempfile.gettempdir()) / f"planetserve-{found.network}", ignore_errors=True)
    if path.exists():
        shutil.rmtree(path)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One command at a time may start or stop processes of a home."""
    with (path / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalnetError(
                f"another command is starting or stopping the network at {path}", "wait for it, or end it with Ctrl-C"
            ) from error
        yield


def _wipe(path: Path) -> str:
    return f"remove it and start afresh: planetserve localnet down --wipe --home {path}"


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return file_digest(handle, "sha256").hexdigest()
