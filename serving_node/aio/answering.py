"""From a decoded request to the frames of its reply: here, or by a peer of the group.

One rendering serves the length check, the routing decision, the engine and the signed prompt hash. A request is passed on
at most MAX_HOPS times; until a peer's first text another can take over, after it the reply ends as failed, because the
sampling noise belongs to the node that began.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from network.chain_records import DirectoryEntry
from network.codec import decode, encode
from network.crypto import SigningKey
from network.directory import Directory
from network.errors import DecodeError, PlanetServeError
from network.inference import FrameKind, InferenceRequest, ReplyFailure, ReplyFinal, ReplyFrame, Sampling, sampling_seed
from serving_node.admission import Admission, Ticket
from serving_node.aio.group import Group
from serving_node.aio.metrics import ServingMetrics
from serving_node.aio.peers import PeerClient, PeerFailed
from serving_node.asked import read_request
from serving_node.config import EngineConfig
from serving_node.engine import Engine
from serving_node.failure import (
    CONTEXT_LENGTH_EXCEEDED,
    DEADLINE_EXCEEDED,
    ENGINE_FAILED,
    INVALID_REQUEST,
    MODEL_NOT_FOUND,
    OVERLOADED,
    ServeError,
)
from serving_node.forwarding import MAX_HOPS, Forward, seal
from serving_node.generation import Ended, Job, Piece, Prefilled
from serving_node.openai_reply import DeltaWriter
from serving_node.reply_frames import Signer, accepted, delta, failed
from serving_node.routing import Decision

log = logging.getLogger(__name__)

LONGEST_S = 3600.0
USUAL_S = 600.0
# What a peer's failure before its first text is worth: another try elsewhere.
_TRY_ELSEWHERE = (OVERLOADED, ENGINE_FAILED)
Send = Callable[[ReplyFrame], None]


class Answering:
    """Answers requests for one model node."""

    def __init__(
        self,
        config: EngineConfig,
        key: SigningKey,
        engine: Engine,
        group: Group,
        directory: Callable[[], Directory],
        peers: PeerClient,
        metrics: ServingMetrics,
        rng: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._key = key
        self._engine = engine
        self._group = group
        self._directory = directory
        self._peers = peers
        self._metrics = metrics
        self._rng = rng
        self._signer = Signer(key, config.model_hash)
        self._slots: dict[Ticket, asyncio.Event] = {}
        self.admission = Admission(config.slots)
        self.load_changed = asyncio.Event()

    async def answer_bytes(self, raw: bytes, send: Send) -> None:
        """Answer a request as it came out of the cloves."""
        try:
            request = decode(InferenceRequest, raw)
        except DecodeError:
            self._metrics.ended(INVALID_REQUEST)
            send(failed(ServeError(INVALID_REQUEST, "the request is not an InferenceRequest")))
            return
        await self.answer(request, (), send)

    async def answer(self, request: InferenceRequest, visited: tuple[bytes, ...], send: Send) -> None:
        """Answer a request that passed the model nodes `visited` before this one. Sends FINAL or FAILED at the end."""
        deadline = time.monotonic() + min(request.deadline_ms / 1000 or USUAL_S, LONGEST_S)
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
                await self._answer(request, visited, deadline, send)
        except TimeoutError:
            self._fail(ServeError(DEADLINE_EXCEEDED, "the answer was not complete before the request's deadline"), send)
        except ServeError as error:
            self._fail(error, send)
        except asyncio.CancelledError:
            self._metrics.ended("cancelled")
            raise

    def _fail(self, error: ServeError, send: Send) -> None:
        self._metrics.ended(error.code)
        send(failed(error))

    async def _answer(self, request: InferenceRequest, visited: tuple[bytes, ...], deadline: float, send: Send) -> None:
        if request.model != self._config.group:
            raise ServeError(MODEL_NOT_FOUND, f"this node serves {self._config.group}, not {request.model}")
        if len(request.nonce) != 32:
            raise ServeError(INVALID_REQUEST, "a request carries a nonce of 32 bytes")
        if request.sampling is None:
            request = replace(request, sampling=Sampling())
        asked = read_request(request)
        prompt = await self._engine.render(asked)
        room = self._config.request_context - len(prompt)
        if not prompt or room < 1:
            raise ServeError(
                CONTEXT_LENGTH_EXCEEDED,
                f"the prompt has {len(prompt)} tokens; prompt and answer together may have {self._config.request_context}",
            )
        if not await self._answered_elsewhere(request, prompt, visited, deadline, send):
            job = Job(
                asked,
                prompt,
                request.sampling,
                self._seed(request),
                min(request.sampling.max_tokens or room, room),
                unshared=bool(request.no_share) or (bool(request.cache_salt) and not self._engine.salts),
                salt=request.cache_salt,
            )
            await self._answer_here(request, job, visited, deadline, send)

    def _seed(self, request: InferenceRequest) -> int:
        return sampling_seed(request.nonce, self._signer.node, self._config.model_hash)

    async def _answer_here(
        self, request: InferenceRequest, job: Job, visited: tuple[bytes, ...], deadline: float, send: Send
    ) -> None:
        ticket = self.admission.admit(len(job.prompt_ids), time.monotonic(), deadline)
        send(accepted((*visited, self._signer.node)))
        answered = False
        try:
            await self._slot(ticket)
            self._group.observe_admitted(job.prompt_ids, no_share=job.unshared, salt=job.salt)
            ended = await self._stream(job, ticket, send)
            answered = True
        finally:
            self.admission.leave(ticket, time.monotonic(), answered=answered)
            self._slots.pop(ticket, None)
            self._start_next()
        self._account(job, ticket, ended)
        send(self._signer.final(request, job.prompt_ids, ended, visited))

    async def _slot(self, ticket: Ticket) -> None:
        self._slots[ticket] = asyncio.Event()
        self._start_next()
        await self._slots[ticket].wait()

    def _start_next(self) -> None:
        for ticket in self.admission.start_next(time.monotonic()):
            self._slots[ticket].set()
        self.load_changed.set()

    async def _stream(self, job: Job, ticket: Ticket, send: Send) -> Ended:
        writer = DeltaWriter(job.asked.endpoint, job.asked.top_logprobs)
        async with aclosing(self._engine.generate(job)) as events:
            async for event in events:
                match event:
                    case Prefilled(processed, cached):
                        self.admission.prefilled(ticket, processed, cached)
                    case Piece():
                        self.admission.first_text(ticket, time.monotonic())
                        send(delta(writer.write(event)))
                    case Ended():
                        self.admission.prefilled(ticket, len(job.prompt_ids), event.cached_tokens)
                        self.admission.first_text(ticket, time.monotonic())
                        return event
        raise ServeError(ENGINE_FAILED, "the engine ended its stream without a last event")

    def _account(self, job: Job, ticket: Ticket, ended: Ended) -> None:
        now = time.monotonic()
        assert ticket.started_at is not None and ticket.first_text_at is not None
        ttft, queued = ticket.first_text_at - ticket.admitted_at, ticket.started_at - ticket.admitted_at
        self._group.observe_served(
            job.prompt_ids,
            ended.cached_tokens,
            ttft,
            queue_s=queued,
            latency_s=now - ticket.started_at,
            no_share=job.unshared,
            salt=job.salt,
        )
        self._metrics.answered(len(job.prompt_ids), ended, ttft, queued, now - ticket.admitted_at)

    async def _answered_elsewhere(
        self, request: InferenceRequest, prompt: tuple[int, ...], visited: tuple[bytes, ...], deadline: float, send: Send
    ) -> bool:
        """Whether a peer has answered. False: this node is to answer."""
        if len(visited) >= MAX_HOPS or self.admission.draining:
            return False
        decision = self._group.decide(prompt, no_share=bool(request.no_share), salt=request.cache_salt)
        for node in _in_order(decision):
            entry = self._directory().get(node)
            if node == self._signer.node or entry is None:
                return False
            if node in visited:
                continue
            try:
                await self._relay(request, entry, decision, visited, deadline, send)
            except PeerFailed as error:
                self._metrics.forward_failed()
                log.warning("a peer did not answer; trying the next", extra={"fields": {"peer": entry.name, "reason": error}})
                continue
            return True
        return False

    async def _relay(
        self,
        request: InferenceRequest,
        peer: DirectoryEntry,
        decision: Decision,
        visited: tuple[bytes, ...],
        deadline: float,
        send: Send,
    ) -> None:
        """Pass the request to a peer and its frames back. Raises PeerFailed as long as another could still answer."""
        started, text_at = time.monotonic(), 0.0
        envelope = self._envelope(request, peer, visited, deadline - started)
        try:
            async with aclosing(self._peers.ask(peer, envelope)) as frames:
                async for frame in frames:
                    if frame.kind == FrameKind.FAILED and not text_at:
                        _raise_if_elsewhere(frame)
                    if frame.kind == FrameKind.DELTA and not text_at:
                        text_at = time.monotonic()
                    if frame.kind == FrameKind.FINAL:
                        self._forwarded(frame, peer, decision, (text_at or time.monotonic()) - started)
                    send(frame)
        except PeerFailed as error:
            if text_at:
                raise ServeError(ENGINE_FAILED, "the model node that was answering has been lost; ask again") from error
            raise

    def _envelope(self, request: InferenceRequest, peer: DirectoryEntry, visited: tuple[bytes, ...], left_s: float) -> bytes:
        onward = replace(request, deadline_ms=max(1, int(left_s * 1000)))
        forward = Forward(
            chain_id=self._directory().record.chain_id,
            receiver=peer.node_id,
            sent_ms=time.time_ns() // 1_000_000,
            id=self._rng(16),
            visited=(*visited, self._signer.node),
            request=encode(onward),
        )
        return seal(self._key, forward)

    def _forwarded(self, frame: ReplyFrame, peer: DirectoryEntry, decision: Decision, ttft_s: float) -> None:
        self._metrics.ended("forwarded")
        try:
            final = decode(ReplyFinal, frame.payload)
        except DecodeError as error:
            raise ServeError(ENGINE_FAILED, "a peer's reply ended with something else than a signed statement") from error
        if peer.node_id == decision.node_id and final.route and final.route[-1] == peer.node_id:
            self._group.observe_answered(decision, final.cached_tokens, ttft_s)


def _in_order(decision: Decision) -> list[bytes]:
    """The chosen node, then the other candidates from the soonest first token on."""
    others = sorted(decision.candidates, key=lambda candidate: candidate.predicted_ttft_s)
    return [decision.node_id, *(candidate.node_id for candidate in others if candidate.node_id != decision.node_id)]


def _raise_if_elsewhere(frame: ReplyFrame) -> None:
    try:
        failure = decode(ReplyFailure, frame.payload)
    except PlanetServeError as error:
        raise PeerFailed("its failure is garbage") from error
    if failure.code in _TRY_ELSEWHERE:
        raise PeerFailed(failure.code)
