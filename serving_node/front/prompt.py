"""From a request's body to what the HR-Tree matches: canonical bytes of the prompt, in words of four.

A front has no tokenizer. It writes down what an engine's template will render, in the order in which templates render it:
model, tools, then each message; so two requests whose prompts begin alike begin alike here. A word of 4 bytes stands for a
token (`docs/forwarding.md` 2.1). The body itself is passed on as it came, never re-encoded.
"""

import json
from array import array
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from serving_node.front.http1 import HttpError

CHAT, COMPLETION = b"/v1/chat/completions", b"/v1/completions"
SALT_BYTES = 16
WORD_BYTES = 4
_MAX_SALT = 512


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is known of a request before anybody answers it. `packed` is empty when the body is not of the usual shape."""

    packed: bytes
    stream: bool
    salt: bytes = b""


def read_prompt(path: bytes, body: bytes) -> Prompt:
    """The prompt of a request to one of the two routed paths. Raises HttpError for a body that is no JSON object."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HttpError(400, "invalid_json", "the body is not JSON in UTF-8") from error
    if not isinstance(asked, dict):
        raise HttpError(400, "invalid_json", "the body must be one JSON object")
    salt = asked.get("cache_salt")
    if salt is not None and (not isinstance(salt, str) or not 0 < len(salt) <= _MAX_SALT):
        raise HttpError(400, "invalid_request", f"cache_salt must be a string of 1 to {_MAX_SALT} characters")
    text = _chat(asked) if path == CHAT else _completion(asked)
    hidden = blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=SALT_BYTES).digest() if salt else b""
    return Prompt(text + b"\0" * (-len(text) % WORD_BYTES), asked.get("stream") is True, hidden)


def _chat(asked: dict[str, Any]) -> bytes:
    messages = asked.get("messages")
    if not isinstance(messages, list):
        return b""
    parts = [_name(asked), "chat\0"]
    if asked.get("tools"):
        parts.append(_json(asked["tools"]))
    for message in messages:
        if not isinstance(message, dict):
            return b""
        content = message.get("content")
        parts += ["\0", str(message.get("role")), "\0", content if isinstance(content, str) else _json(content)]
        if len(message) > 2:
            parts.append(_json({key: value for key, value in message.items() if key not in ("role", "content")}))
    return "".join(parts).encode("utf-8", "surrogatepass")


def _completion(asked: dict[str, Any]) -> bytes:
    prompt = asked.get("prompt")
    if isinstance(prompt, str):
        return f"{_name(asked)}text\0{prompt}".encode("utf-8", "surrogatepass")
    if isinstance(prompt, list) and prompt and all(isinstance(token, int) and 0 <= token < 2**32 for token in prompt):
        name = f"{_name(asked)}ids\0".encode("utf-8", "surrogatepass")
        return name + b"\0" * (-len(name) % WORD_BYTES) + array("I", prompt).tobytes()
    return b""


def _name(asked: dict[str, Any]) -> str:
    """The model comes first: adapters of one engine share no cache."""
    return f"{asked.get('model')}\0"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
