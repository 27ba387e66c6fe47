"""Floods: set-ups without end, and answers that are never read. Each is held against what honest users have left."""

import asyncio
from collections import deque
from functools import partial

from evals.adversary.attack import Attack, Outcome, standing
from evals.adversary.behaviour import Altered, Later
from evals.adversary.loop import LoopClock, virtually
from evals.adversary.machines import RelayMachine
from evals.adversary.network import VirtualNetwork
from evals.adversary.shells import SocketMachine, VirtualDialer
from evals.adversary.wires import Carries
from network.aio.circuits import CircuitPool
from network.cell import CellKind, Command, encode_cell, encode_data, hand_over_cells
from network.geometry import GEOMETRY, LINK_ID, TOKEN
from network.handover import Handover
from network.inference import FrameKind, ReplyFrame
from network.modes import Mode
from network.terms import TERMS, Terms
from relay.limits import Limits

CAPACITY = 100  # set-ups that the processor below opens in a second: a small one, so that ten times as many are few
DEAR, CHEAP = 1 / CAPACITY, 1 / (100 * CAPACITY)  # its seconds for a set-up that is opened, and for any other frame
HONEST = 20
FLOOD_SECONDS, FLOOD_RATE, FLOOD_LINKS = 8.0, 10 * CAPACITY, 50
MUCH = 64 * 1024


class _Processor:
    """Lets a relay's core take time: whatever arrives waits for what came before."""

    def __init__(self, relay: RelayMachine) -> None:
        self._relay = relay
        self._tell = relay.tell
        self._waiting: deque[tuple[int, Carries, bytes]] = deque()
        relay.tell = self.arrive  # type: ignore[method-assign]
        self.longest = 0

    def arrive(self, link: int, carries: Carries, frame: bytes) -> None:
        """A frame arrived."""
        self._waiting.append((link, carries, frame))
        self.longest = max(self.longest, len(self._waiting))
        if len(self._waiting) == 1:
            self._relay.network.clock.after(0.0, self._work)

    def _work(self) -> None:
        before = self._opened()
        self._tell(*self._waiting[0])
        cost = DEAR if self._opened() > before else CHEAP
        self._relay.network.clock.after(cost, self._done)

    def _done(self) -> None:
        self._waiting.popleft()
        if self._waiting:
            self._work()

    def _opened(self) -> int:
        counts = self._relay.core.counts
        return counts["circuits"] + counts["dropped_bad_create"]


def create_flood(defended: bool) -> Outcome:
    """Ten times the set-ups that a relay can open, over fifty links, while twenty users build through it."""
    off = Limits(puzzle_above_percent=10**6, creates_per_second_per_link=10**6, creates_burst_per_link=10**6)
    limits = Limits(creates_per_second=CAPACITY, puzzle_bits=4, puzzle_most_bits=12) if defended else off

    async def main(clock: LoopClock) -> Outcome:
        network = VirtualNetwork(clock=clock, limits=limits)
        processor = _Processor(network.relays["r00"])
        flooder = network.add_user()
        links = [flooder.new_link() for _ in range(FLOOD_LINKS)]
        for link in links:
            network.connect((flooder.name, link), network.relays["r00"].entry, Carries.CELLS)
        for number in range(int(FLOOD_SECONDS * FLOOD_RATE)):
            raw = encode_cell(flooder.rng(LINK_ID), CellKind.CREATE, flooder.rng(GEOMETRY.cell_body))
            clock.after(number / FLOOD_RATE, partial(flooder.put, links[number % FLOOD_LINKS], raw))
        await asyncio.sleep(1.0)
        built = sum(await asyncio.gather(*(_build(network, number, clock) for number in range(HONEST))))
        return Outcome(built < HONEST / 2, f"honest circuits built: {built} of {HONEST}; longest queue: {processor.longest}")

    return virtually(main)


async def _build(network: VirtualNetwork, number: int, clock: LoopClock) -> bool:
    machine = SocketMachine(network, f"honest-{number}")
    network.machines[machine.name] = machine
    pool = CircuitPool(network.rng(machine.name), lambda: clock.now, lambda: network.directory, VirtualDialer(machine))
    await asyncio.sleep(number * 0.05)
    circuit = await pool.build(network.path("r00", "r01", "r02"), lambda lost: None)
    built = circuit is not None and circuit.is_open
    await pool.close()
    return built


