"""What relays see of real circuits: cells and sealed cloves tapped in the virtual network, sorted by circuit and place.

Two users ask at once over disjoint relays, so that every link belongs to one circuit and the truth is known; the measures that
use these views are told nothing else.
"""

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from evals.adversary.network import VirtualNetwork
from evals.adversary.wires import Carries, Sighting
from network.cell import CellKind
from network.geometry import GEOMETRY, KIND, LINK_ID
from network.handover import Handover, decode_handover
from network.inference import FrameKind, ReplyFrame
from network.modes import Mode

HEAD = LINK_ID + KIND
FORWARD, BACKWARD, CREATE, CREATED = CellKind.FORWARD, CellKind.BACKWARD, CellKind.CREATE, CellKind.CREATED


@dataclass(eq=False)
class Circuit:
    """One circuit: the cells that its hops receive from the user's side and send towards it, by kind."""

    user: str
    path: int
    cells: dict[tuple[CellKind, int], list[bytes]] = field(default_factory=lambda: defaultdict(list))
    clove: bytes = b""

    def at(self, kind: CellKind, hop: int) -> list[bytes]:
        """Whole cells on the link between `hop` (0: the user's first relay) and whoever is before it."""
        return self.cells[kind, hop]

    def bodies(self, kind: CellKind, hop: int) -> list[bytes]:
        """The same without link id and kind."""
        return [cell[HEAD:] for cell in self.at(kind, hop)]


def record(seed: int, *, users: int = 2, request: int = 12_000, answer: int = 24_000) -> list[Circuit]:
    """The circuits of `users` users who each ask one model node one prompt of random text."""
    text = random.Random(f"{seed}/text")
    reply = [(0.0, ReplyFrame(kind=FrameKind.ACCEPTED))]
    reply += [(0.01, ReplyFrame(kind=FrameKind.DELTA, payload=_words(text, answer))), (0.02, ReplyFrame(kind=FrameKind.FINAL))]
    network = VirtualNetwork(seed, relays=users * GEOMETRY.n * GEOMETRY.hops, answer=lambda _: reply)
    seen = network.tap()
    paths = network.paths(users * GEOMETRY.n)
    circuits: dict[tuple[str, str], tuple[Circuit, int]] = {}
    asked = []
    for number in range(users):
        user = network.add_user()
        own = paths[number * GEOMETRY.n : (number + 1) * GEOMETRY.n]
        for index, relays in enumerate(own):
            circuit = Circuit(user.name, index)
            names = [user.name, *(relay.name for relay in relays), network.model.name]
            circuits.update({(names[at], names[at + 1]): (circuit, at) for at in range(len(names) - 1)})
        asked.append((user, user.path_set(own)))
    answers = [
        user.ask(_words(text, request), network.model.entry, circuit_set, mode=Mode.SPEEDY) for user, circuit_set in asked
    ]
    assert network.run_until(lambda: all(each.ended for each in answers)) and all(each.whole for each in answers)
    network.settle()
    _sort(seen, circuits)
    return list(dict.fromkeys(circuit for circuit, _ in circuits.values()))


def _sort(seen: Iterable[Sighting], circuits: dict[tuple[str, str], tuple[Circuit, int]]) -> None:
    for sighting in seen:
        names = sighting.source[0], sighting.target[0]
        outward = names in circuits
        circuit, hop = circuits[names if outward else (names[1], names[0])]
        if sighting.carries is Carries.CLOVES:
            kind, _, body = decode_handover(sighting.raw)
            if outward and kind is Handover.CLOVE:
                circuit.clove = body
            continue
        for cell in sighting.cells():
            circuit.cells[CellKind(cell[LINK_ID]), hop].append(cell)


def _words(text: random.Random, length: int) -> bytes:
    """Text that is far from random, so that a leak would show."""
    words = (b"please ", b"explain ", b"the ", b"weather ", b"in ", b"Paris ", b"and ", b"London ")
    return b"".join(text.choice(words) for _ in range(length // 5))[:length]
