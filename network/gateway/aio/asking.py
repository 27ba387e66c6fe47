"""Asks the overlay: one request, at most three entry nodes, and never a second one after the first token was shown."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from network.chain_records import DirectoryEntry
from network.codec import encode
from network.directory import Directory
from network.errors import SessionError
from network.gateway.affinity import Affinity
from network.gateway.aio.metrics import GatewayMetrics
from network.gateway.api_error import CATALOGUE, ApiError
from network.gateway.entries import choose_entries
from network.gateway.exchange import Delta, Exchange
from network.gateway.openai_request import Asked
from network.inference import ReplyFrame
from network.modes import Mode

log = logging.getLogger(__name__)


class Overlay(Protocol):
    """The part of `network.aio.user_node.UserNode` that asking needs."""

    def ask(self, request: bytes, entry: DirectoryEntry, *, mode: Mode | None = None) -> AsyncGenerator[ReplyFrame, None]:
        """The reply's frames in order; closing the iterator cancels the request at the model node. No mode: its own."""

    def usable(self, node: DirectoryEntry) -> bool:
        """Whether a listed node answers, as far as is known."""


class Asking:
    """One request on its way. Iterate `deltas()`; `exchange` holds the proven end afterwards."""

    def __init__(
        self,
        asked: Asked,
        *,
        overlay: Overlay,
        directory: Callable[[], Directory],
        affinity: Affinity,
        metrics: GatewayMetrics,
        rng: Callable[[int], bytes],
        mode: Mode | None = None,
    ) -> None:
        self._asked = asked
        self._mode = mode
        self._overlay = overlay
        self._directory = directory
        self._affinity = affinity
        self._metrics = metrics
        model = asked.inference.model
        self._entries = choose_entries(directory(), model, affinity.find(model, asked.pieces), rng, overlay.usable)
        self.exchange = Exchange(asked.inference, directory())

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """The answer, piece by piece; ends only after its proven end. Raises ApiError."""
        request = encode(self._asked.inference)
        for attempt, entry in enumerate(self._entries, 1):
            self.exchange = Exchange(self._asked.inference, self._directory())
            try:
                async with aclosing(self._once(request, entry)) as pieces:
                    async for delta in pieces:
                        yield delta
                self._finished()
                return
            except ApiError as error:
                if self.exchange.started or attempt == len(self._entries) or not _elsewhere(error):
                    raise
                self._metrics.retries.labels(error.code).inc()
                log.info("asking another node", extra={"fields": {"code": error.code, "attempt": attempt}})

    async def _once(self, request: bytes, entry: DirectoryEntry) -> AsyncGenerator[Delta, None]:
        try:
            async with aclosing(self._overlay.ask(request, entry, mode=self._mode)) as frames:
                async for frame in frames:
                    delta = self.exchange.on_frame(frame)
                    if delta is not None:
                        yield delta
        except SessionError as error:
            raise from_session(error) from error
        if self.exchange.final is None:
            raise ApiError("reply_truncated", "the answer ended without its final frame")

    def _finished(self) -> None:
        final = self.exchange.final
        assert final is not None
        self._metrics.tokens.labels("prompt").inc(final.prompt_tokens)
        self._metrics.tokens.labels("cached").inc(final.cached_tokens)
        self._metrics.tokens.labels("completion").inc(final.completion_tokens)
        self._affinity.remember(self._asked.inference.model, self._asked.pieces, self.exchange.statement.node_id)


def _elsewhere(error: ApiError) -> bool:
    """Whether another node may do better. A refusal of the request is the same everywhere, and so is a lack of circuits,
    which the overlay has tried to mend already."""
    return (error.status >= 500 or error.status == 429) and error.code != "no_circuits"


def from_session(error: SessionError) -> ApiError:
    """The overlay's error as the caller sees it."""
    if error.code == "request_too_long":
        return ApiError("context_length_exceeded", str(error), param="messages")
    return ApiError(error.code if error.code in CATALOGUE else "reply_truncated", str(error))
