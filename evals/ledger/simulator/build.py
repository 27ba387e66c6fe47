"""Puts a simulated chain together: replicas over LevelDB and over memory, genesis, and the people who use it."""

import random
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from abci_app.aio.storage import LevelStore
from abci_app.application import Application
from evals.ledger.simulator.replica import ClosableStore, Replica
from evals.ledger.simulator.simulation import Simulation
from evals.ledger.simulator.stores import MemoryStore
from evals.ledger.simulator.world import CHAIN_ID, Genesis, member
from network.crypto import sha256


class Disk:
    """Where one replica's application keeps its state: survives its crashes, until it is wiped."""

    def __init__(self, path: Path | None, genesis_hash: bytes) -> None:
        self._path = path
        self._genesis_hash = genesis_hash
        self._memory = MemoryStore()

    def open(self) -> ClosableStore:
        """The store as a starting process opens it."""
        if self._path is None:
            return self._memory
        return LevelStore(self._path, chain_id=CHAIN_ID, genesis_hash=self._genesis_hash)

    def wipe(self) -> None:
        """Lose it all."""
        self._memory = MemoryStore()
        if self._path is not None:
            shutil.rmtree(self._path)


def build(genesis: Genesis, folders: Sequence[Path | None], observe: Callable[..., None] | None = None) -> Simulation:
    """A chain with one replica per folder, None meaning memory. The first ones are the genesis committee's; the others
    follow, and may be voted in under the keys of the members with their number."""
    app_state = genesis.app_state()
    replicas: list[Replica] = []
    for number, folder in enumerate(folders):
        disk = Disk(folder, sha256(app_state))
        make_app = partial(_application, app_state)
        replicas.append(Replica(f"r{number}", disk.open, make_app, genesis.init_chain(), disk.wipe, observe))
    keys = [member(number).consensus.public for number in range(len(folders))]
    return Simulation(replicas, keys, list(zip(keys, genesis.powers, strict=False)))


def _application(app_state: bytes, store: ClosableStore) -> Application:
    return Application(store, CHAIN_ID, app_state)


def draw_powers(draw: random.Random) -> tuple[int, ...]:
    """Powers of a committee of 4 in which no member can decide or stop anything alone."""
    return tuple(draw.randrange(8, 13) for _ in range(4))
