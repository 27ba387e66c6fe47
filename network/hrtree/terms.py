"""What a group agrees on for one generation of fingerprints: the chunk plan and a secret. Messages, bounds and seals only.

`Terms` are signed by their issuer and hold the secret's commitment, never the secret: whoever knows it seals it to each
trusted member that asks. A `Proposal` is what one member's Sentry found. `docs/forwarding.md` section 8; who issues, and whose
terms count, is `network/hrtree/terms_book.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from network.chain_records import DirectoryEntry
from network.codec import Message, blob, decode, encode, nested, repeated, text, uint, uints
from network.crypto import SigningKey, sha256
from network.errors import CryptoError, DecodeError
from network.hpke import Opener, seal_to
from network.hrtree.delta import TERMS_ID_LENGTH, Refused, Signed, SignedKind, check_signature, sign
from network.hrtree.fingerprint import ChunkPlan
from network.ids import NODE_ID_LENGTH
from network.sealing import DEFAULT_SEALING

SECRET_LENGTH = 32
MAX_LENGTHS = 128
SHORTEST, LONGEST = 16, 1024  # tokens in a chunk that a plan may ask for
MOST_GIVEN = 3
MAX_SEALED = 1300
MAX_ANSWER = 8 * 1024
ASKED_LENGTH = 16
DOMAIN = b"planetserve/terms/1"


@dataclass(frozen=True, slots=True)
class Terms(Message):
    """One generation's terms. Without `lengths` and `fixed`, the plan is the one that every node has by default."""

    group: str = text(1, limit=128)
    generation: int = uint(2)
    issuer: bytes = blob(3, size=NODE_ID_LENGTH)
    lengths: tuple[int, ...] = uints(4, count=MAX_LENGTHS, limit=LONGEST)
    fixed: int = uint(5, limit=LONGEST)
    commitment: bytes = blob(6, size=32)


@dataclass(frozen=True, slots=True)
class Given(Message):
    """Terms on their way to one member, the secret sealed to it."""

    terms: Any = nested(1, Signed)
    sealed: bytes = blob(2, limit=MAX_SEALED)


@dataclass(frozen=True, slots=True)
class Proposal(Message):
    """The plan that one member's own traffic asks for, and out of how many prompts it was found."""

    prompts: int = uint(1, limit=2**20)
    lengths: tuple[int, ...] = uints(2, count=MAX_LENGTHS, limit=LONGEST)
    fixed: int = uint(3, limit=LONGEST)


@dataclass(frozen=True, slots=True)
class TermsAnswer(Message):
    """The answer to `GET /group/terms`: `asked` is the beginning of SHA-256 of the Hello that it answers."""

    origin: bytes = blob(1, size=NODE_ID_LENGTH)
    asked: bytes = blob(2, size=ASKED_LENGTH)
    given: tuple[Given, ...] = repeated(3, Given, count=MOST_GIVEN)
    proposal: Any = nested(4, Proposal)


@dataclass(frozen=True, slots=True)
class HeldTerms:
    """Terms, their issuer's signature, and the secret they commit to."""

    terms: Terms
    signed: Signed
    secret: bytes = field(repr=False)

    @property
    def rank(self) -> tuple[bytes, bytes]:
        """Of two terms of one generation those of the lesser rank count: first the issuer's lot, then the terms' own hash."""
        return rank(self.terms.generation, self.terms.issuer), sha256(self.signed.body)


def rank(generation: int, node: bytes) -> bytes:
    """A member's lot in a generation; the least of the trusted members issues its terms."""
    return sha256(DOMAIN, b"rank", generation.to_bytes(8, "big"), node)


def commitment(secret: bytes) -> bytes:
    """What terms say of their secret: enough to recognise it, and no help in finding it."""
    return sha256(DOMAIN, b"commitment", secret)


def terms_id(held: Sequence[HeldTerms]) -> bytes:
    """8 bytes that name a set of terms; empty for none."""
    if not held:
        return b""
    return sha256(DOMAIN, b"id", *sorted(sha256(each.signed.body) for each in held))[:TERMS_ID_LENGTH]


