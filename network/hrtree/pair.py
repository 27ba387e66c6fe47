"""What two members of a group know each other by: a secret that both keys give, MACs under it, sessions and allowances.

The secret needs no message: each end makes it from its own signing key and the other's, which the directory proves. Posts,
their answers and snapshot requests carry 8 bytes of keyed BLAKE2b under it; whoever forges one has one chance in 2**64 a try.
"""

from hashlib import blake2b
from hmac import compare_digest

from network.codec import encode
from network.crypto import SigningKey
from network.hrtree.delta import MAC_LENGTH, MAX_POST, MAX_POST_SYMBOLS, SESSION_LENGTH, Ack, Hello, Post, Refused
from network.rates import Allowance

CLOCK_TOLERANCE_MS = 60_000
# A member of a quiet group posts once a minute, of a busy one once a second; catching up takes a few posts at once.
POSTS_PER_S, POSTS_BURST = 4.0, 64.0
BYTES_PER_S, BYTES_BURST = 64 * 1024.0, 8.0 * MAX_POST
SYMBOLS_PER_S, SYMBOLS_BURST = 16_384.0, 2.0 * MAX_POST_SYMBOLS
SNAPSHOTS_PER_S, SNAPSHOTS_BURST = 0.5, 4.0
MAC_FIELD = 2 + MAC_LENGTH  # tag and length of field 15, the last of every message that has a MAC


class Pair:
    """The secret of two members, seen from one of them."""

    __slots__ = ("_key", "_own", "_peer")

    def __init__(self, own: bytes, peer: bytes, key: SigningKey, public: bytes, chain_id: str, group: str) -> None:
        shared = key.agree(public)
        chain = chain_id.encode()
        parts = (bytes([len(chain)]), chain, *sorted((own, peer)), group.encode())
        self._key = blake2b(b"".join(parts), key=shared, digest_size=32, person=b"ps-group-pair").digest()
        self._own, self._peer = own, peer

    def session(self, hello: Hello) -> bytes:
        """The name of the session that a Hello opens."""
        opened = hello.incarnation.to_bytes(8, "big") + hello.time_ms.to_bytes(8, "big")
        return blake2b(hello.origin + opened, key=self._key, digest_size=SESSION_LENGTH, person=b"ps-group-sess").digest()

    def seal_post(self, post: Post) -> bytes:
        """The bytes of a post of ours, with its MAC."""
        return _with_mac(encode(post), self._mac(b"ps-group-post", self._own, encode(post)))

    def check_post(self, raw: bytes, post: Post) -> None:
        """Raises Refused when the peer did not make this post."""
        self._check(post.mac, self._mac(b"ps-group-post", self._peer, raw[:-MAC_FIELD]), "a post")

    def seal_hello(self, hello: Hello) -> bytes:
        """The bytes of a Hello of ours that asks for a snapshot, with its MAC."""
        return _with_mac(encode(hello), self._mac(b"ps-group-ask", self._own, encode(hello)))

    def check_hello(self, raw: bytes, hello: Hello) -> None:
        """Raises Refused when the peer did not make this request."""
        self._check(hello.mac, self._mac(b"ps-group-ask", self._peer, raw[:-MAC_FIELD]), "a request for a snapshot")

    def sealed_ack(self, ack: Ack, post: bytes) -> Ack:
        """Our answer to a post of the peer with this MAC."""
        mac = self._mac(b"ps-group-ack", self._own, post + encode(ack))
        return Ack(ack.short, ack.terms, mac)

    def check_ack(self, ack: Ack, post: bytes) -> None:
        """Raises Refused when the peer did not make this answer to our post with this MAC."""
        plain = encode(Ack(ack.short, ack.terms))
        self._check(ack.mac, self._mac(b"ps-group-ack", self._peer, post + plain), "an answer")

    def _mac(self, person: bytes, speaker: bytes, said: bytes) -> bytes:
        return blake2b(speaker + said, key=self._key, digest_size=MAC_LENGTH, person=person).digest()

    @staticmethod
    def _check(claimed: bytes, true: bytes, what: str) -> None:
        if not compare_digest(claimed, true):
            raise Refused("signature", f"{what} that its sender's key did not make")


def check_addressed(hello: Hello, group: str, own: bytes, wall_ms: int) -> None:
    """That a Hello is meant for this member of this group, now. Raises Refused."""
    if hello.group != group:
        raise Refused("foreign-group", "a hello of another model group")
    if hello.target != own:
        raise Refused("not-for-us", "a hello addressed to another node")
    if abs(hello.time_ms - wall_ms) > CLOCK_TOLERANCE_MS:
        raise Refused("clock", "a hello too old, or a clock too far ahead; set both nodes' clocks")


def _with_mac(plain: bytes, mac: bytes) -> bytes:
    return plain + bytes((15 << 3 | 2, MAC_LENGTH)) + mac


class Allowed:
    """How much one peer may ask of us: posts, their bytes, the symbols they unfold to, snapshots."""

    __slots__ = ("_bytes", "_posts", "_snapshots", "_symbols")

    def __init__(self) -> None:
        self._posts = Allowance(POSTS_PER_S, POSTS_BURST)
        self._bytes = Allowance(BYTES_PER_S, BYTES_BURST)
        self._symbols = Allowance(SYMBOLS_PER_S, SYMBOLS_BURST)
        self._snapshots = Allowance(SNAPSHOTS_PER_S, SNAPSHOTS_BURST)

    def post(self, now: float, size: int) -> None:
        """Takes a post in. Raises Refused when there are too many, or too large ones."""
        if not self._posts.take(now) or not self._bytes.take(now, size):
            raise Refused("quota", "more posts than one member may send; it must wait")

    def snapshot(self, now: float) -> None:
        """Gives a snapshot out. Raises Refused when there are too many."""
        if not self._snapshots.take(now):
            raise Refused("quota", "more snapshots than one member may ask for; it must wait")

    def symbols(self, now: float, count: int) -> None:
        """Takes in what a post unfolds to. Raises Refused when it is too much: few bytes may stand for much work."""
        if not self._symbols.take(now, count):
            raise Refused("quota", "more changes than one member may tell; it must wait")
