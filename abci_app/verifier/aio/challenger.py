"""Sends one challenge through the overlay exactly as the gateway sends a prompt, and turns the reply into a transcript."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from abci_app.state.answer import fault
from abci_app.verifier.agenda import request_of
from network.chain_records import DirectoryEntry
from network.chain_tx import Challenge, Transcript, challenge_hash
from network.codec import encode
from network.directory import Directory
from network.errors import ModelUnreachable, NoCircuits, SessionError
from network.gateway.api_error import ApiError
from network.gateway.exchange import Exchange
from network.inference import ReplyFrame

log = logging.getLogger(__name__)

PATIENCE_S = 90.0


class Overlay(Protocol):
    """The part of `network.aio.user_node.UserNode` that a challenger needs."""

    def ask(self, request: bytes, entry: DirectoryEntry) -> AsyncGenerator[ReplyFrame, None]:
        """The reply's frames in order; closing the iterator cancels the request."""


class Challenger:
    """Asks model nodes of one group."""

    def __init__(self, overlay: Overlay, directory: Callable[[], Directory], group: str) -> None:
        self._overlay = overlay
        self._directory = directory
        self._group = group

    async def ask(self, challenge: Challenge) -> Transcript | None:
        """The verified reply; an empty transcript when the node gave none; None when it is not the node's fault."""
        asked = self._directory().get(challenge.node_id)
        if asked is None:
            return None
        nothing = Transcript(challenge_hash(challenge))
        exchange = Exchange(request_of(challenge, self._group), self._directory())
        try:
            async with asyncio.timeout(PATIENCE_S), aclosing(self._frames(challenge, asked)) as frames:
                async for frame in frames:
                    exchange.on_frame(frame)
        except ModelUnreachable as error:
            return self._missing(nothing, error.code)
        except NoCircuits:
            log.warning("a challenge found no circuits; it is not held against the node")
            return None
        except (SessionError, ApiError) as error:
            return self._missing(nothing, error.code)
        except TimeoutError:
            return self._missing(nothing, "timeout")
        return self._transcript(challenge, asked, exchange) or nothing

    def _frames(self, challenge: Challenge, asked: DirectoryEntry) -> AsyncGenerator[ReplyFrame, None]:
        return self._overlay.ask(encode(request_of(challenge, self._group)), asked)

    def _transcript(self, challenge: Challenge, asked: DirectoryEntry, exchange: Exchange) -> Transcript | None:
        if exchange.final is None:
            return None
        statement = exchange.statement
        made = Transcript(challenge_hash(challenge), statement, exchange.final.signature, statement.node_id)
        wrong = fault(made, challenge, asked, self._directory().get(statement.node_id))
        if wrong:
            log.info("a reply is no answer", extra={"fields": {"node": asked.name, "reason": wrong}})
            return None
        return made

    def _missing(self, nothing: Transcript, code: str) -> Transcript:
        log.info("a challenge got no reply", extra={"fields": {"code": code}})
        return nothing
