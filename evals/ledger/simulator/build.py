"""Puts a simulated chain together: replicas over LevelDB and over memory in this process, or over anything else."""

import random
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol
from unittest.mock import patch

from abci_app.abci import dispatch
from abci_app.abci.calls import answered, call_of
from abci_app.abci.order import KINDS, CallOrder, Kind
from abci_app.aio.storage import LevelStore
from abci_app.application import Application, Store
from abci_app.state.upgrade import SUPPORTED_APP_VERSION
from abci_app.state_sync import Restore, Shelf, Side
from evals.ledger.simulator.replica import Process, Replica
from evals.ledger.simulator.simulation import Simulation
from evals.ledger.simulator.stores import MemoryStore
from evals.ledger.simulator.sync import MemoryShelf
from evals.ledger.simulator.world import CHAIN_ID, Genesis, member
from network.crypto import sha256


class ClosableStore(Store, Protocol):
    """A store that can be let go of, as a dying process lets go of it, and restored from a snapshot."""

    def restoring(self, height: int, trusted: bytes) -> Side:
        """Where a snapshot of this height is put together."""

    def close(self) -> None:
        """Release it."""


class LocalProcess:
    """An application in this process, behind the real dispatch and under the real checker of the order of calls."""

    def __init__(self, store: ClosableStore, app_state: bytes, shelf: Shelf, version: int = SUPPORTED_APP_VERSION) -> None:
        self.store = store
        self._version = version
        restore = Restore(CHAIN_ID, store.restoring)
        with self._release():
            self.app = Application(store, CHAIN_ID, app_state, shelf=shelf, restore=restore)
        self._order = CallOrder(store.height)

    def ask(self, kind: Kind, raw: bytes) -> bytes:
        """As `abci_app/aio/server.py` does it, without a socket."""
        method, request = dispatch.decode_request(raw)
        call = call_of(method, request) if method in KINDS else None
        if call is not None:
            self._order.begin(list(Kind).index(kind), call)
        with self._release():
            response = dispatch.respond(self.app, method, request)
        if call is not None:
            answered(self._order, call, getattr(response, method))
        return response.SerializeToString()

    def _release(self) -> AbstractContextManager[object]:
        """Other releases differ from this one by the application version that they support."""
        return nullcontext() if self._version == SUPPORTED_APP_VERSION else supporting(self._version)

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()


def supporting(version: int) -> AbstractContextManager[object]:
    """Another release's constant, while its process is asked."""
    return patch("abci_app.state.upgrade.SUPPORTED_APP_VERSION", version)


class Home:
    """Where one replica's application keeps its state: survives its crashes, until it is erased."""

    def __init__(self, path: Path | None, app_state: bytes) -> None:
        self._path = path
        self._app_state = app_state
        self.version = SUPPORTED_APP_VERSION  # of the release that is installed here
        self._memory = MemoryStore()
        self._shelf = MemoryShelf()

    def begin(self) -> Process:
        """The application as a starting process makes it."""
        store: ClosableStore = self._memory if self._path is None else self.open()
        return LocalProcess(store, self._app_state, self._shelf.serve(store), self.version)

    def open(self) -> LevelStore:
        """The data directory of a stopped replica, as an operator's command opens it."""
        assert self._path is not None, "this replica keeps its state in memory"
        return LevelStore(self._path, chain_id=CHAIN_ID, genesis_hash=sha256(self._app_state))

    def back_up(self) -> None:
        """Copy the data directory of a stopped replica aside."""
        assert self._path is not None
        shutil.rmtree(self._backup, ignore_errors=True)
        shutil.copytree(self._path, self._backup)

    def put_back(self) -> bool:
        """Put the copy in the directory's place; False when there is none."""
        if self._path is None or not self._backup.exists():
            return False
        self.erase()
        shutil.copytree(self._backup, self._path)
        return True

    @property
    def _backup(self) -> Path:
        assert self._path is not None
        return self._path.with_name(f"{self._path.name}.backup")

    def erase(self) -> None:
        """Lose it all."""
        self._memory = MemoryStore()
        self._shelf = MemoryShelf()
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)


def build(genesis: Genesis, folders: Sequence[Path | None]) -> Simulation:
    """A chain in this process with one replica per folder, None meaning memory. The first ones are the genesis
    committee's; the others follow, and may be voted in under the keys of the members with their number."""
    return settle(genesis, [Home(folder, genesis.app_state()) for folder in folders])


def settle(genesis: Genesis, homes: Sequence[Home]) -> Simulation:
    """The chain of replicas with these homes."""
    replicas = [Replica(f"r{at}", home.begin, home.erase, genesis.init_chain()) for at, home in enumerate(homes)]
    return chain_of(genesis, replicas)


def chain_of(genesis: Genesis, replicas: Sequence[Replica]) -> Simulation:
    """The chain of these replicas, each validating with the key of the member of its number."""
    powers = [(one.consensus.public, power) for one, power in zip(genesis.members, genesis.powers, strict=True)]
    return Simulation(replicas, [member(number).consensus.public for number in range(len(replicas))], powers)


def draw_powers(draw: random.Random) -> tuple[int, ...]:
    """Powers of a committee of 4 in which no member can decide or stop anything alone."""
    return tuple(draw.randrange(8, 13) for _ in range(4))
