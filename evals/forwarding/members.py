"""The product's own minds in the simulator: one real `Forwarder` per node, real signed posts between them, no router.

`Members` carries every post to every peer, as the sidecars do. `SharedMembers` is for large fleets: each node posts once, to
one listener, and every node reads what the others said from the listener's copy of the tree; its own claims, its own load and
its own bookings stay its own. What a node believes is the same but for the age of a prefix that it touched itself.
"""

import random
from collections import Counter
from copy import copy
from typing import cast

from evals.forwarding.flight import Choice, Flight, Prompt, Turn
from evals.forwarding.simulator import Simulation
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import encode
from network.crypto import SigningKey
from network.directory import Directory
from network.hrtree.delta import Refused
from network.hrtree.index import Held, HRIndex
from network.hrtree.sync import Received, Sync
from network.ids import Role, node_id
from serving_node.breaker import Fault
from serving_node.forwarder import Forwarder
from serving_node.load_factor import EngineLoad
from serving_node.routing import Decision

GROUP = "simulated"
WALL_MS = 1_800_000_000_000
ANTI_ENTROPY_S = 30.0
EPOCH = 60


def key_of(number: int) -> SigningKey:
    """The signing key of node `number`; the listener's is one past the last."""
    return SigningKey((number + 1).to_bytes(32, "big"))


def directory(trusted: int, listeners: int = 0) -> Directory:
    """`trusted` model nodes of one group, and listeners that nobody forwards to."""
    keys = [key_of(number).public for number in range(trusted + listeners)]
    entries = [
        DirectoryEntry(node_id=node_id(key), signing_key=key, role=Role.MODEL, group=GROUP, trusted=number < trusted)
        for number, key in enumerate(keys)
    ]
    return Directory(DirectoryRecord("sim", 1, EPOCH, b"", tuple(sorted(entries, key=lambda entry: entry.node_id))), EPOCH)


class Members:
    """A `Mind` of real forwarders. `sent_bytes` counts every post, acknowledgement and snapshot, without HTTP headers."""

    def __init__(self, simulation: Simulation, policy: str) -> None:
        self.fleet = simulation.fleet
        self.policy = policy
        self.messages: Counter[str] = Counter()
        self.message_bytes: Counter[str] = Counter()
        self._draw = random.Random(f"members/{self.fleet.seed}")
        self._nodes = simulation.nodes
        self._directory = self._listed()
        self._ids = [node_id(key_of(number).public) for number in range(self.fleet.nodes)]
        self._number = {node: number for number, node in enumerate(self._ids)}
        self.minds = [self._mind(number, 0.0) for number in range(self.fleet.nodes)]

    @property
    def sent_bytes(self) -> int:
        """Bytes of all messages."""
        return sum(self.message_bytes.values())

    def decide(self, entry: int, prompt: Prompt, now: float) -> Choice:
        """The entry's own forwarder decides."""
        decision = self.minds[entry].decide(prompt.tokens, now)
        chosen = decision.candidate(decision.node_id)
        held = min(chosen.held_tokens, prompt.request.prompt_tokens) if chosen else 0
        return Choice(self._number[decision.node_id], held, decision.predicted_cached_tokens, decision)

    def admitted(self, node: int, prompt: Prompt, now: float) -> None:
        """The node claims the prompt."""
        self.minds[node].admitted(prompt.tokens, now)

    def served(self, node: int, flight: Flight, now: float) -> None:
        """The node learns what its engine had cached, and how long it took."""
        ticket, job = flight.ticket, flight.job
        assert ticket is not None and ticket.started_at is not None and job is not None
        self.minds[node].served(
            flight.prompt.tokens,
            job.cached_tokens,
            job.first_at - ticket.admitted_at,
            now,
            queue_s=ticket.started_at - ticket.admitted_at,
            latency_s=now - ticket.started_at,
            decision=_decision(flight.choice) if node == flight.turn.decider else None,
        )

    def answered(self, turn: Turn, asked: int, flight: Flight, ttft_s: float, now: float) -> None:
        """Who decided compares what it thought with what came, from whom it asked."""
        assert flight.job is not None
        decision = _decision(turn.choice)
        self.minds[turn.decider].answered(decision, flight.job.cached_tokens, ttft_s, now, node=self._ids[asked])

    def failed(self, node: int, flight: Flight, full: bool, now: float) -> None:
        """The entry found a node full, or away."""
        fault = Fault.FULL if full else Fault.UNREACHABLE
        self.minds[flight.turn.decider].failed(_decision(flight.choice), now, node=self._ids[node], fault=fault)

    def next_best(self, flight: Flight, now: float) -> int | None:
        """Whom the entry's forwarder would ask next."""
        tried = [self._ids[node] for node in flight.tried]
        found = self.minds[flight.turn.decider].next_best(_decision(flight.choice), tried, now)
        return None if found is None else self._number[found]

    def loaded(self, node: int, load: EngineLoad, now: float) -> None:
        """The node hears how busy its engine is."""
        self.minds[node].set_load(load, now)

    def tell(self, node: int, now: float) -> None:
        """The node's flush: a post to every peer that lacks something, or has been silent for long."""
        mind = self.minds[node]
        mind.sync.journal.flush()
        for peer in range(self.fleet.nodes):
            if peer != node and self._due(mind, self._ids[peer], now):
                self._exchange(mind, peer, now)

    def restarted(self, node: int, now: float) -> None:
        """The node starts again, under a later incarnation."""
        self.minds[node] = self._mind(node, now)

    def _listed(self) -> Directory:
        return directory(self.fleet.nodes)

    def _mind(self, number: int, now: float) -> Forwarder:
        draw = random.Random(f"mind/{self.fleet.seed}/{number}/{now}")
        incarnation = int(WALL_MS + now * 1000)
        key = key_of(number)
        return Forwarder(node_id(key.public), key, self._directory, GROUP, self.policy, draw.randbytes, incarnation)

    def _due(self, mind: Forwarder, peer: bytes, now: float) -> bool:
        replica = mind.sync.replicas[peer]
        return replica.acked < mind.sync.journal.sequence or now >= replica.contact_at + ANTI_ENTROPY_S

    def _exchange(self, mind: Forwarder, peer: int, now: float) -> None:
        """One post and its answer; snapshots where either side has fallen behind."""
        name, other = self._ids[peer], self.minds[peer]
        if not self._nodes[peer].alive:
            mind.sync.on_silence(name)
            return
        wall = int(WALL_MS + now * 1000)
        raw, received = posted(mind.sync, other.sync, now, wall)
        self._count("posts", len(raw))
        self._count("acks", len(encode(received.ack)))
        mind.saw_rtt(name, self.fleet.rtt_s)
        if mind.sync.on_ack(name, received.ack, now):
            self._fetch(mind, name, other, now)
        if received.needs_snapshot:
            self._fetch(other, mind.own, mind, now)

    def _count(self, what: str, size: int, times: int = 1) -> None:
        self.messages[what] += times
        self.message_bytes[what] += size * times

    def _fetch(self, asking: Forwarder, name: bytes, asked: Forwarder, now: float) -> None:
        wall = int(WALL_MS + now * 1000)
        hello = asking.sync.hello_for(name, wall, pages=True)
        raw = asked.sync.on_snapshot_request(hello, wall)
        self._count("hellos", len(hello))
        self._count("snapshots", len(raw))
        asking.sync.on_snapshot(name, raw, now)


