"""Selective denial of service: circuits that do not suit the attacker are ended, so that the user builds others."""

import asyncio

from evals.adversary.attack import Attack, Outcome, standing
from evals.adversary.behaviour import Behaviour, Later
from evals.adversary.loop import LoopClock, virtually
from evals.adversary.network import VirtualNetwork
from evals.adversary.shells import real_user
from network.aio.path_keeper import REBUILDS
from network.cell import CellKind, destroy_cell
from network.geometry import LINK_ID

SECONDS = 60.0


class _Picky(Behaviour):
    """Lets every circuit stand, and ends it a moment later: it waits for one whose proxy is a friend."""

    def __init__(self) -> None:
        self.ended = 0

    def outgoing(self, link: int, raw: bytes) -> list[bytes | Later]:
        if raw[LINK_ID] != CellKind.CREATED:
            return [raw]
        self.ended += 1
        return [raw, Later(0.05, destroy_cell(raw[:LINK_ID]))]


def selective_dos(defended: bool) -> Outcome:
    """One of a waiting user's four guards ends every circuit; each new one is another chance of a friendly proxy."""

    async def main(clock: LoopClock) -> Outcome:
        network = VirtualNetwork(seed=3, relays=30, clock=clock)
        user = real_user(network)
        await user.node.start()
        assert await user.node.wait_ready(30)
        await asyncio.sleep(1)
        link = network.wires.of(user.name)[0]
        guard, picky = network.wires.peer(link), _Picky()
        assert guard is not None
        network.relays[guard[0]].behave(picky)
        network.wires.cut(link)
        await asyncio.sleep(SECONDS)
        ready = user.node.status().path_sets_ready
        await user.node.close()
        most = 2 * (1 + REBUILDS)
        return Outcome(picky.ended > most, f"circuits the guard could try in a minute: {picky.ended}; path sets ready: {ready}")

    every = {
        "network__aio__ready_paths__ReadyPathSet__standing": property(lambda self: 0 if self.missing() else 4),
        "network__path_scores__Backoff__pause": lambda self, rng: 0.0,
    }
    with standing(defended, **every):
        return virtually(main)


REBUILDING = (
    Attack(
        "selective-dos",
        "Selective denial of service",
        "a guard that ends circuits until one suits it",
        "k of n suffice, three rebuilds, then growing pauses (`network/aio/path_keeper.py`)",
        "a set with a lost circuit is built again at once",
        selective_dos,
    ),
)
