"""One answered request: streamed as server-sent events, or whole.

A stream's status and headers wait for the first piece of the answer, so that an early failure has its proper status, but
no longer than `PATIENCE_S`: from then on comments keep the connection alive, and a failure is an event of the stream.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from network.directory import Directory
from network.gateway.affinity import Affinity
from network.gateway.aio.asking import Asking, Overlay
from network.gateway.aio.metrics import GatewayMetrics
from network.gateway.api_error import ApiError
from network.gateway.openai_reply import DONE, KEEP_ALIVE, Reply, event
from network.gateway.openai_request import Asked
from network.modes import Mode

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """What answering needs, wired once."""

    overlay: Overlay
    directory: Callable[[], Directory]
    affinity: Affinity
    metrics: GatewayMetrics
    rng: Callable[[int], bytes]
    clock: Callable[[], float]
    patience: float = PATIENCE_S


class Answering:
    """Answers one request. `outcome` is "ok", or the code of a failure in mid-stream."""

    def __init__(self, parts: GatewayParts, asked: Asked, request_id: str, mode: Mode | None = None) -> None:
        self._parts = parts
        self._asked = asked
        self._request_id = request_id
        self._began = parts.clock()
        self._asking = Asking(
            asked,
            overlay=parts.overlay,
            directory=parts.directory,
            affinity=parts.affinity,
            metrics=parts.metrics,
            rng=parts.rng,
            mode=mode,
        )
        self._reply = Reply(chat=asked.chat, name=parts.rng(12).hex(), created=int(self._began), model=asked.inference.model)
        self.outcome = "ok"

    async def whole(self) -> web.Response:
        """The answer as one document. Raises ApiError."""
        async with aclosing(self._asking.deltas()) as deltas:
            async for delta in deltas:
                self._note_first()
                self._reply.add(delta)
        final = self._asking.exchange.final
        assert final is not None
        body = json.dumps(self._reply.document(final), ensure_ascii=False).encode()
        return web.Response(body=body, content_type="application/json", charset="utf-8", headers=self._route_headers())

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The answer as server-sent events. Raises ApiError while no byte has been sent."""
        response: web.StreamResponse | None = None
        try:
            async with aclosing(with_pauses(self._asking.deltas(), self._parts.patience)) as deltas:
                async for delta in deltas:
                    response = response or await self._open(request)
                    if delta is None:
                        await response.write(KEEP_ALIVE)
                    else:
                        self._note_first()
                        await response.write(event(self._reply.chunk(delta)))
            response = response or await self._open(request)
            await self._end(response)
        except ApiError as error:
            if response is None:
                raise
            self.outcome = error.code
            await response.write(event(error.body(self._request_id)))
        except ConnectionResetError:
            self.outcome = "client_gone"
        assert response is not None
        return response

    async def _open(self, request: web.Request) -> web.StreamResponse:
        headers = {"Cache-Control": "no-cache", **self._route_headers()}
        response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        first = self._reply.first_chunk()
        if first is not None:
            await response.write(event(first))
        return response

    async def _end(self, response: web.StreamResponse) -> None:
        final = self._asking.exchange.final
        assert final is not None
        await response.write(event(self._reply.last_chunk(final)))
        if self._asked.include_usage:
            await response.write(event(self._reply.usage_chunk(final)))
        comments = "".join(f": {name}: {value}\n" for name, value in self._route_headers().items())
        await response.write(comments.encode() + b"\n")
        await response.write(DONE)

    def _route_headers(self) -> dict[str, str]:
        """Who answered and by which way, as far as it is known."""
        route = self._asking.exchange.route
        if not route:
            return {}
        return {"x-planetserve-node": route[-1].hex(), "x-planetserve-route": ",".join(node.hex() for node in route)}

    def _note_first(self) -> None:
        if self._began >= 0:
            self._parts.metrics.first_token.observe(max(0.0, self._parts.clock() - self._began))
            self._began = -1.0


async def with_pauses(source: AsyncGenerator[T, None], seconds: float) -> AsyncGenerator[T | None, None]:
    """The items of `source`, and None each time nothing came for `seconds`."""
    pending: asyncio.Task[T] | None = None
    try:
        while True:
            pending = asyncio.create_task(_next(source))
            while not (await asyncio.wait({pending}, timeout=seconds))[0]:
                yield None
            try:
                item = pending.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        if pending is not None and not pending.done():
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        await source.aclose()


async def _next(source: AsyncGenerator[T, None]) -> T:
    return await anext(source)
