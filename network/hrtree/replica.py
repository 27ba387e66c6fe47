"""What one node holds of one peer: its log up to a number, its heads as proof, its session, its load; and proofs against it.

Pure state and the checks that need nothing else. `network/hrtree/sync.py` decides what a message changes here.
"""

from collections import deque
from dataclasses import dataclass, field

from network.codec import decode
from network.errors import DecodeError
from network.hrtree.delta import Head, LoadReport, Proof, Refused, Signed, SignedKind, check_signature, group_tag
from network.hrtree.pair import Allowed
from network.hrtree.recent import Recent

EVIDENCE_LENGTH = 16
# After a repair that did not help, as when our tree is too small for all, the next waits longer.
REPAIR_FIRST_S, REPAIR_MOST_S = 2.0, 600.0


@dataclass(slots=True)
class Inbound:
    """The session that a peer opened with us, and the last of its posts."""

    name: bytes = b""
    opened: tuple[int, int] = (0, 0)
    count: int = 0


@dataclass(slots=True)
class Outbound:
    """The session that we opened with a peer. `sent` and `mac` are those of the post whose answer is awaited."""

    name: bytes = b""
    terms: bytes = b""
    count: int = 0
    sent: int = 0
    mac: bytes = b""
    opening: bool = False


@dataclass(slots=True)
class Replica:
    """What we hold of one peer's log, what it holds of ours, and its last load."""

    incarnation: int = 0
    sequence: int = 0
    chain: bytes = b""
    sealed: int = 0
    recent: Recent = field(default_factory=Recent)
    last_space: tuple[int, bytes] = (0, b"")
    head: int = 0
    acked: int = 0
    load: LoadReport | None = None
    load_at: float = 0.0
    contact_at: float = float("-inf")
    reachable: bool = False
    terms: bytes = b""
    skipped: set[int] = field(default_factory=set)
    wanting: bool = False  # its snapshot is needed
    repair_at: float = float("-inf")
    repair_pause: float = 0.0
    heads: deque[tuple[int, Signed]] = field(default_factory=lambda: deque(maxlen=EVIDENCE_LENGTH))
    proof: Proof | None = None
    told: set[bytes] = field(default_factory=set)  # whose proofs it has had of us
    witnessed: int = 0
    inbound: Inbound = field(default_factory=Inbound)
    outbound: Outbound = field(default_factory=Outbound)
    allowed: Allowed = field(default_factory=Allowed)

    @property
    def behind(self) -> bool:
        """Whether the peer has said more than we hold."""
        return self.head > self.sequence

    def restart(self, incarnation: int, chain: bytes) -> None:
        """A later start of the peer: its engine's cache is empty, what it said before is void, and it holds nothing of ours."""
        if self.incarnation:
            self.acked, self.outbound = 0, Outbound()
        self.incarnation, self.sequence, self.chain, self.sealed = incarnation, 0, chain, 0
        self.recent, self.last_space = Recent(), (0, b"")
        self.head = 0
        self.load = None
        self.heads.clear()
        self.skipped.clear()
        self.wanting = False
        self.repair_at, self.repair_pause = float("-inf"), 0.0

    def want(self, now: float) -> None:
        """Its snapshot is needed; how soon depends on how often that has just been so."""
        if not self.wanting:
            self.wanting = True
            self.repair_at = now + self.repair_pause
            self.repair_pause = min(REPAIR_MOST_S, self.repair_pause * 4 or REPAIR_FIRST_S)

    def fetchable(self, now: float) -> bool:
        """Whether its snapshot should be asked for now."""
        return self.wanting and self.proof is None and now >= self.repair_at

    def saw_head(self, signed: Signed, head: Head) -> Proof | None:
        """Keeps a head whose signature has been checked; the proof when it contradicts one we had."""
        if head.incarnation != self.incarnation:
            return None
        for number, earlier in self.heads:
            if number == head.sequence:
                return None if earlier.body == signed.body else Proof(earlier, signed)
        self.heads.append((head.sequence, signed))
        return None


def read_head(signed: Signed | None, public: bytes, chain_id: str, group: str) -> Head:
    """The head in a `Signed`, its signature and group checked. Raises Refused."""
    body = check_signature(signed, SignedKind.HEAD, public, chain_id)
    try:
        head = decode(Head, body)
    except DecodeError as error:
        raise Refused("garbage", f"a head that does not decode: {error}") from error
    if head.group != group_tag(group):
        raise Refused("foreign-group", "a head of another model group")
    return head


def head_origin(signed: Signed | None) -> bytes:
    """Whom an unchecked head speaks of, to find the key to check it with. Raises Refused."""
    try:
        return decode(Head, signed.body if signed else b"").origin
    except DecodeError as error:
        raise Refused("garbage", f"a head that does not decode: {error}") from error


def convicted(proof: Proof, public: bytes, chain_id: str, group: str) -> bytes:
    """Whom a proof convicts: the signer of two heads of one run, under one number, with unlike chains. Raises Refused."""
    one = read_head(proof.one, public, chain_id, group)
    other = read_head(proof.other, public, chain_id, group)
    same = (one.origin, one.incarnation, one.sequence) == (other.origin, other.incarnation, other.sequence)
    if not same or one.chain == other.chain:
        raise Refused("garbage", "two heads that do not contradict each other")
    return one.origin
