"""What two copies of a group's HR-Tree exchange: posts of numbered deltas, snapshots, signed heads. Bytes and bounds only.

A `Delta` is what one sequence number changed at its origin. The deltas of one run of a node form a hash chain; a signature
over its head (`Head`) covers all of them, so that the last of many deltas convicts or clears their signer of the rest. A
`Snapshot` is everything its origin holds up to one number. `docs/forwarding.md` section 4 gives the fields, `sync.py`
the rules, `recent.py` how a change is spelled by an earlier one.
"""

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from typing import Any, TypeVar

from network.codec import Message, blob, blobs, decode, encode, flag, nested, repeated, text, uint, uints
from network.crypto import SigningKey, sha256, verify
from network.errors import DecodeError, RemoteProtocolError
from network.hrtree.fingerprint import SPACE_ID_LENGTH
from network.ids import NODE_ID_LENGTH

SIGNATURE_DOMAIN = b"planetserve/group/2"
TERMS_ID_LENGTH = 8
CHAIN_LENGTH = 16
DIGEST_LENGTH = 16
SESSION_LENGTH = 4
GROUP_TAG_LENGTH = 4
MAC_LENGTH = 8
MAX_CODES = 4 * 32_768
MAX_SECTIONS = 4
MAX_DELTA = 32 * 1024
MAX_SNAPSHOT = 1024 * 1024
MAX_POST = 256 * 1024
MAX_POST_DELTAS = 64
MAX_POST_PROOFS = 4
PAGES = 16
PAGE_DIGEST_LENGTH = 8
# References let few bytes stand for many symbols; these bound the work that one post or snapshot can ask for.
MAX_POST_SYMBOLS = 256 * 1024
MAX_SNAPSHOT_SYMBOLS = 512 * 1024

M = TypeVar("M", bound=Message)


class Refused(RemoteProtocolError):
    """A peer's message that is dropped and counted; `reason` is one of the words of `REASONS`."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(f"{what} ({reason})")
        self.reason = reason


REASONS = (
    "garbage",
    "oversized",
    "signature",
    "session",
    "foreign-group",
    "unknown-sender",
    "not-for-us",
    "clock",
    "replay",
    "quota",
    "unsealed",
    "equivocation",
    "untrusted",
    "too-often",
)


class SignedKind(IntEnum):
    """What the body of a `Signed` is; part of what is signed. 1 and 3 were deltas and hellos of the first exchange."""

    SNAPSHOT = 2
    TERMS = 4
    TERMS_ANSWER = 5
    HEAD = 6


class ChangeKind(IntEnum):
    """What happened to a path at its origin."""

    HOLD = 1
    DROP = 2


@dataclass(frozen=True, slots=True)
class Section(Message):
    """Changes in one fingerprint space, spelled as `network/hrtree/recent.py` says. No space: that of the section before."""

    generation: int = uint(1)
    space: bytes = blob(2, size=SPACE_ID_LENGTH)
    codes: tuple[int, ...] = uints(3, count=MAX_CODES, limit=2**48)
    symbols: bytes = blob(4, limit=MAX_SNAPSHOT_SYMBOLS)


@dataclass(frozen=True, slots=True)
class LoadReport(Message):
    """How busy a model node says it is: engine queue, measured capacity and latency, learned prefill price."""

    running: int = uint(1, limit=2**20)
    waiting: int = uint(2, limit=2**20)
    slots: int = uint(3, limit=2**20)
    queued_tokens: int = uint(4, limit=2**40)
    capacity_milli: int = uint(5, limit=2**50)  # tokens per second, in thousandths
    latency_us: int = uint(6, limit=2**50)  # EWMA of the time from admission to the last token
    token_ns: int = uint(7, limit=2**50)  # seconds per uncached prompt token, in nanoseconds
    draining: int = uint(8, limit=1)  # 1: shutting down, takes nothing new


@dataclass(frozen=True, slots=True)
class Seal(Message):
    """The digest of all paths that the origin holds in one space, after this delta: anti-entropy compares it."""

    generation: int = uint(1)
    space: bytes = blob(2, size=SPACE_ID_LENGTH)
    digest: bytes = blob(3, size=DIGEST_LENGTH)


@dataclass(frozen=True, slots=True)
class Delta(Message):
    """What one sequence number changed. `sealed`: the head after it is signed. `load`: in the codes of `load.py`."""

    sections: tuple[Section, ...] = repeated(1, Section, count=MAX_SECTIONS)
    load: tuple[int, ...] = uints(2, count=16, limit=2**16)
    sealed: bool = flag(3)
    seals: tuple[Seal, ...] = repeated(4, Seal, count=MAX_SECTIONS)


@dataclass(frozen=True, slots=True)
class Head(Message):
    """The end of one run's chain of deltas at a sequence number; signed, it commits the origin to all of them.

    `group` is the beginning of the group name's SHA-256.
    """

    group: bytes = blob(1, size=GROUP_TAG_LENGTH)
    origin: bytes = blob(2, size=NODE_ID_LENGTH)
    incarnation: int = uint(3)
    sequence: int = uint(4)
    chain: bytes = blob(5, size=CHAIN_LENGTH)


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Opens a session, or asks for a snapshot: who speaks to whom. `incarnation` is the speaker's start time in ms.

    `terms` names the group's terms that the speaker holds (`terms.py`); empty when it holds none. `pages` are the
    digests of what the speaker holds of the target, empty when it wants all.
    """

    group: str = text(1, limit=128)
    origin: bytes = blob(2, size=NODE_ID_LENGTH)
    target: bytes = blob(3, size=NODE_ID_LENGTH)
    time_ms: int = uint(4)
    incarnation: int = uint(5)
    terms: bytes = blob(10, size=TERMS_ID_LENGTH)
    pages: tuple[bytes, ...] = blobs(11, count=PAGES, size=PAGE_DIGEST_LENGTH)
    mac: bytes = blob(15, size=MAC_LENGTH)