class _Held:
    """How many reply cells a proxy was given and has not sent on, while the circuit lives."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._over = False

    def came(self, link: int, raw: bytes) -> list[bytes | Later]:
        """Something arrived at the proxy."""
        self.now += raw[0] == Handover.REPLY and len(raw) != GEOMETRY.cell and not self._over
        self.most = max(self.most, self.now)
        return [raw]

    def went(self, link: int, raw: bytes) -> list[bytes | Later]:
        """The proxy sent something."""
        if len(raw) == GEOMETRY.cell:
            self._over = self._over or raw[LINK_ID] == CellKind.DESTROY
            self.now -= raw[LINK_ID] == CellKind.BACKWARD
        return [raw]


def slow_reader(defended: bool) -> Outcome:
    """A user asks for a very long answer and never says that it has read any of it."""
    frames = [ReplyFrame(kind=FrameKind.DELTA, payload=bytes(MUCH)) for _ in range(48)]
    script = [(0.0, ReplyFrame(kind=FrameKind.ACCEPTED)), *((0.01, frame) for frame in frames)]
    network = VirtualNetwork(limits=Limits() if defended else Limits(proxy_reply_cells=10**9), answer=lambda request: script)
    user = network.add_user()
    circuits = user.path_set(network.paths())
    user.behave(Altered(outgoing=lambda link, cell: [] if cell[LINK_ID] == CellKind.CREDIT else [cell]))
    held = _Held()
    network.relays["r02"].behave(Altered(held.came, held.went))
    user.ask(b"everything, please", network.model.entry, circuits, mode=Mode.SPEEDY)
    network.run(30.0)
    ended = network.relays["r02"].dropped.get("reply_overflow", 0)
    most = Limits().proxy_reply_cells + TERMS.window
    return Outcome(held.most > most, f"cells held for it at one proxy: {held.most}; circuits ended for it: {ended}")


def cell_flood(defended: bool) -> Outcome:
    """A user sends without credit through an honest relay to a friend that gives none: what is between, the relay holds."""
    with standing(defended, network__flow__Flow__is_full=property(lambda flow: False)):
        network = VirtualNetwork()
        user = network.add_user()
        circuit = user.opened(network.path("r00", "r01", "r02"), Terms(window=2**16 - 1))
        network.relays["r01"].behave(Altered(outgoing=lambda link, cell: [] if cell[LINK_ID] == CellKind.CREDIT else [cell]))
        came = went = 0
        seen = network.tap(at=["r00"])
        begun = hand_over_cells(network.model.entry.node_id, bytes(TOKEN), bytes(GEOMETRY.max_clove))
        for data in begun + [encode_data(Command.MORE, b"x", GEOMETRY.forward_body)] * 2000:
            circuit.send(data)
        network.settle()
        ended = circuit.ended is not None
        if not ended:
            cells = [(s.source[0], cell[LINK_ID]) for s in seen for cell in s.cells()]
            came, went = cells.count(("u00", CellKind.FORWARD)), cells.count(("r00", CellKind.FORWARD))
        return Outcome(came - went > TERMS.window, f"cells held in the honest relay: {came - went}; circuit ended: {ended}")


FLOODS = (
    Attack(
        "create-flood",
        "DoS: CREATE flood",
        "who sends ten times what a relay can open",
        "a puzzle when load or a link's rate is high, checked before any other work (`relay/entrance.py`)",
        "limits that are never reached",
        create_flood,
    ),
    Attack(
        "slow-reader",
        "DoS: cell flood, slow reader",
        "a user who asks for much and reads nothing",
        "credit per circuit and hop; a proxy holds 512 cells, then ends the circuit (`relay/proxy.py`)",
        "no limit at the proxy",
        slow_reader,
    ),
    Attack(
        "cell-flood",
        "DoS: cell flood, slow reader",
        "a user who sends without credit, and a friend two hops on who gives none",
        "who exceeds its credit loses the circuit (`network/flow.py`)",
        "nobody counts what waits",
        cell_flood,
    ),
)
