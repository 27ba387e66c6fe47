"""The frames of one reply, and the signed statement that ends it."""

from network.codec import encode
from network.crypto import SigningKey
from network.ids import node_id
from network.inference import (
    STATEMENT_DOMAIN,
    FrameKind,
    InferenceRequest,
    ReplyFinal,
    ReplyFrame,
    ReplyStatement,
    prompt_hash,
    statement_bytes,
)
from serving_node.failure import ServeError
from serving_node.generation import Ended


class Signer:
    """Signs what one node says it answered: as `node`, for the model whose hash it registered."""

    __slots__ = ("_key", "model_hash", "node")

    def __init__(self, key: SigningKey, model_hash: bytes) -> None:
        self._key = key
        self.model_hash = model_hash
        self.node = node_id(key.public)

    def final(
        self, request: InferenceRequest, prompt_ids: tuple[int, ...], ended: Ended, visited: tuple[bytes, ...]
    ) -> ReplyFrame:
        """The last frame of a complete answer; `visited` are the model nodes the request passed before this one."""
        statement = ReplyStatement(
            domain=STATEMENT_DOMAIN,
            nonce=request.nonce,
            node_id=self.node,
            model_hash=self.model_hash,
            prompt_hash=prompt_hash(prompt_ids),
            sampling=request.sampling,
            token_ids=ended.token_ids,
            finish=ended.finish,
        )
        final = ReplyFinal(
            statement=statement,
            signature=self._key.sign(statement_bytes(statement)),
            prompt_tokens=len(prompt_ids),
            completion_tokens=len(ended.token_ids),
            cached_tokens=min(ended.cached_tokens, len(prompt_ids)),
            route=(*visited, self.node),
        )
        return ReplyFrame(0, FrameKind.FINAL, encode(final))


def accepted(route: tuple[bytes, ...]) -> ReplyFrame:
    """The first frame: who is going to answer, so that a caller knows before the first token."""
    return ReplyFrame(0, FrameKind.ACCEPTED, encode(ReplyFinal(route=route)))


def delta(payload: bytes) -> ReplyFrame:
    """A piece of the answer."""
    return ReplyFrame(0, FrameKind.DELTA, payload)


def failed(error: ServeError) -> ReplyFrame:
    """The last frame of an answer that could not be given."""
    return ReplyFrame(0, FrameKind.FAILED, encode(error.reply()))
