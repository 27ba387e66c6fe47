"""What two copies of a group's HR-Tree exchange: signed updates, a greeting, an acknowledgement. Bytes and bounds only.

An `Update` is a delta (the changes of one sequence number) or a snapshot (everything its origin holds, up to that number).
Each is signed by its origin, so a relayed or stored one proves itself and two different deltas under one number convict
their signer. `docs/forwarding.md` section 4 gives the fields; `network/hrsync.py` the rules of sequence numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from network.codec import Message, blob, decode, encode, nested, repeated, text, uint
from network.crypto import SigningKey, verify
from network.errors import DecodeError, RemoteProtocolError
from network.fingerprint import MAX_DEPTH, SPACE_ID_LENGTH
from network.ids import NODE_ID_LENGTH

SIGNATURE_DOMAIN = b"planetserve/group/1"
TERMS_ID_LENGTH = 8
MAX_CHANGES = 32_768
MAX_SECTIONS = 4
MAX_DELTA = 32 * 1024
MAX_SNAPSHOT = 1024 * 1024
MAX_POST = 256 * 1024
MAX_POST_DELTAS = 64
# Front coding lets few bytes stand for many symbols; these bound the work that one delta or snapshot can ask for.
MAX_DELTA_SYMBOLS = 64 * 1024
MAX_SNAPSHOT_SYMBOLS = 512 * 1024


class Refused(RemoteProtocolError):
    """A peer's message that is dropped and counted; `reason` is one of the words of `REASONS`."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(f"{what} ({reason})")
        self.reason = reason


REASONS = (
    "garbage",
    "oversized",
    "signature",
    "foreign-group",
    "unknown-sender",
    "not-for-us",
    "clock",
    "equivocation",
    "untrusted",
    "too-often",
)


class SignedKind(IntEnum):
    """What the body of a `Signed` is; part of what is signed."""

    DELTA = 1
    SNAPSHOT = 2
    HELLO = 3
    TERMS = 4
    TERMS_ANSWER = 5


class ChangeKind(IntEnum):
    """What happened to a path at its origin."""

    HOLD = 1
    DROP = 2


@dataclass(frozen=True, slots=True)
class Change(Message):
    """One path held, or dropped with all below it. Its first `shared` symbols are those of the change before it."""

    kind: int = uint(1, limit=2)
    shared: int = uint(2, limit=MAX_DEPTH)
    symbols: bytes = blob(3, limit=MAX_DEPTH)