@dataclass(frozen=True, slots=True)
class Signed(Message):
    """A signed body. The signature covers domain, chain id, kind and body."""

    kind: int = uint(1, limit=6)
    body: bytes = blob(2, limit=MAX_SNAPSHOT)
    signature: bytes = blob(3, size=64)


@dataclass(frozen=True, slots=True)
class Proof(Message):
    """Two signed heads of one run under one number with unlike chains: their signer said two things."""

    one: Any = nested(1, Signed)
    other: Any = nested(2, Signed)


@dataclass(frozen=True, slots=True)
class Proofs(Message):
    """The body of `GET /group/proof`."""

    proofs: tuple[Proof, ...] = repeated(1, Proof, count=1024)


@dataclass(frozen=True, slots=True)
class Post(Message):
    """The body of `POST /group/delta`: deltas up to `sequence`, oldest first, perhaps none.

    `count` numbers the posts of a session. `short`: the log no longer reaches back to what the receiver holds, it must fetch
    the snapshot. `signature` is over the head after the last sealed delta. `witness` is a signed head of somebody else.
    """

    session: bytes = blob(1, size=SESSION_LENGTH)
    count: int = uint(2)
    sequence: int = uint(3)
    deltas: tuple[bytes, ...] = blobs(4, count=MAX_POST_DELTAS, limit=MAX_DELTA)
    signature: bytes = blob(5, size=64)
    short: bool = flag(6)
    hello: Any = nested(7, Hello)
    witness: Any = nested(8, Signed)
    proofs: tuple[Proof, ...] = repeated(9, Proof, count=MAX_POST_PROOFS)
    mac: bytes = blob(15, size=MAC_LENGTH)


@dataclass(frozen=True, slots=True)
class Ack(Message):
    """The answer to a Post: how many of the caller's deltas up to `sequence` are lacking here now, mostly none.

    `terms` are the answerer's, told when the post opened a session.
    """

    short: int = uint(1)
    terms: bytes = blob(5, size=TERMS_ID_LENGTH)
    mac: bytes = blob(15, size=MAC_LENGTH)


