"""Keeping the copies of a group's HR-Tree alike: what to send to whom, and what to believe of what arrives.

Pure: `now` is any steady clock in seconds, `wall_ms` the calendar. Every node speaks only about itself; deltas of one origin
apply in sequence, a gap is repaired from the origin's log or its snapshot, two deltas under one number convict the origin.
A refused message changes nothing and raises `Refused`. See `docs/forwarding.md` section 4.3.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from network.codec import encode
from network.crypto import SigningKey
from network.hrdelta import (
    MAX_DELTA,
    MAX_DELTA_SYMBOLS,
    MAX_POST,
    MAX_POST_DELTAS,
    MAX_SNAPSHOT,
    MAX_SNAPSHOT_SYMBOLS,
    Ack,
    ChangeKind,
    Hello,
    LoadReport,
    Post,
    Refused,
    Section,
    Signed,
    SignedKind,
    Update,
    check_signature,
    decode_hello,
    decode_post,
    decode_signed,
    decode_update,
    sign,
    unfold,
)
from network.hrindex import HRIndex
from network.hrjournal import Journal

CLOCK_TOLERANCE_MS = 60_000
MAX_HELD_NODES = 32_768
EVIDENCE_LENGTH = 16


@dataclass(slots=True)
class Replica:
    """What we hold of one peer's log, what it holds of ours, and its last load."""

    incarnation: int = 0
    sequence: int = 0
    head: tuple[int, int] = (0, 0)
    acked: int = 0
    load: LoadReport | None = None
    load_at: float = 0.0
    contact_at: float = float("-inf")
    reachable: bool = False
    recent: deque[tuple[int, Signed]] = field(default_factory=lambda: deque(maxlen=EVIDENCE_LENGTH))
    proof: tuple[Signed, Signed] | None = None
    terms: bytes = b""
    skipped: set[int] = field(default_factory=set)

    @property
    def behind(self) -> bool:
        """Whether the peer has said more than we hold. Of a restart with nothing said yet its own Hello tells."""
        return self.head[1] > 0 and self.head > (self.incarnation, self.sequence)


@dataclass(frozen=True, slots=True)
class Received:
    """What one Post did: the answer to give, who spoke, and whether its snapshot must be fetched to go on."""

    ack: Ack
    origin: bytes
    needs_snapshot: bool


