"""Keeping the copies of a group's HR-Tree alike: what to send to whom, and what to believe of what arrives.

Pure: `now` is any steady clock in seconds, `wall_ms` the calendar. Every node speaks only about itself; deltas of one origin
apply in sequence, a gap is repaired from the origin's log or its snapshot, unlike digests from its snapshot's pages, and two
heads signed under one number convict the origin everywhere. A refused message changes nothing and raises `Refused`. See
`docs/forwarding.md` section 4.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from network.codec import encode
from network.crypto import SigningKey
from network.hrtree.delta import (
    MAC_LENGTH,
    MAX_POST,
    MAX_POST_DELTAS,
    MAX_POST_PROOFS,
    MAX_POST_SYMBOLS,
    PAGES,
    Ack,
    Head,
    Hello,
    Post,
    Proof,
    Proofs,
    Refused,
    Signed,
    SignedKind,
    check_signature,
    decode_hello,
    decode_post,
    decode_signed,
    first_link,
)
from network.hrtree.index import HRIndex
from network.hrtree.journal import Journal, leaves, page_digests
from network.hrtree.pair import CLOCK_TOLERANCE_MS, Pair, check_addressed
from network.hrtree.replica import Inbound, Outbound, Replica, convicted, head_origin, read_head
from network.hrtree.snapshot import read_snapshot, replace_held
from network.hrtree.stage import MAX_HELD_NODES, Staged, commit, differs, stage

__all__ = ["CLOCK_TOLERANCE_MS", "MAX_HELD_NODES", "Received", "Replica", "Sync"]
WITNESS_EVERY = 3


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
        self.terms = b""  # which of the group's terms we hold; every session opens with it, and a change opens new ones
        self._key = key
        self._members: dict[bytes, bytes] = {}
        self._pairs: dict[bytes, Pair] = {}
        self._sessions: dict[bytes, bytes] = {}

    def set_members(self, members: Mapping[bytes, bytes]) -> None:
        """The live model nodes of the group but us: node id to signing key. Who is no longer among them is forgotten."""
        self._members = dict(members)
        for gone in [node for node in self.replicas if node not in members]:
            del self.replicas[gone]
            self._pairs.pop(gone, None)
        self._sessions = {name: node for name, node in self._sessions.items() if node in members}
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
                replica.wanting = True
                replica.repair_at = replica.contact_at = float("-inf")

    def post_for(self, peer: bytes, wall_ms: int) -> bytes:
        """The Post this peer should get now: the deltas it lacks, as far as the log and the size limit reach."""
        replica, journal = self.replicas[peer], self.journal
        hello = self._open(peer, replica.outbound, wall_ms)
        deltas: list[bytes] = []
        signature, room, symbols = b"", MAX_POST - 4096, MAX_POST_SYMBOLS
        for entry in journal.since(replica.acked)[:MAX_POST_DELTAS]:
            room, symbols = room - len(entry.body) - 4, symbols - entry.symbols
            if min(room, symbols) < 0:
                break
            deltas.append(entry.body)
            signature = entry.signature or signature
        out = replica.outbound
        out.count += 1
        out.sent = replica.acked + len(deltas) if deltas else journal.sequence
        told = [node for node, other in self.replicas.items() if other.proof and node not in replica.told and node != peer]
        post = Post(
            session=out.name,
            count=out.count,
            sequence=out.sent,
            deltas=tuple(deltas),
            signature=signature,
            short=replica.acked + 1 < journal.oldest,
            hello=hello,
            witness=self._witness(peer, replica) if signature else None,
            proofs=tuple(proof for node in told[:MAX_POST_PROOFS] if (proof := self.replicas[node].proof)),
        )
        raw = self._pair(peer).seal_post(post)
        out.mac = raw[-MAC_LENGTH:]
        return raw

    def owes(self, peer: bytes) -> bool:
        """Whether there is something that this peer should hear now."""
        replica = self.replicas[peer]
        untold = any(other.proof and node not in replica.told for node, other in self.replicas.items() if node != peer)
        return replica.acked < self.journal.sequence or untold

    def reopen(self, peer: bytes) -> None:
        """The peer does not know our session with it, as after its restart: the next post opens another."""
        if peer in self.replicas:
            self.replicas[peer].outbound = Outbound()

    def hello_for(self, peer: bytes, wall_ms: int, *, pages: bool = False) -> bytes:
        """The Hello with which we ask a peer for something; `pages`: for those of its snapshot that we hold otherwise."""
        hello = self._hello(peer, wall_ms)
        if pages and self.replicas[peer].sequence:
            held = {number: leaves(self.index, number, peer) for number in self.index.generations()}
            hello = replace(hello, pages=page_digests({number: paths for number, paths in held.items() if paths}))
        return self._pair(peer).seal_hello(hello)

    def on_ack(self, peer: bytes, ack: Ack, now: float) -> bool:
        """Notes how far a peer is; returns whether its snapshot must be fetched. Raises Refused for an answer not its own."""
        replica = self.replicas.get(peer)
        if replica is None:
            return False
        out = replica.outbound
        self._pair(peer).check_ack(ack, out.mac)
        replica.contact_at, replica.reachable = now, replica.proof is None
        replica.acked = max(0, out.sent - ack.short)
        replica.told |= {node for node, other in self.replicas.items() if other.proof}
        if out.opening:
            replica.terms, out.opening = ack.terms, False
        return replica.fetchable(now)

    def on_silence(self, peer: bytes) -> None:
        """A peer did not answer: nothing is sent its way until an exchange succeeds, which is due at once."""
        if peer in self.replicas:
            self.replicas[peer].contact_at, self.replicas[peer].reachable = float("-inf"), False

    def on_post(self, raw: bytes, now: float, wall_ms: int) -> Received:
        """Applies a Post. Raises Refused, with nothing changed by the message that was refused."""
        post = decode_post(raw)
        origin = self._speaker(raw, post, wall_ms)
        replica = self.replicas[origin]
        if replica.proof is not None:
            raise Refused("equivocation", "a post of a node that signed two heads under one number")
        replica.allowed.post(now, len(raw))
        staged = stage(self.index, origin, self._members[origin], replica, post)
        replica.allowed.symbols(now, staged.symbols)
        convicting = [(self._convicted(proof), proof) for proof in post.proofs]
        self._check_witness(post.witness)
        if post.hello:
            self._greet(origin, replica, post.hello)
        replica.inbound.count = post.count
        replica.contact_at, replica.reachable = now, True
        self._commit(origin, replica, staged, now)
        replica.head = max(replica.head, post.sequence)
        if post.short and replica.sequence < post.sequence:
            replica.want(now)
        for convict, proof in convicting:
            self._eject(convict, proof)
        ack = Ack(max(0, post.sequence - replica.sequence), self.terms if post.hello else b"")
        return Received(self._pair(origin).sealed_ack(ack, post.mac), origin, replica.fetchable(now))

    def caller(self, raw: bytes, wall_ms: int) -> bytes:
        """Whose Hello to us this is. Raises Refused for nobody's."""
        return self._asking(raw, wall_ms).origin

    def on_snapshot_request(self, raw: bytes, wall_ms: int) -> bytes:
        """Our signed snapshot for a live node of the group. Raises Refused for anybody else."""
        hello = self._asking(raw, wall_ms)
        self.replicas[hello.origin].allowed.snapshot(wall_ms / 1000)
        return encode(self.journal.snapshot(hello.pages))

    def on_snapshot(self, peer: bytes, raw: bytes, now: float) -> bool:
        """Replaces what we hold of a peer by its snapshot; False when it is no newer. Raises Refused."""
        if peer not in self._members:
            raise Refused("unknown-sender", "a snapshot of a node that is no live member")
        body = check_signature(decode_signed(raw), SignedKind.SNAPSHOT, self._members[peer], self.index.chain_id)
        found = read_snapshot(body, self.index, peer)
        replica, snapshot = self.replicas[peer], found.snapshot
        known = (replica.incarnation, replica.sequence + (not replica.wanting))
        foreign_pages = snapshot.partial and snapshot.incarnation != replica.incarnation
        if (snapshot.incarnation, snapshot.sequence) < known or foreign_pages or replica.proof is not None:
            self.counts["stale"] += 1
            return False
        if snapshot.incarnation != replica.incarnation:
            replica.restart(snapshot.incarnation, snapshot.chain)
        self.counts["quota"] += replace_held(self.index, peer, found, now)
        replica.sequence = replica.sealed = snapshot.sequence
        replica.head = max(replica.head, snapshot.sequence)
        replica.chain, replica.recent = snapshot.chain, found.recent
        replica.last_space, replica.wanting = (snapshot.generation, snapshot.space), False
        replica.skipped |= {generation for generation in found.foreign if self.index.accepts(generation)}
        if found.load is not None:
            replica.load, replica.load_at = found.load, now
        self.counts["snapshots"] += 1
        return True

    def proofs(self) -> Proofs:
        """Every proof of equivocation we hold; whoever has the directory can check them."""
        return Proofs(tuple(replica.proof for replica in self.replicas.values() if replica.proof))

    def on_proof(self, proof: Proof) -> None:
        """Ejects whom a proof convicts, until it leaves the directory. Raises Refused for a proof of nothing."""
        self._eject(self._convicted(proof), proof)

    def _pair(self, peer: bytes) -> Pair:
        if peer not in self._pairs:
            chain_id, group = self.index.chain_id, self.index.group
            self._pairs[peer] = Pair(self.own, peer, self._key, self._members[peer], chain_id, group)
        return self._pairs[peer]

    def _hello(self, peer: bytes, wall_ms: int) -> Hello:
        return Hello(self.index.group, self.own, peer, wall_ms, self.journal.incarnation, self.terms)

    def _open(self, peer: bytes, out: Outbound, wall_ms: int) -> Hello | None:
        """The Hello of a new session, where one is needed. An opening that was never answered is said again."""
        if out.name and out.terms == self.terms and not out.opening:
            return None
        hello = self._hello(peer, wall_ms)
        name = self._pair(peer).session(hello)
        if name != out.name:
            out.name, out.count = name, 0
        out.terms, out.opening = self.terms, True
        return hello

    def _witness(self, peer: bytes, replica: Replica) -> Signed | None:
        """Now and then a signed head of somebody else, each in turn: had its signer shown the peer another, it is convicted."""
        others = [other for node, other in self.replicas.items() if node != peer and other.heads and not other.proof]
        turn, replica.witnessed = replica.witnessed, replica.witnessed + bool(others)
        if not others or turn % WITNESS_EVERY:
            return None
        heads = others[turn // WITNESS_EVERY % len(others)].heads
        return heads[-2 if len(heads) > 1 else -1][1]

    def _speaker(self, raw: bytes, post: Post, wall_ms: int) -> bytes:
        """Who made a post, its MAC and place in its session checked. Raises Refused."""
        hello: Hello | None = post.hello
        if hello is None:
            origin = self._sessions.get(post.session)
            if origin is None:
                raise Refused("session", "a post of a session that nobody opened here; open another")
            self._pair(origin).check_post(raw, post)
            inbound = self.replicas[origin].inbound
        else:
            self._check_hello(hello, wall_ms)
            origin = hello.origin
            self._pair(origin).check_post(raw, post)
            if post.session != self._pair(origin).session(hello):
                raise Refused("garbage", "a session under another name than its own")
            inbound, opened = self.replicas[origin].inbound, (hello.incarnation, hello.time_ms)
            if opened < inbound.opened or hello.incarnation < self.replicas[origin].incarnation:
                raise Refused("replay", "an opening older than one before it; set this node's clock")
            if opened > inbound.opened:
                return origin
        if post.count <= inbound.count:
            raise Refused("replay", "a post of a number seen before")
        return origin

    def _asking(self, raw: bytes, wall_ms: int) -> Hello:
        hello = decode_hello(raw)
        self._check_hello(hello, wall_ms)
        self._pair(hello.origin).check_hello(raw, hello)
        if len(hello.pages) not in (0, PAGES):
            raise Refused("garbage", "a hello with some pages' digests, and not all")
        return hello

    def _check_hello(self, hello: Hello, wall_ms: int) -> None:
        if hello.origin not in self._members:
            raise Refused("unknown-sender", "a hello of a node that is no live member of this group")
        check_addressed(hello, self.index.group, self.own, wall_ms)

    def _greet(self, origin: bytes, replica: Replica, hello: Hello) -> None:
        """A session begins; with a later start of the peer, what it said before is void."""
        name = self._pair(origin).session(hello)
        if hello.incarnation > replica.incarnation:
            self.index.remove_node(origin)
            replica.restart(hello.incarnation, first_link(self.index.group, origin, hello.incarnation))
        self._sessions.pop(replica.inbound.name, None)
        self._sessions[name] = origin
        replica.inbound = Inbound(name, (hello.incarnation, hello.time_ms))
        replica.terms = hello.terms

    def _commit(self, origin: bytes, replica: Replica, staged: Staged, now: float) -> None:
        self.counts["quota"] += commit(self.index, origin, replica, staged, now)
        self.counts["deltas"] += staged.applied
        self.counts["stale"] += staged.stale
        self.counts["gaps"] += staged.gap
        self.counts["foreign-space"] += len(staged.foreign)
        if staged.signed is not None and staged.head is not None:
            self._saw_head(staged.signed, staged.head)
        if staged.seals is None or replica.skipped:
            return
        if differs(self.index, origin, staged.seals):
            self.counts["diverged"] += 1
            replica.want(now)
        else:
            replica.repair_pause = 0.0

    def _check_witness(self, witness: Signed | None) -> None:
        """Compares a head that somebody else was shown with what its signer showed us. Raises Refused for a forged one."""
        if witness is not None and (origin := head_origin(witness)) in self._members:
            self._saw_head(witness, read_head(witness, self._members[origin], self.index.chain_id, self.index.group))

    def _saw_head(self, signed: Signed, head: Head) -> None:
        """A head whose signature has been checked: ejects its signer when it contradicts an earlier one."""
        proof = self.replicas[head.origin].saw_head(signed, head)
        if proof is not None:
            self._eject(head.origin, proof)

    def _convicted(self, proof: Proof) -> bytes:
        origin = head_origin(proof.one)
        if origin not in self._members:
            raise Refused("unknown-sender", "a proof against a node that is no live member")
        return convicted(proof, self._members[origin], self.index.chain_id, self.index.group)

    def _eject(self, origin: bytes, proof: Proof) -> None:
        replica = self.replicas[origin]
        if replica.proof is None:
            replica.proof, replica.reachable, replica.load = proof, False, None
            self.index.remove_node(origin)
            self.counts["ejected"] += 1
