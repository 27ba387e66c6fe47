"""What travels inside a session: one inference request, the frames of its reply, and the statement that is signed.

A challenge and a prompt are the same bytes by construction: both are an `InferenceRequest` made by the same code, and
both get the same frames back (design section 4.2). Every reply to anybody ends with a `ReplyStatement` signed by the
model node that answered, so that any reply can be scored later.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from network.codec import Message, blob, blobs, encode, nested, sint, text, uint, uints
from network.crypto import sha256
from network.ids import NODE_ID_LENGTH

MAX_BODY = 256 * 1024
MAX_TOKENS = 8192
MAX_SALT = 32
STATEMENT_DOMAIN = b"planetserve/reply/1"
SEED_DOMAIN = b"planetserve/seed/1"


class Endpoint(IntEnum):
    """Which OpenAI endpoint the body belongs to."""

    CHAT = 1
    COMPLETION = 2


class Finish(IntEnum):
    """Why an answer ended."""

    STOP = 1
    LENGTH = 2
    TOOL_CALLS = 3


class FrameKind(IntEnum):
    """What one reply frame carries."""

    ACCEPTED = 1
    DELTA = 2
    FINAL = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Sampling(Message):
    """Sampling parameters in thousandths, so that they can be signed. Temperature 0 is greedy; top_p 0 and top_k 0 are off."""

    temperature_milli: int = uint(1, limit=2000)
    top_p_milli: int = uint(2, limit=1000)
    top_k: int = uint(3, limit=100_000)
    max_tokens: int = uint(4, limit=MAX_TOKENS)


@dataclass(frozen=True, slots=True)
class InferenceRequest(Message):
    """One prompt on its way to a model node. `body` is the stripped OpenAI request as JSON; `nonce` seeds the sampling.

    With `no_share` 1 nothing of the prompt stays in a cache or is told to a group; a `cache_salt` keeps what is cached to
    prompts with the same one. Both are empty unless a user asks for them.
    """

    model: str = text(1, limit=128)
    endpoint: int = uint(2, limit=2)
    nonce: bytes = blob(3, size=32)
    sampling: Any = nested(4, Sampling)
    body: bytes = blob(5, limit=MAX_BODY)
    deadline_ms: int = uint(6, limit=3_600_000)
    no_share: int = uint(7, limit=1)
    cache_salt: bytes = blob(8, limit=MAX_SALT)


@dataclass(frozen=True, slots=True)
class ReplyStatement(Message):
    """What a model node signs about one answer. `prompt_hash` is SHA-256 over the prompt's token ids as u32 little-endian."""

    domain: bytes = blob(1, limit=32)
    nonce: bytes = blob(2, size=32)
    node_id: bytes = blob(3, size=NODE_ID_LENGTH)
    model_hash: bytes = blob(4, size=32)
    prompt_hash: bytes = blob(5, size=32)
    sampling: Any = nested(6, Sampling)
    token_ids: tuple[int, ...] = uints(7, count=MAX_TOKENS, limit=2**32 - 1)
    finish: int = uint(8, limit=3)


@dataclass(frozen=True, slots=True)
class ReplyFrame(Message):
    """One frame of a streamed reply. `payload`: JSON of an OpenAI delta (DELTA), else a ReplyFinal or ReplyFailure."""

    sequence: int = uint(1)
    kind: int = uint(2, limit=4)
    payload: bytes = blob(3, limit=1024 * 1024)


@dataclass(frozen=True, slots=True)
class ReplyFinal(Message):
    """The last frame of a complete answer. `route` lists the model nodes the request visited, the answering one last."""

    statement: Any = nested(1, ReplyStatement)
    signature: bytes = blob(2, size=64)
    prompt_tokens: int = uint(3)
    completion_tokens: int = uint(4)
    cached_tokens: int = uint(5)
    route: tuple[bytes, ...] = blobs(6, count=8, size=NODE_ID_LENGTH)


@dataclass(frozen=True, slots=True)
class ReplyFailure(Message):
    """The last frame of an answer that could not be given: a stable code, an HTTP status, and words for the caller."""

    code: str = text(1, limit=64)
    status: int = uint(2, limit=599)
    message: str = text(3, limit=1024)
    retry_after: int = sint(4, limit=86_400)


def statement_bytes(statement: ReplyStatement) -> bytes:
    """The bytes that a model node signs: the canonical encoding, which starts with the domain."""
    return encode(statement)


def prompt_hash(token_ids: tuple[int, ...]) -> bytes:
    """SHA-256 over the prompt's token ids, each as 4 bytes little-endian."""
    return sha256(b"".join(token.to_bytes(4, "little") for token in token_ids))


def sampling_seed(nonce: bytes, node: bytes, model_hash: bytes) -> int:
    """The engine's 32-bit sampling seed for one request, a public function of its nonce (scheme `llamacpp-mt19937-v1`).

    The engine reads 0xFFFFFFFF as "random", so the value is reduced modulo 0xFFFFFFFF.
    """
    return int.from_bytes(sha256(SEED_DOMAIN, nonce, node, model_hash)[:8], "big") % 0xFFFFFFFF
