"""A whole overlay in one process on a virtual clock: real relay cores, circuits, sessions and inboxes, seeded delays.

Nothing is modelled but the wires, the clock and the model node's engine. The same seed gives the same run, byte for byte.

    network = VirtualNetwork(seed=1)
    user = network.add_user()
    asked = user.ask(b"hello", network.model.entry, user.path_set(network.paths()))
    network.settle()
    assert asked.answer == b"hello"
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from evals.adversary.behaviour import Behaviour
from evals.adversary.clock import VirtualClock
from evals.adversary.machines import Answer, Machine, ModelMachine, RelayMachine, echo
from evals.adversary.user import UserMachine
from evals.adversary.wires import Carries, Delay, End, Sighting, Wires
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.crypto import SigningKey, exchange_public
from network.directory import Directory
from network.events import LinkLost
from network.freshness import Rng
from network.geometry import GEOMETRY, HYBRID_PRIVATE
from network.hpke import OnionPrivate, hybrid_public
from network.ids import Role, node_id
from relay.core import DEFAULT_LIMITS
from relay.limits import Limits

NOW = 1_800_000_000.0
CHAIN = "virtual"


class VirtualNetwork:
    """Relays `r00`, `r01`, …, a model node `m00`, users `u00`, …; more of each as asked for."""

    def __init__(
        self,
        seed: int = 1,
        *,
        relays: int = GEOMETRY.n * GEOMETRY.hops,
        delay: Delay | float = 0.02,
        answer: Answer = echo,
        relay_rng: Mapping[str, Callable[[Rng], Rng]] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        clock: VirtualClock | None = None,
    ) -> None:
        self._seed = seed
        self._relay_rng = dict(relay_rng or {})
        self.limits = limits
        self.views: dict[str, Directory] = {}
        self.clock = clock or VirtualClock(NOW)
        self.wires = Wires(self.clock, delay if callable(delay) else constant_delay(delay), self._deliver, self._lose)
        self.machines: dict[str, Machine] = {}
        self.relays: dict[str, RelayMachine] = {}
        self.models: dict[str, ModelMachine] = {}
        self.users: dict[str, UserMachine] = {}
        self.down: set[str] = set()
        self._listed: dict[str, DirectoryEntry] = {}
        self._names: dict[bytes, str] = {}
        self.directory = Directory(DirectoryRecord(CHAIN, 1, 1), 1)
        for _ in range(relays):
            self._add_relay()
        self.model = self.add_model(answer)

    def rng(self, name: str) -> Rng:
        """Randomness of one machine, by the network's seed and its name."""
        return random.Random(f"{self._seed}/{name}").randbytes

    def add_relay(self, family: str = "", address: str = "") -> RelayMachine:
        """One more relay, listed at once."""
        relay = self._add_relay(family, address)
        self.publish()
        return relay

    def add_model(self, answer: Answer = echo, *, hybrid: bool = False) -> ModelMachine:
        """One more model node, listed at once; a `hybrid` one names a key for hybrid seals, too."""
        name = f"m{len(self.models):02d}"
        entry, private = self.identity(name, Role.MODEL, f"family-{name}")
        secret = self.rng(f"{name}/hybrid")(HYBRID_PRIVATE) if hybrid else b""
        if hybrid:
            entry = replace(entry, hybrid_key=hybrid_public(secret))
        self.models[name] = ModelMachine(self, entry, OnionPrivate(private, secret), answer)
        self.enlist(self.models[name], entry)
        return self.models[name]

    def add_user(self) -> UserMachine:
        """One more user."""
        name = f"u{len(self.users):02d}"
        self.users[name] = UserMachine(self, name)
        self.machines[name] = self.users[name]
        return self.users[name]

    def directory_of(self, name: str) -> Directory:
        """What this machine takes for the newest directory: everybody's, unless `views` has another one for it."""
        return self.views.get(name, self.directory)

    def publish(self, *, without: Sequence[str] = ()) -> Directory:
        """A new directory of all registered nodes but those named; from now on everybody's newest."""
        entries = [entry for name, entry in self._listed.items() if name not in without]
        entries.sort(key=lambda each: each.node_id)
        height = self.directory.height + 1
        self.directory = Directory(
            DirectoryRecord(CHAIN, 1, height, self.directory.hash, tuple(entries)), height, self.directory
        )
        return self.directory

    def identity(self, name: str, role: Role, family: str, address: str = "") -> tuple[DirectoryEntry, bytes]:
        """A directory entry with its onion key's private half."""
        draw = self.rng(f"{name}/keys")
        key, private = SigningKey(draw(32)), draw(32)
        address = address or f"127.0.0.1:{20000 + len(self.machines)}"
        entry = DirectoryEntry(
            node_id(key.public), key.public, exchange_public(private), role, name, address, family, trusted=True
        )
        if role is Role.MODEL:
            entry = replace(entry, group="group", model_hash=bytes(32), reputation=1)
        return entry, private

    def enlist(self, machine: Machine, entry: DirectoryEntry) -> None:
        """A machine joins under this entry."""
        self._enter(machine, entry)
        self.publish()

    def path(self, *names: str) -> list[DirectoryEntry]:
        """These relays."""
        return [self.relays[name].entry for name in names]

    def paths(self, count: int = GEOMETRY.n) -> list[list[DirectoryEntry]]:
        """The first relays, in order, as so many disjoint paths: r00 r01 r02, r03 r04 r05, …"""
        entries = [relay.entry for relay in self.relays.values()]
        return [entries[at : at + GEOMETRY.hops] for at in range(0, count * GEOMETRY.hops, GEOMETRY.hops)]

    def connect(self, source: End, node: DirectoryEntry, carries: Carries) -> None:
        """A link to a listed node; one that is down refuses."""
        name = self._names.get(node.node_id, "")
        if not name or name in self.down:
            self.wires.refuse(source)
            return
        self.wires.join(source, (name, self.machines[name].new_link()), carries)

    def kill(self, name: str) -> None:
        """A machine stops: its links break, and it can be reached no more. The directory still lists it."""
        self.down.add(name)
        for end in self.wires.of(name):
            self.wires.cut(end)

    def revive(self, name: str) -> RelayMachine:
        """The relay runs again and is honest; what it knew is gone when it had stopped."""
        relay = self.relays[name]
        if name in self.down:
            self.down.discard(name)
            relay.retired = True
            relay = self.relays[name] = RelayMachine(self, relay.entry, relay.private, self.limits, self._relay_rng.get(name))
            self.machines[name] = relay
        relay.behave(Behaviour())
        return relay

    def settle(self, patience: float = 60.0) -> None:
        """Go on until no byte is under way."""
        assert self.clock.run_until(lambda: not self.wires.under_way, patience), "bytes are still under way"

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run(seconds)

    def run_until(self, done: Callable[[], bool], patience: float = 300.0) -> bool:
        """Go on until `done`; False when that does not happen within `patience` virtual seconds."""
        return self.clock.run_until(done, patience)

    def tap(self, *, at: Sequence[str] | None = None) -> list[Sighting]:
        """A list that grows with every frame on the links of these machines (None: of all), from now on."""
        seen: list[Sighting] = []

        def look(sighting: Sighting) -> None:
            if at is None or sighting.source[0] in at or sighting.target[0] in at:
                seen.append(sighting)

        self.wires.taps.append(look)
        return seen

    def open_circuits(self) -> int:
        """How many entries all relays' tables hold together."""
        return sum(len(relay.core.circuits) for relay in self.relays.values())

    def _add_relay(self, family: str = "", address: str = "") -> RelayMachine:
        name = f"r{len(self.relays):02d}"
        entry, private = self.identity(name, Role.RELAY, family or f"family-{name}", address)
        relay = self.relays[name] = RelayMachine(self, entry, private, self.limits, self._relay_rng.get(name))
        self._enter(relay, entry)
        return relay

    def _enter(self, machine: Machine, entry: DirectoryEntry) -> None:
        self.machines[machine.name] = machine
        self._names[entry.node_id] = machine.name
        self._listed[machine.name] = entry

    def _deliver(self, target: End, carries: Carries, raw: bytes) -> None:
        if target[0] not in self.down:
            self.machines[target[0]].receive(target[1], carries, raw)

    def _lose(self, end: End) -> None:
        if end[0] not in self.down:
            self.machines[end[0]].on_event(LinkLost(end[1]))


def constant_delay(seconds: float) -> Delay:
    """The same for every frame."""
    return lambda source, target: seconds


def seeded_delays(seed: int, mean: float = 0.02, jitter: float = 0.005) -> Delay:
    """Delays of one network: a fixed share for every pair of machines, uniform in half to one and a half of `mean`, plus
    an exponential draw of mean `jitter` for every frame."""
    draw = random.Random(f"{seed}/delays")
    of_pair: dict[frozenset[str], float] = {}

    def delay(source: str, target: str) -> float:
        pair = frozenset((source, target))
        if pair not in of_pair:
            of_pair[pair] = mean * (0.5 + draw.random())
        return of_pair[pair] + (draw.expovariate(1 / jitter) if jitter else 0.0)

    return delay
