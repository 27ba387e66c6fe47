"""Takes a front's requests: asks the forwarder where each goes, books it at the engine's door, and learns from its answer."""

import asyncio
import logging
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from network.aio.tls import client_context
from network.config import needs_tls
from network.crypto import SigningKey
from network.ids import NodeId, node_id
from serving_node.aio.group import Group
from serving_node.breaker import Fault
from serving_node.front.aio.client import Client
from serving_node.front.aio.metrics import FrontMetrics
from serving_node.front.aio.passage import Passage
from serving_node.front.aio.upstream import Place
from serving_node.front.config import FrontConfig, Member
from serving_node.front.door import Door
from serving_node.front.errors import json_answer
from serving_node.front.http1 import HttpError, RequestHead, onward_request
from serving_node.front.members import Hops
from serving_node.front.prompt import CHAT, COMPLETION, WORD_BYTES, read_prompt
from serving_node.front.usage import cached_words

log = logging.getLogger(__name__)

PROBE_S = 1.0
CACHE_S = 5.0


class Desk:
    """What happens to requests. `adopt` takes over connections that speak the group's exchange."""

    def __init__(
        self,
        config: FrontConfig,
        signing: SigningKey,
        own_id: NodeId,
        group: Group,
        registry: CollectorRegistry,
        adopt: Callable[[asyncio.Transport, bytes], None],
    ) -> None:
        self.name = config.name
        self.max_body = config.max_body
        self.draining = False
        self.trouble = ""
        self.adopt = adopt
        self.door = Door(config.slots, config.most_inflight)
        self.places: dict[bytes, Place] = {node_id(member.key): _place(member, config) for member in config.members}
        self.passages: set[Passage] = set()
        self._config = config
        self._group = group
        self._hops = Hops(signing, config.members)
        self._metrics = FrontMetrics(self.door, registry)
        self._engine = self.places[own_id]
        self._clients: set[Client] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cache_told = 0.0
        self._now = asyncio.get_running_loop().time

    @property
    def reason(self) -> str:
        """Why this front does not serve as it should; empty when it does."""
        return "draining" if self.draining else self.trouble

    def status(self) -> dict[str, object]:
        """What `GET /health` tells callers."""
        return {"status": "failed" if self.reason else "ok", "name": self.name, "ready": not self.reason, "reason": self.reason}

    def watch(self) -> None:
        """Called every second: ends what takes too long, tells the group how much the engine's cache can hold."""
        now = self._now()
        for client in tuple(self._clients):
            client.watch(now, self._config.stall_s)
        for passage in tuple(self.passages):
            if now - passage.since > self._config.answer_s:
                passage.expire()
        if now >= self._cache_told + CACHE_S:
            self._cache_told = now
            self._group.set_load(self.door.load(self._config.cache_tokens))

    def tell_load(self) -> None:
        """Tells the group of the queue at our door when that has changed."""
        if self.door.changed:
            self._group.set_load(self.door.load())

    def finish(self) -> None:
        """Take nothing new from now on, but pass it to fellows where it comes nevertheless."""
        self.draining = True
        self.door.shut(True)
        self.tell_load()
        for client in tuple(self._clients):
            client.finish()

    async def close(self) -> None:
        """End every connection."""
        for client in tuple(self._clients):
            client.abort()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for place in self.places.values():
            place.close()

    def arrived(self, client: Client) -> None:
        """A caller has connected."""
        self._clients.add(client)

    def left(self, client: Client) -> None:
        """A caller's connection has ended."""
        self._clients.discard(client)

    def serve(self, client: Client, head: RequestHead, body: bytes) -> Passage | None:
        """Take one request. Raises HttpError."""
        path = head.path
        if path == b"/health" and head.method == "GET":
            client.write(json_answer({"status": "ok", **self.status()}, close=self.draining))
            client.done(close=head.close or self.draining)
            return None
        if not path.startswith(b"/v1/"):
            raise HttpError(404, "not_found", "the paths of this endpoint begin with /v1/")
        hop = self._hops.read(head.fields.get(b"x-planetserve-hop"), time.time())
        if hop is not None and self.draining:
            raise HttpError(503, "draining", "this front is shutting down; ask another")
        if path not in (CHAT, COMPLETION):
            places = list(self.places.values()) if hop is None else [self._engine]
            passage = Passage(self, client, head, body, sorted(places, key=lambda place: not place.own), self._now())
        elif head.method == "POST":
            passage = self._routed(client, head, body, hop)
        else:
            raise HttpError(405, "method_not_allowed", "ask with POST")
        self.passages.add(passage)
        passage.go()
        return None if passage.over else passage

    def next_place(self, passage: Passage) -> Place | None:
        """The best place that was not tried; None when none is left."""
        decision = passage.decision
        if decision is None:
            return passage.places.pop(0) if passage.places else None
        node = self._group.next_best(decision, passage.tried) if passage.tried else decision.node_id
        # With nobody else left, the own engine is asked although it is in trouble or this front is going.
        return self.places[node] if node in self.places else passage.places.pop() if passage.places else None

    def open_to(self, passage: Passage, place: Place) -> str:
        """Why a place cannot be asked now; empty when it can."""
        if not place.own:
            return ""
        if self.reason and passage.more:
            passage.places = [place]
            return self.reason
        return "too many requests wait for the engine; ask again" if self.door.full else ""

    def asked(self, passage: Passage, place: Place) -> bytes:
        """A place is about to be asked: the request's head for it."""
        head, packed = passage.head, passage.packed
        expected = passage.expected_at(place.node_id)
        if not place.own:
            hop = self._hops.write(self.name, place.node_id, expected, time.time())
            extra = (hop, b"x-planetserve-no-share: 1\r\n") if passage.no_share else (hop,)
            return onward_request(head, head.target, place.host, len(passage.body), extra)
        if passage.visit is None:
            passage.visit = self.door.enter(len(packed) // WORD_BYTES, expected, self._now())
            if packed:
                self._group.observe_admitted(packed, no_share=passage.no_share, salt=passage.salt)
            if passage.decision is not None:
                self._group.observe_over(passage.decision)  # from here on the door's book shows it
        return onward_request(head, head.target, place.host, len(passage.body))

    def failed(self, passage: Passage, place: Place, fault: Fault, reason: str) -> None:
        """A place has not answered before its first byte."""
        self._metrics.tries[place.name, fault.value] += 1
        self._leave(passage)
        if passage.decision is not None:
            self._group.observe_failed(passage.decision, node=place.node_id, fault=fault)
        fields = {"place": place.name, "reason": reason}
        if not place.own:
            log.info("a fellow front did not answer; trying the next", extra={"fields": fields})
        elif fault is Fault.UNREACHABLE and not self.trouble:
            log.error("the engine does not answer; fellow fronts take its requests", extra={"fields": fields})
            self.trouble = f"the engine at {place.address} does not answer"
            self.door.shut(True)
            self.keep(asyncio.get_running_loop().create_task(self._probe()))

    def spoke(self, passage: Passage, place: Place) -> None:
        """The first byte of an answer's body came."""
        now = self._now()
        passage.spoke_at = now
        if passage.visit is not None:
            self.door.spoke(passage.visit, now)
        if passage.stream:
            self._metrics.spoke(now - passage.since)

    def over(self, passage: Passage, outcome: str) -> None:
        """The request has ended, however."""
        self.passages.discard(passage)
        place = passage.place
        self._metrics.requests[outcome, "" if place is None else "here" if place.own else "forwarded"] += 1
        if outcome == "answered" and passage.status == 200 and passage.packed and place is not None:
            self._learn(passage, place)
        if passage.decision is not None:
            self._group.observe_over(passage.decision)
        self._leave(passage)

    def keep(self, task: "asyncio.Task[None]") -> None:
        """Hold a task until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _routed(self, client: Client, head: RequestHead, body: bytes, hop: int | None) -> Passage:
        prompt = read_prompt(head.path, body)
        no_share = head.fields.get(b"x-planetserve-no-share") == b"1"
        passage = Passage(self, client, head, body, [self._engine], self._now())
        passage.packed, passage.stream, passage.salt, passage.no_share = prompt.packed, prompt.stream, prompt.salt, no_share
        if hop is not None:
            passage.expected = hop
        elif len(self.places) > 1:
            self.tell_load()
            session = head.fields.get(b"x-planetserve-session", b"")
            passage.decision = self._group.decide(prompt.packed, no_share=no_share, salt=prompt.salt, session=session)
            passage.places = []
        return passage

    def _learn(self, passage: Passage, place: Place) -> None:
        """What one whole answer says about caches and times. Only a stream shows when its first token came."""
        words, visit, now = len(passage.packed) // WORD_BYTES, passage.visit, self._now()
        cached = cached_words(passage.tail.share(), words, passage.expected_at(place.node_id))
        if visit is not None:
            ttft_s = passage.spoke_at - visit.entered_at if passage.stream else 0.0
            self._group.observe_served(
                passage.packed,
                cached,
                ttft_s,
                queue_s=visit.queue_s if passage.stream else 0.0,
                latency_s=now - visit.entered_at,
                no_share=passage.no_share,
                salt=passage.salt,
                decision=passage.decision,
            )
            self._metrics.served(words, cached)
        elif passage.decision is not None:
            ttft_s = passage.spoke_at - passage.since if passage.stream else 0.0
            self._group.observe_answered(passage.decision, cached, ttft_s, node=place.node_id)

    def _leave(self, passage: Passage) -> None:
        visit, passage.visit = passage.visit, None
        if visit is not None:
            self.door.leave(visit)

    async def _probe(self) -> None:
        """Until the engine takes connections again."""
        while True:
            await asyncio.sleep(PROBE_S)
            try:
                upstream = await self._engine.connect()
            except (OSError, TimeoutError):
                continue
            self._engine.give(upstream)
            self.trouble = ""
            self.door.shut(self.draining)
            log.info("the engine answers again")
            return


def _place(member: Member, config: FrontConfig) -> Place:
    if member.name == config.name:
        return Place(member.name, node_id(member.key), config.engine, own=True)
    context = client_context(member.key) if needs_tls(member.address, always=False) else None
    return Place(member.name, node_id(member.key), member.address, own=False, context=context)