@dataclass(frozen=True, slots=True)
class Section(Message):
    """Changes in one fingerprint space; `space` is its id, a check that both sides cut and key alike."""

    generation: int = uint(1)
    space: bytes = blob(2, size=SPACE_ID_LENGTH)
    changes: tuple[Change, ...] = repeated(3, Change, count=MAX_CHANGES)


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
class Update(Message):
    """A delta or a snapshot of one origin. `incarnation` is its start time in ms; a restart begins again at sequence 1."""

    group: str = text(1, limit=128)
    origin: bytes = blob(2, size=NODE_ID_LENGTH)
    incarnation: int = uint(3)
    sequence: int = uint(4)
    sections: tuple[Section, ...] = repeated(5, Section, count=MAX_SECTIONS)
    load: Any = nested(6, LoadReport)


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Opens every exchange: who speaks to whom, where its own log stands, and how much of the other's it has.

    `terms` names the group's terms that the speaker holds (`network/hrterms.py`); empty when it holds none.
    """

    group: str = text(1, limit=128)
    origin: bytes = blob(2, size=NODE_ID_LENGTH)
    target: bytes = blob(3, size=NODE_ID_LENGTH)
    time_ms: int = uint(4)
    incarnation: int = uint(5)
    head: int = uint(6)
    oldest: int = uint(7)
    have_incarnation: int = uint(8)
    have_sequence: int = uint(9)
    terms: bytes = blob(10, size=TERMS_ID_LENGTH)


@dataclass(frozen=True, slots=True)
class Signed(Message):
    """A signed body. The signature covers domain, chain id, kind and body."""

    kind: int = uint(1, limit=5)
    body: bytes = blob(2, limit=MAX_SNAPSHOT)
    signature: bytes = blob(3, size=64)


@dataclass(frozen=True, slots=True)
class Post(Message):
    """The body of `POST /group/delta`: a signed Hello and the deltas the other lacks, oldest first, perhaps none."""

    hello: Any = nested(1, Signed)
    deltas: tuple[Signed, ...] = repeated(2, Signed, count=MAX_POST_DELTAS)


@dataclass(frozen=True, slots=True)
class Ack(Message):
    """The answer to a Post: how much of the caller's log is held here now, and where the answerer's own log stands."""

    have_incarnation: int = uint(1)
    have_sequence: int = uint(2)
    incarnation: int = uint(3)
    head: int = uint(4)
    terms: bytes = blob(5, size=TERMS_ID_LENGTH)


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


def decode_hello(signed: Signed | None) -> Hello:
    """The Hello inside, *before* its signature is checked: it names the key to check with. Raises Refused."""
    if signed is None or signed.kind != SignedKind.HELLO:
        raise Refused("garbage", "an exchange must open with a hello")
    try:
        return decode(Hello, signed.body)
    except DecodeError as error:
        raise Refused("garbage", f"a hello that does not decode: {error}") from error


def decode_post(raw: bytes) -> Post:
    """A Post from the wire. Raises Refused when it is too long or not canonical."""
    if len(raw) > MAX_POST:
        raise Refused("oversized", f"a post of {len(raw)} bytes, at most {MAX_POST}")
    try:
        return decode(Post, raw)
    except DecodeError as error:
        raise Refused("garbage", f"a post that does not decode: {error}") from error


def decode_signed(raw: bytes) -> Signed:
    """A Signed from the wire, as long as a snapshot may be. Raises Refused."""
    if len(raw) > MAX_SNAPSHOT + 128:
        raise Refused("oversized", f"a signed message of {len(raw)} bytes, at most {MAX_SNAPSHOT + 128}")
    try:
        return decode(Signed, raw)
    except DecodeError as error:
        raise Refused("garbage", f"a signed message that does not decode: {error}") from error


def decode_update(body: bytes, limit: int) -> Update:
    """The delta or snapshot inside a checked Signed. Raises Refused."""
    if len(body) > limit:
        raise Refused("oversized", f"an update of {len(body)} bytes, at most {limit}")
    try:
        return decode(Update, body)
    except DecodeError as error:
        raise Refused("garbage", f"an update that does not decode: {error}") from error


def fold(paths: Iterable[tuple[ChangeKind, bytes]]) -> tuple[Change, ...]:
    """Front coding: each path as what it does not share with the one before. `unfold` is its inverse."""
    changes: list[Change] = []
    before = b""
    for kind, path in paths:
        shared = _common(before, path)
        changes.append(Change(int(kind), shared, path[shared:]))
        before = path
    return tuple(changes)


def unfold(changes: tuple[Change, ...], budget: int) -> list[tuple[ChangeKind, bytes]]:
    """The paths of a section. Raises Refused for a change that cannot be, or more than `budget` symbols in all."""
    paths: list[tuple[ChangeKind, bytes]] = []
    before = b""
    for change in changes:
        if change.kind not in (ChangeKind.HOLD, ChangeKind.DROP) or change.shared > len(before):
            raise Refused("garbage", "a change of unknown kind, or that shares more than there was")
        before = before[: change.shared] + change.symbols
        budget -= len(before)
        if not before or len(before) > MAX_DEPTH or budget < 0:
            raise Refused("oversized", "a path of no or too many symbols, or an update of too many")
        paths.append((ChangeKind(change.kind), before))
    return paths


def _common(one: bytes, two: bytes) -> int:
    """Length of the common prefix."""
    length = min(len(one), len(two))
    if one[:length] == two[:length]:
        return length
    return next(at for at in range(length) if one[at] != two[at])


def _signed_bytes(kind: SignedKind, body: bytes, chain_id: str) -> bytes:
    chain = chain_id.encode()
    return b"".join((SIGNATURE_DOMAIN, bytes([int(kind), len(chain)]), chain, body))
