"""One real prompt through the gateway, streamed to the terminal as it arrives, as any client of OpenAI's API sees it."""

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

QUESTION = "In one short sentence, what is a network?"
PATIENCE = aiohttp.ClientTimeout(total=120.0)


class PromptFailed(Exception):
    """The gateway did not answer the prompt; the words say what came instead."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how."""

    text: str
    first_token_seconds: float
    seconds: float
    tokens: int
    node: str
    route: str


async def ask(session: aiohttp.ClientSession, gateway: str, model: str, show: Callable[[str], None]) -> Answer:
    """Ask the gateway and pass each piece of the answer to `show`. Raises PromptFailed."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 48,
        "temperature": 0.2,
    }
    began = time.monotonic()
    first = 0.0
    pieces: list[str] = []
    tokens = 0
    try:
        async with session.post(f"http://{gateway}/v1/chat/completions", json=body, timeout=PATIENCE) as response:
            if response.status != 200:
                raise PromptFailed(f"the gateway answered {response.status}: {_reason(await response.text())}")
            async for event in _events(response):
                if "error" in event:
                    raise PromptFailed(_reason(json.dumps(event)))
                tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
                piece = "".join((choice.get("delta") or {}).get("content") or "" for choice in event.get("choices", []))
                if piece:
                    first = first or time.monotonic() - began
                    pieces.append(piece)
                    show(piece)
            node, route = response.headers.get("x-planetserve-node", ""), response.headers.get("x-planetserve-route", "")
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise PromptFailed(str(error) or type(error).__name__) from error
    if not pieces:
        raise PromptFailed("the stream ended without a token")
    return Answer("".join(pieces), first, time.monotonic() - began, tokens, node, route)


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for raw in response.content:
        line = raw.decode().strip()
        if line.startswith("data:") and (data := line[5:].strip()) != "[DONE]":
            yield json.loads(data)


def _reason(text: str) -> str:
    try:
        error = json.loads(text)["error"]
        words = [str(error[key]) for key in ("code", "message", "hint") if error.get(key)]
    except (ValueError, KeyError, TypeError):
        return text[:300]
    return " · ".join(words)