def posted(sender: Sync, receiver: Sync, now: float, wall: int) -> tuple[bytes, Received]:
    """One post and what it did; after a restart of the receiver, the one that opens another session."""
    raw = sender.post_for(receiver.own, wall)
    try:
        return raw, receiver.on_post(raw, now, wall)
    except Refused as refused:
        if refused.reason != "session":
            raise
        sender.reopen(receiver.own)
        raw = sender.post_for(receiver.own, wall)
        return raw, receiver.on_post(raw, now, wall)


class OwnView(HRIndex):
    """One node's own claims, and everybody else's from the listener's copy."""

    listener: HRIndex
    own: bytes

    def match(self, packed: bytes, salt: bytes = b"") -> dict[bytes, Held]:
        """As the node's own copy of the whole tree would answer."""
        mine = super().match(packed, salt).get(self.own)
        held = self.listener.match(packed, salt)
        held.pop(self.own, None)
        return held if mine is None else {**held, self.own: mine}


class SharedMembers(Members):
    """The same forwarders over one listener's copy of the tree; `sent_bytes` counts each post once for every peer."""

    def __init__(self, simulation: Simulation, policy: str) -> None:
        self.fleet = simulation.fleet
        key = key_of(self.fleet.nodes)
        self._listener = Sync(node_id(key.public), key, HRIndex("sim", GROUP), 1)
        self._listener.set_members(
            {entry.node_id: entry.signing_key for entry in self._listed().models(GROUP, trusted_only=True)}
        )
        super().__init__(simulation, policy)

    def _listed(self) -> Directory:
        return directory(self.fleet.nodes, 1)

    def tell(self, node: int, now: float) -> None:
        """One post to the listener; then everybody's view of the node is the listener's."""
        mind, listener = self.minds[node], self._listener
        mind.sync.journal.flush()
        for peer, other in enumerate(self._nodes):
            if not other.alive:
                mind.sync.on_silence(self._ids[peer])
        if not self._due(mind, listener.own, now):
            return
        wall = int(WALL_MS + now * 1000)
        # Restarts and long silences may take several posts, as they do between sidecars.
        progress = -1
        while progress < mind.sync.replicas[listener.own].acked:
            progress = mind.sync.replicas[listener.own].acked
            raw, received = posted(mind.sync, listener, now, wall)
            self._count("posts", len(raw), self.fleet.nodes - 1)
            self._count("acks", len(encode(received.ack)), self.fleet.nodes - 1)
            mind.sync.on_ack(listener.own, received.ack, now)
            if received.needs_snapshot:
                listener.on_snapshot(mind.own, mind.sync.on_snapshot_request(listener.hello_for(mind.own, wall), wall), now)
            if mind.sync.replicas[listener.own].acked >= mind.sync.journal.sequence or received.needs_snapshot:
                break
        for peer in self.minds:
            if peer is not mind:
                peer.sync.replicas[mind.own] = copy(listener.replicas[mind.own])
                peer.saw_rtt(mind.own, self.fleet.rtt_s)

    def _mind(self, number: int, now: float) -> Forwarder:
        mind = super()._mind(number, now)
        # The forwarder and all its parts hold this one index: its class is what makes them look at the listener's copy.
        mind.index.__class__ = OwnView
        view = cast(OwnView, mind.index)
        view.listener, view.own = self._listener.index, mind.own
        for known in self._listener.replicas:
            if known in mind.sync.replicas:
                mind.sync.replicas[known] = copy(self._listener.replicas[known])
        return mind


def _decision(choice: Choice) -> Decision:
    assert isinstance(choice.note, Decision)
    return choice.note
