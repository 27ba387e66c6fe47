"""Holds a validator's consensus key while it runs: one process per key on this machine, and a mark that never goes back.

Two locks, both inherited by CometBFT, so that they last as long as whoever can sign: a file lock in CometBFT's home, and
a name in the kernel made from chain and key, which a copied home shares.
"""

import fcntl
import json
import logging
import os
import socket
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep

from abci_app.aio.settings import read_genesis
from abci_app.config import ValidatorConfig
from abci_app.guard import Signed, parse_signed, refuse_older, render_signed
from network.aio import files
from network.errors import ConfigError

STATE = Path("data/priv_validator_state.json")
KEY = Path("config/priv_validator_key.json")
LOCK = "validator.lock"
MARK = "signing_mark.json"
TICK = 1.0
ORPHAN_PATIENCE = 5.0

logger = logging.getLogger(__name__)


class Running(ConfigError):
    """Another process holds the validator or its key."""


class SigningGuard:
    """The locks and the mark of one validator. With a remote signer only the home is locked: the signer guards its key."""

    def __init__(self, config: ValidatorConfig) -> None:
        """Take the locks. Raises Running when another process has one of them."""
        self._home = config.comet.home
        self._remote = bool(config.comet.priv_validator_laddr)
        self._mark_path = mark_path(config)
        self._mark: Signed | None = None
        self._seen = 0
        self._behind = False
        self._lock = lock_home(self._home, ORPHAN_PATIENCE)
        self._name: socket.socket | None = None
        try:
            if not self._remote:
                self._name = _lock_key(self._home, read_genesis(config))
        except ConfigError:
            self.close()
            raise

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What CometBFT inherits, so that the locks outlive a supervisor that was killed."""
        return (self._lock,) if self._name is None else (self._lock, self._name.fileno())

    def check(self) -> None:
        """Raises ConfigError when CometBFT's signing state is missing or older than the mark."""
        if self._remote:
            return
        state, self._mark = read_state(self._home), read_signed(self._mark_path)
        refuse_older(state, self._mark, str(self._home / STATE))
        self.tick()

    def tick(self) -> None:
        """Raise the mark to what CometBFT has signed by now."""
        path = self._home / STATE
        try:
            stamp = 0 if self._remote else path.stat().st_mtime_ns
        except OSError:
            return  # between two of CometBFT's writes, or lost: the next start looks closer
        if stamp == self._seen:
            return
        with suppress(ConfigError):
            state = read_state(self._home)
            if state is not None and (self._mark is None or state > self._mark):
                try:
                    write_signed(self._mark_path, state)
                except OSError as error:  # a full disk stops CometBFT, not the guard: the next round tries again
                    if not self._behind:
                        logger.error("%s cannot follow what the key signs (%s)", self._mark_path, error.strerror)
                    self._behind = True
                    return
                self._mark, self._behind = state, False
            self._seen = stamp

    def close(self) -> None:
        """Give the locks back."""
        if self._name is not None:
            self._name.close()
        os.close(self._lock)


def mark_path(config: ValidatorConfig) -> Path:
    """Where a validator's mark is: beside CometBFT's home, so that what replaces the one leaves the other."""
    home = config.comet.home
    return home.with_name(f"{home.name}.{MARK}")


def read_state(home: Path) -> Signed | None:
    """CometBFT's signing state; None when there is no file. Raises ConfigError for one that cannot be used."""
    return read_signed(home / STATE)


def read_signed(path: Path) -> Signed | None:
    """A signing state on disk; None when there is no file. Raises ConfigError for one that cannot be used."""
    try:
        return parse_signed(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error


def write_signed(path: Path, signed: Signed) -> None:
    """Write a signing state, whole or not at all, and on disk before this returns."""
    files.replace(path, render_signed(signed))


def holder(home: Path) -> int | None:
    """The pid of the supervisor that runs on this home of CometBFT, or None."""
    try:
        lock = os.open(home / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        said = os.read(lock, 32).strip()
        return int(said) if said.isdigit() else 0
    finally:
        os.close(lock)
    return None


def lock_home(home: Path, patience: float = 0.0) -> int:
    """Hold CometBFT's home: the descriptor of the lock. Raises Running when a validator runs on it; one whose supervisor is
    dead already gets `patience` seconds to follow it."""
    try:
        lock = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"comet.home: {home} cannot be used ({error.strerror}); create the validator's folder again"
        ) from error
    deadline = monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            pid = holder(home)
            if pid is None or (not Path(f"/proc/{pid}").exists() and monotonic() < deadline):
                sleep(0.02)
                continue
            os.close(lock)
            raise Running(f"comet.home: {home} is in use by a running validator (pid {pid}); stop it first") from None
    with suppress(OSError):  # on a full disk it goes without saying whose it is
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _lock_key(home: Path, genesis: bytes) -> socket.socket:
    try:
        address = str(json.loads((home / KEY).read_bytes())["address"])
        chain = sha256(genesis).digest()
    except (OSError, ValueError, KeyError, TypeError):
        # Without the cause: a decoder's message may quote the key.
        raise ConfigError(
            f"comet.home: {home / KEY} is missing or no consensus key; create the validator's folder again"
        ) from None
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(b"\0planetserve/signing/" + sha256(chain + address.encode()).hexdigest().encode())
    except OSError:
        name.close()
        raise Running(
            f"comet.home: another validator on this machine runs with the consensus key {address} of {home}; two of them "
            "would sign twice: stop one, and give every validator a key of its own"
        ) from None
    return name
