"""Talking to an engine over HTTP: one request per connection, errors turned into `ServeError`s, server-sent events read.

Engines close a connection after a stream, so none is reused. Closing a response closes its connection, which is how both
llama.cpp and vLLM are told to stop working on a request.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from serving_node.failure import CONTEXT_LENGTH_EXCEEDED, ENGINE_FAILED, INVALID_REQUEST, ServeError

_QUICK = aiohttp.ClientTimeout(total=30)
# A prompt may wait long for its first token; the request's own deadline bounds it.
_STREAM = aiohttp.ClientTimeout(total=None, sock_connect=5)
_MAX_EVENT = 1 << 24


class EngineHttp:
    """One engine's HTTP face."""

    def __init__(self, base: str, api_key: str = "") -> None:
        self.base = base
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the connection pool."""
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, read_bufsize=1 << 18)

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def answers(self, path: str) -> bool:
        """Whether a GET gives status 200."""
        try:
            async with self._opened("GET", path, None, aiohttp.ClientTimeout(total=2)) as response:
                return response.status == 200
        except ServeError:
            return False

    async def get_text(self, path: str) -> str:
        """The body of a GET. Raises ServeError(engine_failed)."""
        async with self._opened("GET", path, None, _QUICK) as response:
            if response.status != 200:
                raise ServeError(ENGINE_FAILED, f"the engine answered {response.status} to {path}")
            return await response.text()

    async def get_json(self, path: str) -> Any:
        """The JSON document of a GET. Raises ServeError(engine_failed)."""
        return json.loads(await self.get_text(path))

    async def post(self, path: str, body: Mapping[str, object], *, patient: bool = False) -> Any:
        """The JSON answer to a POST. Raises ServeError."""
        async with self._opened("POST", path, body, _STREAM if patient else _QUICK) as response:
            raw = await response.read()
            if response.status != 200:
                raise refusal(response.status, raw)
            return json.loads(raw)

    async def events(self, path: str, body: Mapping[str, object]) -> AsyncGenerator[Any, None]:
        """The JSON data of a stream's server-sent events. Raises ServeError."""
        async with self._opened("POST", path, body, _STREAM) as response:
            if response.status != 200:
                raise refusal(response.status, await response.read())
            async for data in _event_data(response.content):
                event = json.loads(data)
                if isinstance(event, dict) and "error" in event:
                    raise refusal(500, data)
                yield event

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, body: Mapping[str, object] | None, timeout: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        try:
            async with self._session.request(method, self.base + path, json=body, timeout=timeout) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError) as error:
            raise ServeError(ENGINE_FAILED, f"the engine did not answer ({type(error).__name__})") from error


async def _event_data(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    held = b""
    async for block in stream.iter_any():
        held += block
        *lines, held = held.split(b"\n")
        if len(held) > _MAX_EVENT:
            raise ServeError(ENGINE_FAILED, "the engine sent an event without end")
        for line in lines:
            if line.startswith(b"data:"):
                data = line[5:].strip()
                if data == b"[DONE]":
                    return
                yield data


def refusal(status: int, raw: bytes) -> ServeError:
    """What an engine's error answer means for the caller: its fault or the engine's."""
    try:
        error = json.loads(raw)
    except ValueError:
        error = {}
    error = error.get("error", error) if isinstance(error, dict) else {}
    message = str(error.get("message", "")) if isinstance(error, dict) else str(error)
    kind = str(error.get("type", "")) if isinstance(error, dict) else ""
    if kind == "exceed_context_size_error" or "maximum context length" in message:
        return ServeError(CONTEXT_LENGTH_EXCEEDED, message)
    if 400 <= status < 500 and status not in (401, 403, 404, 429):
        return ServeError(INVALID_REQUEST, message or "the engine refused the request")
    return ServeError(ENGINE_FAILED, f"the engine answered {status} {kind}".rstrip())