class Sync:
    """One node's end of the exchange with every other node of its model group."""

    def __init__(self, own: bytes, key: SigningKey, index: HRIndex, incarnation: int) -> None:
        self.own = own
        self.index = index
        self.journal = Journal(own, key, index, incarnation)
        self.replicas: dict[bytes, Replica] = {}
        self.counts: Counter[str] = Counter()
        self.terms = b""  # what our Hellos and Acks say of the terms that we hold
        self._key = key
        self._members: dict[bytes, bytes] = {}

    def set_members(self, members: Mapping[bytes, bytes]) -> None:
        """The live model nodes of the group but us: node id to signing key. Who is no longer among them is forgotten."""
        self._members = dict(members)
        for gone in [node for node in self.replicas if node not in members]:
            del self.replicas[gone]
        for node in self.index.holders() - set(members) - {self.own}:
            self.index.remove_node(node)
        for node in members:
            self.replicas.setdefault(node, Replica())

    def changed_space(self, generation: int) -> None:
        """The index has new terms for a generation: what peers said in its new space before we could read it is read again."""
        self.journal.forget(generation)
        for replica in self.replicas.values():
            if generation in replica.skipped:
                replica.skipped.discard(generation)
                replica.sequence, replica.contact_at = 0, float("-inf")
                replica.recent.clear()

    def post_for(self, peer: bytes, wall_ms: int) -> bytes:
        """The Post this peer should get now: the deltas it lacks, as far as the log and the size limit reach."""
        deltas: list[Signed] = []
        room = MAX_POST - 1024
        for signed in self.journal.since(self.replicas[peer].acked)[:MAX_POST_DELTAS]:
            room -= len(signed.body) + 96
            if room < 0:
                break
            deltas.append(signed)
        return encode(Post(self._hello(peer, wall_ms), tuple(deltas)))

    def hello_for(self, peer: bytes, wall_ms: int) -> bytes:
        """The signed Hello with which we ask a peer for its snapshot."""
        return encode(self._hello(peer, wall_ms))

    def on_ack(self, peer: bytes, ack: Ack, now: float) -> bool:
        """Notes how far a peer is; returns whether its snapshot must be fetched, as it has said more than we hold."""
        replica = self.replicas.get(peer)
        if replica is None:
            return False
        replica.contact_at, replica.reachable = now, True
        ours = ack.have_incarnation == self.journal.incarnation
        replica.acked = min(ack.have_sequence, self.journal.sequence) if ours else 0
        replica.head, replica.terms = max(replica.head, (ack.incarnation, ack.head)), ack.terms
        return replica.behind and replica.proof is None

    def on_silence(self, peer: bytes) -> None:
        """A peer did not answer: nothing is sent its way until an exchange succeeds, which is due at once."""
        if peer in self.replicas:
            self.replicas[peer].contact_at, self.replicas[peer].reachable = float("-inf"), False

    def on_post(self, raw: bytes, now: float, wall_ms: int) -> Received:
        """Applies a Post. Raises Refused, with nothing changed by the message that was refused."""
        post = decode_post(raw)
        hello = self._checked_hello(post.hello, wall_ms)
        replica = self.replicas[hello.origin]
        if replica.proof is not None:
            raise Refused("equivocation", "a post of a node that signed two deltas under one number")
        if hello.incarnation > replica.incarnation:
            self._restarted(hello.origin, replica, hello.incarnation)
        for signed in post.deltas:
            body = check_signature(signed, SignedKind.DELTA, self._members[hello.origin], self.index.chain_id)
            self._on_delta(hello.origin, replica, signed, decode_update(body, MAX_DELTA), now)
        replica.contact_at, replica.reachable = now, True
        replica.head, replica.terms = max(replica.head, (hello.incarnation, hello.head)), hello.terms
        ours = hello.have_incarnation == self.journal.incarnation
        replica.acked = min(hello.have_sequence, self.journal.sequence) if ours else 0
        have = replica.sequence if replica.incarnation == hello.incarnation else 0
        ack = Ack(replica.incarnation, replica.sequence, self.journal.incarnation, self.journal.sequence, self.terms)
        return Received(ack, hello.origin, have < hello.head and have + 1 < hello.oldest)

    def caller(self, raw: bytes, wall_ms: int) -> bytes:
        """Whose Hello to us this is. Raises Refused for nobody's."""
        return self._checked_hello(decode_signed(raw), wall_ms).origin

    def on_snapshot_request(self, raw: bytes, wall_ms: int) -> bytes:
        """Our signed snapshot for a live node of the group. Raises Refused for anybody else."""
        self._checked_hello(decode_signed(raw), wall_ms)
        return encode(self.journal.snapshot())

    def on_snapshot(self, peer: bytes, raw: bytes, now: float) -> bool:
        """Replaces what we hold of a peer by its snapshot; False when it is no newer. Raises Refused."""
        if peer not in self._members:
            raise Refused("unknown-sender", "a snapshot of a node that is no live member")
        body = check_signature(decode_signed(raw), SignedKind.SNAPSHOT, self._members[peer], self.index.chain_id)
        update = decode_update(body, MAX_SNAPSHOT)
        self._check_update(peer, update)
        replica = self.replicas[peer]
        sections = self._usable(replica, update, MAX_SNAPSHOT_SYMBOLS)
        if (update.incarnation, update.sequence) <= (replica.incarnation, replica.sequence) or replica.proof is not None:
            self.counts["stale"] += 1
            return False
        self.index.remove_node(peer)
        self._apply(peer, replica, update, sections, now)
        replica.recent.clear()
        self.counts["snapshots"] += 1
        return True

    def _on_delta(self, peer: bytes, replica: Replica, signed: Signed, update: Update, now: float) -> None:
        self._check_update(peer, update)
        if update.incarnation != replica.incarnation:
            self.counts["stale"] += 1
            return
        if update.sequence <= replica.sequence:
            self._check_replayed(peer, replica, signed, update.sequence)
            return
        if update.sequence != replica.sequence + 1:
            self.counts["gaps"] += 1
            return
        self._apply(peer, replica, update, self._usable(replica, update, MAX_DELTA_SYMBOLS), now)
        replica.recent.append((update.sequence, signed))
        self.counts["deltas"] += 1

    def _restarted(self, peer: bytes, replica: Replica, incarnation: int) -> None:
        """A later start of a peer: its engine's cache is empty, so what it said before no longer holds."""
        self.index.remove_node(peer)
        replica.incarnation, replica.sequence = incarnation, 0
        replica.recent.clear()
        replica.load = None

    def _check_replayed(self, peer: bytes, replica: Replica, signed: Signed, sequence: int) -> None:
        """A number seen before: the same bytes are a repeat, other bytes are equivocation, and the pair is its proof."""
        for number, earlier in replica.recent:
            if number == sequence and earlier.body != signed.body:
                replica.proof = (earlier, signed)
                self.index.remove_node(peer)
                raise Refused("equivocation", "two different deltas under one sequence number")
        self.counts["stale"] += 1

    def _apply(
        self,
        peer: bytes,
        replica: Replica,
        update: Update,
        sections: list[tuple[int, list[tuple[ChangeKind, bytes]]]],
        now: float,
    ) -> None:
        for generation, changes in sections:
            tree = self.index.tree(generation)
            for kind, path in changes:
                if kind is ChangeKind.DROP:
                    tree.remove_path(path, peer)
                elif self.index.held(peer) + len(path) <= MAX_HELD_NODES:
                    tree.insert(path, peer, now)
                else:
                    self.counts["quota"] += 1
        replica.incarnation, replica.sequence = update.incarnation, update.sequence
        if update.load is not None:
            replica.load, replica.load_at = update.load, now

    def _usable(self, replica: Replica, update: Update, budget: int) -> list[tuple[int, list[tuple[ChangeKind, bytes]]]]:
        """The sections we can compare with our own, unfolded; others are counted and skipped, not fatal."""
        usable: list[tuple[int, list[tuple[ChangeKind, bytes]]]] = []
        for section in update.sections:
            changes = unfold(section.changes, budget)
            budget -= sum(len(path) for _, path in changes)
            if self._comparable(section):
                usable.append((section.generation, changes))
            else:
                self.counts["foreign-space"] += 1
                if self.index.accepts(section.generation):
                    replica.skipped.add(section.generation)
        return usable

    def _comparable(self, section: Section) -> bool:
        generation = section.generation
        return self.index.accepts(generation) and self.index.space(generation).id == section.space

    def _check_update(self, peer: bytes, update: Update) -> None:
        if update.group != self.index.group:
            raise Refused("foreign-group", "an update of another model group")
        if update.origin != peer:
            raise Refused("garbage", "an update that names another origin than its signer")

    def _checked_hello(self, signed: Signed | None, wall_ms: int) -> Hello:
        """A Hello of a live member of this group, to us, of now. Raises Refused."""
        hello = decode_hello(signed)
        if hello.group != self.index.group:
            raise Refused("foreign-group", "a hello of another model group")
        if hello.origin not in self._members:
            raise Refused("unknown-sender", "a hello of a node that is no live member of this group")
        check_signature(signed, SignedKind.HELLO, self._members[hello.origin], self.index.chain_id)
        if hello.target != self.own:
            raise Refused("not-for-us", "a hello addressed to another node")
        if abs(hello.time_ms - wall_ms) > CLOCK_TOLERANCE_MS:
            raise Refused("clock", "a hello too old, or a clock too far ahead; set both nodes' clocks")
        return hello

    def _hello(self, peer: bytes, wall_ms: int) -> Signed:
        replica = self.replicas[peer]
        journal = self.journal
        hello = Hello(
            group=self.index.group,
            origin=self.own,
            target=peer,
            time_ms=wall_ms,
            incarnation=journal.incarnation,
            head=journal.sequence,
            oldest=journal.oldest,
            have_incarnation=replica.incarnation,
            have_sequence=replica.sequence,
            terms=self.terms,
        )
        return sign(SignedKind.HELLO, hello, self._key, self.index.chain_id)
