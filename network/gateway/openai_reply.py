"""The answer in OpenAI's shapes: chunks of a stream, or one document put together from the same pieces."""

import json
from typing import Any

from network.gateway.exchange import Delta
from network.inference import Finish, ReplyFinal

FINISH_WORDS = {Finish.STOP: "stop", Finish.LENGTH: "length", Finish.TOOL_CALLS: "tool_calls"}
DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


class Reply:
    """Shapes one answer. `name` is its id without prefix, `created` seconds since 1970."""

    __slots__ = ("_chat", "_created", "_deltas", "_id", "_model")

    def __init__(self, *, chat: bool, name: str, created: int, model: str) -> None:
        self._chat = chat
        self._id = f"{'chatcmpl' if chat else 'cmpl'}-{name}"
        self._created = created
        self._model = model
        self._deltas: list[Delta] = []

    def first_chunk(self) -> dict[str, Any] | None:
        """What a chat stream begins with: the role."""
        return self._chunk({"role": "assistant", "content": ""}, None) if self._chat else None

    def chunk(self, delta: Delta) -> dict[str, Any]:
        """One piece of a stream."""
        return self._chunk(delta.content, delta.logprobs)

    def last_chunk(self, final: ReplyFinal) -> dict[str, Any]:
        """The piece that says why the answer ended."""
        return self._chunk({} if self._chat else "", None, FINISH_WORDS[Finish(final.statement.finish)])

    def usage_chunk(self, final: ReplyFinal) -> dict[str, Any]:
        """The last piece for who asked for usage: no choices."""
        return {**self._head("chunk"), "choices": [], "usage": usage(final)}

    def add(self, delta: Delta) -> None:
        """Keep one piece for `document`."""
        self._deltas.append(delta)

    def document(self, final: ReplyFinal) -> dict[str, Any]:
        """The whole answer, when it is not streamed."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": FINISH_WORDS[Finish(final.statement.finish)]}
        choice["logprobs"] = merged_logprobs([delta.logprobs for delta in self._deltas])
        if self._chat:
            choice["message"] = merged_message([d.content for d in self._deltas if isinstance(d.content, dict)])
        else:
            choice["text"] = "".join(d.content for d in self._deltas if isinstance(d.content, str))
        return {**self._head(""), "choices": [choice], "usage": usage(final)}

    def _chunk(self, content: dict[str, Any] | str, logprobs: Any, finish: str | None = None) -> dict[str, Any]:
        body = {"delta": content} if self._chat else {"text": content}
        choice = {"index": 0, **body, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head("chunk"), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        name = ("chat.completion.chunk" if kind else "chat.completion") if self._chat else "text_completion"
        return {"id": self._id, "object": name, "created": self._created, "model": self._model}


def usage(final: ReplyFinal) -> dict[str, Any]:
    """OpenAI's usage object, with the tokens that came out of a prefix cache."""
    return {
        "prompt_tokens": final.prompt_tokens,
        "completion_tokens": final.completion_tokens,
        "total_tokens": final.prompt_tokens + final.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": final.cached_tokens},
    }


def event(document: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def merged_message(deltas: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a list of deltas spells; pieces of tool calls are joined by their index."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas:
        for name in ("content", "reasoning_content", "refusal"):
            if isinstance(delta.get(name), str):
                message[name] = (message.get(name) or "") + delta[name]
        for piece in delta.get("tool_calls") or ():
            _merge_call(calls.setdefault(int(piece.get("index", 0)), {"type": "function", "function": {}}), piece)
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    elif message["content"] is None:
        message["content"] = ""
    return message


def _merge_call(call: dict[str, Any], piece: dict[str, Any]) -> None:
    call.update({name: piece[name] for name in ("id", "type") if piece.get(name)})
    function = piece.get("function") or {}
    if function.get("name"):
        call["function"]["name"] = function["name"]
    call["function"]["arguments"] = call["function"].get("arguments", "") + (function.get("arguments") or "")


def merged_logprobs(pieces: list[Any]) -> Any:
    """The log-probabilities of all pieces as one object, None when there are none."""
    merged: dict[str, Any] = {}
    for piece in pieces:
        if not isinstance(piece, dict):
            continue
        for name, rows in piece.items():
            if isinstance(rows, list):
                merged[name] = [*merged.get(name, []), *rows]
    return merged or None
