"""One reply, frame by frame, from one entry node: what may be shown, and whether its end is proven.

A pure core: frames in, deltas out. The final frame counts only when the signed statement in it is for exactly this request,
from a live node of this model's group, over this group's model. Implements `docs/gateway.md` section 4.
"""

import json
from dataclasses import dataclass
from typing import Any, TypeVar

from network.chain_records import DirectoryEntry
from network.codec import Message, decode
from network.crypto import verify
from network.directory import Directory
from network.errors import DecodeError
from network.gateway.api_error import ApiError, from_node
from network.ids import Role
from network.inference import (
    STATEMENT_DOMAIN,
    Endpoint,
    Finish,
    FrameKind,
    InferenceRequest,
    ReplyFailure,
    ReplyFinal,
    ReplyFrame,
    ReplyStatement,
    statement_bytes,
)

M = TypeVar("M", bound=Message)
TEXT_FIELDS = ("content", "reasoning_content", "refusal")


@dataclass(frozen=True, slots=True)
class Delta:
    """One piece of the answer: an OpenAI delta for chat, a text for completions, and log-probabilities if asked for."""

    content: dict[str, Any] | str
    logprobs: Any


class Exchange:
    """Consumes the frames of one reply. `final` is set once the whole answer is there and proven."""

    __slots__ = ("_directory", "_request", "final", "route", "started")

    def __init__(self, request: InferenceRequest, directory: Directory) -> None:
        self._request = request
        self._directory = directory
        self.route: tuple[bytes, ...] = ()
        self.started = False
        self.final: ReplyFinal | None = None

    @property
    def statement(self) -> ReplyStatement:
        """The proven statement; only after `final`."""
        assert self.final is not None
        statement: ReplyStatement = self.final.statement
        return statement

    def on_frame(self, frame: ReplyFrame) -> Delta | None:
        """Take the next frame. Returns what may be shown, if anything. Raises ApiError."""
        if frame.kind == FrameKind.ACCEPTED:
            self._accepted(frame.payload)
            return None
        if frame.kind == FrameKind.DELTA:
            self.started = True
            delta = self._delta(frame.payload)
            return delta if delta.content or delta.logprobs else None
        if frame.kind == FrameKind.FAILED:
            raise from_node(_decoded(ReplyFailure, frame.payload))
        final = _decoded(ReplyFinal, frame.payload)
        self._check(final)
        self.final = final
        self.route = final.route
        return None

    def _accepted(self, payload: bytes) -> None:
        """The route announced before the first token; the signed end must agree with it."""
        if payload:
            self.route = _decoded(ReplyFinal, payload).route

    def _delta(self, payload: bytes) -> Delta:
        try:
            rows = json.loads(payload)
            logprobs = rows.get("logprobs")
            if logprobs is not None and not isinstance(logprobs, dict):
                raise TypeError("logprobs")
            if self._request.endpoint == Endpoint.CHAT:
                return Delta(_shown(rows["delta"]), logprobs)
            return Delta(_text(rows["text"]), logprobs)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ApiError("untrusted_response", "a node sent a piece of an answer that is not one") from error

    def _check(self, final: ReplyFinal) -> None:
        statement = final.statement
        if statement is None:
            raise _untrusted("carries no statement")
        if statement.domain != STATEMENT_DOMAIN or statement.nonce != self._request.nonce:
            raise _untrusted("is signed for another request")
        if statement.sampling != self._request.sampling:
            raise _untrusted("was sampled with other parameters than asked")
        node = self._signer(statement)
        if not verify(node.signing_key, statement_bytes(statement), final.signature):
            raise _untrusted("has a signature that is not the node's")
        if final.route and final.route[-1] != statement.node_id:
            raise _untrusted("names a route that does not end at the node that signed")
        if self.route and self.route[-1] != statement.node_id:
            raise _untrusted("comes from another node than announced")
        if statement.finish not in set(Finish) or len(statement.token_ids) > self._request.sampling.max_tokens + 1:
            raise _untrusted("has an end that the request does not allow")
        if abs(final.completion_tokens - len(statement.token_ids)) > 1 or final.cached_tokens > final.prompt_tokens:
            raise _untrusted("counts tokens that its statement does not hold")

    def _signer(self, statement: ReplyStatement) -> DirectoryEntry:
        node = self._directory.get(statement.node_id)
        if node is None or node.role != Role.MODEL or node.group != self._request.model:
            raise _untrusted("is signed by a node that does not serve this model")
        if node.model_hash != statement.model_hash:
            raise _untrusted("is signed for another model than the group's")
        return node


def _shown(delta: dict[str, Any]) -> dict[str, Any]:
    """The fields of a node's delta that a client may see, each of its type. Raises TypeError."""
    shown: dict[str, Any] = {name: _text(delta[name]) for name in TEXT_FIELDS if delta.get(name) is not None}
    calls = delta.get("tool_calls")
    if calls is not None:
        for call in calls:
            function = call.get("function") or {}
            if not isinstance(call.get("index", 0), int) or not isinstance(function, dict):
                raise TypeError("tool_calls")
            _text(function.get("name") or "")
            _text(function.get("arguments") or "")
        shown["tool_calls"] = calls
    return shown


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _decoded(kind: type[M], payload: bytes) -> M:
    try:
        return decode(kind, payload)
    except DecodeError as error:
        raise _untrusted("breaks the protocol") from error


def _untrusted(complaint: str) -> ApiError:
    return ApiError("untrusted_response", f"the answer {complaint}; it was not accepted")
