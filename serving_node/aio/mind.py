"""What the rest of a model node asks and tells its group: where prompts go, what came of them, how busy the engine is.

The clock and the directory around `serving_node/forwarder.py`; `group.py` adds the exchange with peers. Also the operator's
`GET /decisions`: why the last prompts went where they went.
"""

import logging
import time
from collections.abc import Callable, Collection

from aiohttp import web

from network.directory import Directory
from serving_node.aio.group_metrics import GroupMetrics
from serving_node.aio.route_metrics import RouteMetrics
from serving_node.breaker import Fault
from serving_node.decisions import KEPT
from serving_node.forwarder import Forwarder, Prompt, prompt_length
from serving_node.load_factor import EngineLoad
from serving_node.routing import Decision

log = logging.getLogger(__name__)


class Mind:
    """One node's decisions: `decide` before an answer, `observe_*` after it, `set_load` in between."""

    def __init__(
        self,
        forwarder: Forwarder,
        directory: Callable[[], Directory],
        metrics: GroupMetrics,
        routes: RouteMetrics,
        stir: Callable[[], None],
    ) -> None:
        """`stir` is called when peers may have something to hear."""
        self.forwarder = forwarder
        self.metrics = metrics
        self._routes = routes
        self._directory = directory
        self._stir = stir

    def ops_routes(self) -> list[web.RouteDef]:
        """What the operator may ask."""
        return [web.get("/decisions", self._on_decisions)]

    def decide(self, prompt: Prompt, *, no_share: bool = False, salt: bytes = b"", session: bytes = b"") -> Decision:
        """Where this prompt goes. `no_share` matches nothing; a salted prompt only what is held under its salt."""
        decision = self.mind().decide(prompt, time.monotonic(), no_share=no_share, salt=salt, session=session)
        self.metrics.decided(decision)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("decided", extra={"fields": decision.explain()})
        return decision

    def next_best(self, decision: Decision, tried: Collection[bytes]) -> bytes | None:
        """Who answers when those tried have not; None when nobody is left."""
        return self.mind().next_best(decision, tried, time.monotonic())

    def observe_admitted(self, prompt: Prompt, *, no_share: bool = False, salt: bytes = b"") -> None:
        """Call when this node's engine takes a prompt, whoever sent it."""
        self.mind().admitted(prompt, time.monotonic(), no_share=no_share, salt=salt)
        self._stir()

    def observe_served(
        self,
        prompt: Prompt,
        cached_tokens: int,
        ttft_s: float,
        *,
        queue_s: float = 0.0,
        latency_s: float | None = None,
        no_share: bool = False,
        salt: bytes = b"",
        decision: Decision | None = None,
    ) -> None:
        """Call when this node's engine has answered, perhaps what `decision` kept here.

        Times run from admission; `latency_s` to the last token.
        """
        self.mind().served(
            prompt,
            cached_tokens,
            ttft_s,
            time.monotonic(),
            queue_s=queue_s,
            latency_s=latency_s,
            no_share=no_share,
            salt=salt,
            decision=decision,
        )
        self.metrics.served(prompt_length(prompt), cached_tokens)
        if decision is not None:
            self._routes.ended(decision, self.forwarder.own, cached_tokens, ttft_s)
        self._stir()

    def observe_answered(self, decision: Decision, cached_tokens: int, ttft_s: float, *, node: bytes = b"") -> None:
        """Call when the chosen peer, or `node`, has answered: `ttft_s` runs from forwarding to its first text."""
        self.mind().answered(decision, cached_tokens, ttft_s, time.monotonic(), node=node)
        self.metrics.answered(decision, cached_tokens)
        self._routes.ended(decision, node or decision.node_id, cached_tokens, ttft_s)

    def observe_failed(self, decision: Decision, *, node: bytes = b"", fault: Fault = Fault.UNREACHABLE) -> None:
        """Call when the chosen peer, or `node`, has not answered before its first text."""
        self.mind().failed(decision, time.monotonic(), node=node, fault=fault)
        self._routes.failed(fault)
        self._stir()

    def observe_over(self, decision: Decision) -> None:
        """Call when nothing more is done for a prompt, however it ended: nothing of it is on its way."""
        self.forwarder.abandoned(decision)

    def observe_engine_restarted(self) -> None:
        """Call when this node's engine has started anew: peers hear that its cache is empty."""
        self.mind().engine_restarted()
        self._stir()

    def observe_absurd_sample(self) -> None:
        """Call when the engine's metrics were no numbers: counted."""
        self.forwarder.beliefs.absurd_samples += 1

    def set_load(self, load: EngineLoad) -> bool:
        """Call with every sample of the engine's metrics; peers hear of it when it differs. False: absurd, and refused."""
        taken = self.mind().set_load(load, time.monotonic())
        self._stir()
        return taken

    def mind(self) -> Forwarder:
        """The forwarder, brought up to the newest directory."""
        self.forwarder.on_directory(self._directory())
        return self.forwarder

    async def _on_decisions(self, request: web.Request) -> web.Response:
        try:
            last = int(request.query.get("last", "20"))
            number = int(request.query["id"]) if "id" in request.query else None
        except ValueError:
            return web.json_response({"error": "last and id are whole numbers"}, status=400)
        mind = self.forwarder
        rows = mind.decisions.explain(time.monotonic(), min(last, KEPT), number)
        names = {node.hex(): entry.name for node, entry in mind.entries.items()}
        return web.json_response({"node_id": mind.own.hex(), "policy": mind.policy, "names": names, "decisions": rows})