def is_sane(lengths: Sequence[int], fixed: int) -> bool:
    """Whether a group can live with this plan, whoever asks for it: no chunk absurdly short or long, and not too many."""
    if not lengths and not fixed:
        return True
    return len(lengths) <= MAX_LENGTHS and all(SHORTEST <= length <= LONGEST for length in (*lengths, fixed))


def plan_of(terms: Terms | Proposal, default: ChunkPlan) -> ChunkPlan:
    """The chunk plan that these terms mean."""
    return ChunkPlan(terms.lengths, terms.fixed) if terms.fixed else default


def issue(
    group: str, generation: int, proposal: Proposal, secret: bytes, own: bytes, key: SigningKey, chain_id: str
) -> HeldTerms:
    """Terms of our own."""
    terms = Terms(group, generation, own, proposal.lengths, proposal.fixed, commitment(secret))
    return HeldTerms(terms, sign(SignedKind.TERMS, terms, key, chain_id), secret)


def give(held: HeldTerms, receiver: DirectoryEntry, chain_id: str) -> Given:
    """Terms for a trusted member, their secret sealed to the onion keys that the directory names for it. Raises Refused."""
    choice = DEFAULT_SEALING.choose(receiver)
    assert choice is not None  # only settings that insist on a hybrid key leave a node out
    try:
        return Given(held.signed, seal_to(*choice, held.secret, _info(held.terms, receiver.node_id, chain_id)))
    except CryptoError as error:
        raise Refused("untrusted", "terms cannot be sealed to the onion key that the directory names") from error


def decode_terms(signed: Signed | None) -> Terms:
    """The terms inside, *before* their signature is checked: they name the issuer. Raises Refused."""
    if signed is None or signed.kind != SignedKind.TERMS:
        raise Refused("garbage", "terms were expected")
    try:
        terms = decode(Terms, signed.body)
    except DecodeError as error:
        raise Refused("garbage", f"terms that do not decode: {error}") from error
    if not is_sane(terms.lengths, terms.fixed):
        raise Refused("garbage", f"terms with a chunk outside {SHORTEST}..{LONGEST} tokens")
    return terms


def take(given: Given, terms: Terms, issuer: bytes, own: bytes, opener: Opener, chain_id: str) -> HeldTerms:
    """The terms with their secret; `issuer` is the issuer's signing key. Raises Refused."""
    assert given.terms is not None
    check_signature(given.terms, SignedKind.TERMS, issuer, chain_id)
    try:
        secret = opener.open(given.sealed, _info(terms, own, chain_id))
    except CryptoError as error:
        raise Refused("garbage", "a secret that was not sealed to us") from error
    if len(secret) != SECRET_LENGTH or commitment(secret) != terms.commitment:
        raise Refused("garbage", "another secret than the one its issuer committed to")
    return HeldTerms(terms, given.terms, secret)


def decode_answer(raw: bytes, origin: bytes, public: bytes, asked: bytes, chain_id: str) -> TermsAnswer:
    """The answer of `origin` to the Hello `asked`. Raises Refused."""
    if len(raw) > MAX_ANSWER:
        raise Refused("oversized", f"a terms answer of {len(raw)} bytes, at most {MAX_ANSWER}")
    try:
        signed = decode(Signed, raw)
        answer = decode(TermsAnswer, check_signature(signed, SignedKind.TERMS_ANSWER, public, chain_id))
    except DecodeError as error:
        raise Refused("garbage", f"a terms answer that does not decode: {error}") from error
    if answer.origin != origin or answer.asked != asked_id(asked):
        raise Refused("not-for-us", "an answer to another question")
    return answer


def encode_answer(answer: TermsAnswer, key: SigningKey, chain_id: str) -> bytes:
    """The signed answer."""
    return encode(sign(SignedKind.TERMS_ANSWER, answer, key, chain_id))


def asked_id(hello: bytes) -> bytes:
    """What an answer repeats of its question."""
    return sha256(hello)[:ASKED_LENGTH]


def _info(terms: Terms, receiver: bytes, chain_id: str) -> bytes:
    parts = (chain_id.encode(), terms.group.encode(), terms.generation.to_bytes(8, "big"), receiver)
    return DOMAIN + b"".join(len(part).to_bytes(2, "big") + part for part in parts)
