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

from network.codec import decode
from network.crypto import SigningKey
from network.directory import Directory
from network.errors import DecodeError
from network.hrtree.fingerprint import pack_tokens
from network.inference import InferenceRequest, ReplyFrame, Sampling, sampling_seed
from serving_node.admission import Admission, Ticket
from serving_node.aio.group import Group
from serving_node.aio.handover import Errand, Handover, PeerLost
from serving_node.aio.metrics import ServingMetrics
from serving_node.aio.peers import PeerClient, PeerFailed
from serving_node.asked import read_request
from serving_node.breaker import Fault
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
from serving_node.forwarding import MAX_HOPS
from serving_node.generation import Ended, Job, Piece, Prefilled
from serving_node.openai_reply import DeltaWriter
from serving_node.reply_frames import Signer, accepted, delta, failed
from serving_node.routing import Decision

log = logging.getLogger(__name__)

LONGEST_S = 3600.0
USUAL_S = 600.0
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
        self._engine = engine
        self._group = group
        self._directory = directory
        self._metrics = metrics
        self._signer = Signer(key, config.model_hash)
        self._handover = Handover(key, self._signer.node, directory, peers, rng)
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
        job = Job(
            asked,
            prompt,
            request.sampling,
            self._seed(request),
            min(request.sampling.max_tokens or room, room),
            unshared=bool(request.no_share) or (bool(request.cache_salt) and not self._engine.salts),
            salt=request.cache_salt,
        )
        errand = Errand(request, visited, deadline, send)
        if len(visited) >= MAX_HOPS or self.admission.draining:
            await self._answer_here(errand, job, self._admit(errand, job, None), None)
            return
        decision = self._group.decide(pack_tokens(prompt), no_share=bool(request.no_share), salt=request.cache_salt)
        try:
            await self._follow(decision, errand, job)
        finally:
            self._group.observe_over(decision)

    def _seed(self, request: InferenceRequest) -> int:
        return sampling_seed(request.nonce, self._signer.node, self._config.model_hash)

    def _admit(self, errand: Errand, job: Job, decision: Decision | None) -> Ticket:
        own = decision.candidate(self._signer.node) if decision is not None else None
        expected = own.expected_tokens if own is not None else 0
        return self.admission.admit(len(job.prompt_ids), time.monotonic(), errand.deadline, expected)

    async def _follow(self, decision: Decision, errand: Errand, job: Job) -> None:
        """Have the chosen node answer; as long as none has begun to, the next best. Raises ServeError when nobody can."""
        tried = set(errand.visited)
        refusal: ServeError | None = None
        node = decision.node_id if decision.node_id not in tried else self._group.next_best(decision, tried)
        while node is not None:
            tried.add(node)
            if node != self._signer.node:
                if await self._answered_by(node, decision, errand):
                    return
            else:
                refusal = await self._refused_here(decision, errand, job)
                if refusal is None:
                    return
            node = self._group.next_best(decision, tried)
        raise refusal or ServeError(OVERLOADED, "no node of the group can answer now; ask again", 1)

    async def _refused_here(self, decision: Decision, errand: Errand, job: Job) -> ServeError | None:
        """Why this node has not answered, if another may still; None when it has. Raises ServeError when none can."""
        try:
            ticket = self._admit(errand, job, decision)
        except ServeError as full:
            self._group.observe_failed(decision, node=self._signer.node, fault=Fault.FULL)
            return full
        try:
            await self._answer_here(errand, job, ticket, decision)
        except ServeError as error:
            if error.code != ENGINE_FAILED or ticket.first_text_at is not None:
                raise
            self._group.observe_failed(decision, node=self._signer.node, fault=Fault.BROKEN)
            return error
        return None

    async def _answered_by(self, node: bytes, decision: Decision, errand: Errand) -> bool:
        """Whether a peer has answered; if not, another may. Raises ServeError when it was lost in mid-answer."""
        entry = self._directory().get(node)
        if entry is None:
            return False
        try:
            handed = await self._handover.hand(errand, entry)
        except PeerLost as lost:
            self._group.observe_failed(decision, node=node, fault=lost.fault)
            raise
        except PeerFailed as error:
            self._metrics.forward_failed()
            self._group.observe_failed(decision, node=node, fault=error.fault)
            log.warning("a peer did not answer; trying the next", extra={"fields": {"peer": entry.name, "reason": error}})
            return False
        final = handed.final
        if final is not None:
            self._metrics.ended("forwarded")
            # Who passes it on once more is judged by what came, like who answers: else one who never answers had no record.
            self._group.observe_answered(decision, final.cached_tokens, handed.ttft_s, node=node)
        return True

    async def _answer_here(self, errand: Errand, job: Job, ticket: Ticket, decision: Decision | None) -> None:
        request, visited, send = errand.request, errand.visited, errand.send
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
        self._account(job, ticket, ended, decision)
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

    def _account(self, job: Job, ticket: Ticket, ended: Ended, decision: Decision | None) -> None:
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
            decision=decision,
        )
        self._metrics.answered(len(job.prompt_ids), ended, ttft, queued, now - ticket.admitted_at)