@dataclass(frozen=True, slots=True)
class Snapshot(Message):
    """Everything its origin holds at `sequence`; with `partial`, only the pages in which the asker's digests differed.

    `newest` is the number of the newest path (`network/hrtree/recent.py`); `generation` and `space` are what a section without
    a space means in the next delta.
    """

    group: str = text(1, limit=128)
    origin: bytes = blob(2, size=NODE_ID_LENGTH)
    incarnation: int = uint(3)
    sequence: int = uint(4)
    chain: bytes = blob(5, size=CHAIN_LENGTH)
    sections: tuple[Section, ...] = repeated(6, Section, count=MAX_SECTIONS)
    load: tuple[int, ...] = uints(7, count=16, limit=2**16)
    newest: int = uint(8)
    generation: int = uint(9)
    space: bytes = blob(10, size=SPACE_ID_LENGTH)
    partial: bool = flag(11)
    pages: int = uint(12, limit=2**PAGES - 1)


def sign(kind: SignedKind, message: Message, key: SigningKey, chain_id: str) -> Signed:
    """A message signed by its origin for one chain."""
    body = encode(message)
    return Signed(int(kind), body, key.sign(_signed_bytes(kind, body, chain_id)))


def check_signature(signed: Signed | None, kind: SignedKind, public: bytes, chain_id: str) -> bytes:
    """The body of a `Signed` of this kind by this key. Raises Refused for anything else."""
    if signed is None or signed.kind != kind:
        raise Refused("garbage", f"a {kind.name.lower()} was expected")
    if not verify(public, _signed_bytes(kind, signed.body, chain_id), signed.signature):
        raise Refused("signature", f"a {kind.name.lower()} whose signature does not verify")
    return signed.body


def group_tag(group: str) -> bytes:
    """The group, as a head names it."""
    return sha256(group.encode())[:GROUP_TAG_LENGTH]


def first_link(group: str, origin: bytes, incarnation: int) -> bytes:
    """The chain of a run that has said nothing."""
    return blake2b(
        b"".join((origin, incarnation.to_bytes(8, "big"), group.encode())), digest_size=CHAIN_LENGTH, person=b"ps-group-first"
    ).digest()


def next_link(chain: bytes, delta: bytes) -> bytes:
    """The chain after one more delta."""
    return blake2b(chain + delta, digest_size=CHAIN_LENGTH, person=b"ps-group-chain").digest()


def decode_post(raw: bytes) -> Post:
    """A Post from the wire. Raises Refused when it is too long or not canonical."""
    return _read(Post, raw, MAX_POST, "a post")


def decode_hello(raw: bytes) -> Hello:
    """A Hello from the wire, *before* its MAC is checked: it names who made it. Raises Refused."""
    return _read(Hello, raw, 1024, "a hello")


def decode_signed(raw: bytes) -> Signed:
    """A Signed from the wire, as long as a snapshot may be. Raises Refused."""
    return _read(Signed, raw, MAX_SNAPSHOT + 128, "a signed message")


def decode_delta(body: bytes) -> Delta:
    """One delta of a post. Raises Refused."""
    return _read(Delta, body, MAX_DELTA, "a delta")


def decode_snapshot(body: bytes) -> Snapshot:
    """The snapshot inside a checked Signed. Raises Refused."""
    return _read(Snapshot, body, MAX_SNAPSHOT, "a snapshot")


def _read(kind: type[M], raw: bytes, limit: int, what: str) -> M:
    if len(raw) > limit:
        raise Refused("oversized", f"{what} of {len(raw)} bytes, at most {limit}")
    try:
        return decode(kind, raw)
    except DecodeError as error:
        raise Refused("garbage", f"{what} that does not decode: {error}") from error


def _signed_bytes(kind: SignedKind, body: bytes, chain_id: str) -> bytes:
    chain = chain_id.encode()
    return b"".join((SIGNATURE_DOMAIN, bytes([int(kind), len(chain)]), chain, body))
