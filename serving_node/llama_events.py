"""Reads llama.cpp's answers: the events of `/completion`, and the verbose answer of its chat endpoint."""

import json
from typing import Any

from network.inference import Finish
from serving_node.asked import Asked
from serving_node.failure import INVALID_REQUEST, ServeError
from serving_node.generation import Piece, Prefilled, TokenLogprob

FINISHES = {"eos": Finish.STOP, "word": Finish.STOP, "limit": Finish.LENGTH}


def prefilled(event: dict[str, Any]) -> Prefilled | None:
    """The progress that an event reports, if it does."""
    progress = event.get("prompt_progress")
    if not isinstance(progress, dict):
        return None
    return Prefilled(int(progress["processed"]), int(progress["cache"]))


def logprobs(event: dict[str, Any]) -> tuple[TokenLogprob, ...]:
    """The log-probabilities that came with an event."""
    return tuple(_logprob(entry) for entry in event.get("completion_probabilities", ()))


def tool_deltas(message: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """A whole message's tool calls as OpenAI deltas, each with its index."""
    return tuple({"index": index, **call} for index, call in enumerate(message.get("tool_calls") or ()))


def whole_piece(choice: dict[str, Any]) -> Piece:
    """The one piece of an answer that came whole."""
    message = choice["message"]
    return Piece(message.get("content") or "", tool_calls=tool_deltas(message))


def check_schema_kept(asked: Asked, text: str, finish: Finish, *, stopped: bool) -> None:
    """The engine answers freely, and says nothing, when it cannot follow a schema. Raises ServeError when it did."""
    if asked.schema is None or finish != Finish.STOP or stopped:
        return
    try:
        json.loads(text)
    except ValueError as error:
        raise ServeError(INVALID_REQUEST, "the engine could not follow the JSON schema in response_format") from error


def _logprob(entry: dict[str, Any]) -> TokenLogprob:
    top = tuple(_logprob(seen) for seen in entry.get("top_logprobs", ()))
    return TokenLogprob(entry["token"], tuple(entry["bytes"]), entry["logprob"], top)
