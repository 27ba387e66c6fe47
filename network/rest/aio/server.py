"""The gateway's HTTP face: routes, errors in one shape, CORS, entity tags by height, and limits."""

import asyncio
import json
import logging
import traceback
from collections.abc import Awaitable, Callable
from time import perf_counter

from aiohttp import web
from prometheus_client import generate_latest

from network.aio.chain_client import ChainUnavailable, ProofRejected
from network.aio.chain_rpc import RpcError
from network.aio.ledger_reader import LedgerReader, LedgerRefused
from network.rest.aio.cosmos_pages import CosmosPages, release
from network.rest.aio.ledger_pages import LedgerPages
from network.rest.aio.metrics import RestMetrics
from network.rest.asked import Answer, Asked
from network.rest.refusal import Refusal, from_ledger
from network.rest.routes import ROUTES, Route, openapi

log = logging.getLogger(__name__)

MOST_IN_FLIGHT = 64
REQUEST_S = 20.0
STATUS_S = 3.0
MOST_BODY = 1024
FOREVER = "public, max-age=31536000, immutable"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, X-Planetserve-Proven, X-Planetserve-Height",
}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}
Page = Callable[[Asked], Awaitable[Answer]]


class RestServer:
    """The routes of the table, each with its page."""

    def __init__(self, reader: LedgerReader, ledger: LedgerPages, cosmos: CosmosPages, metrics: RestMetrics) -> None:
        self._reader = reader
        self._metrics = metrics
        self._in_flight = 0
        self._own: dict[str, Page] = {"status": self._status, "openapi": self._openapi}
        self._pages = {route.name: self._page(route, ledger, cosmos) for route in ROUTES if route.name != "metrics"}

    def app(self) -> web.Application:
        """The aiohttp application; run it with `handler_cancellation=True`."""
        app = web.Application(client_max_size=MOST_BODY, middlewares=[self._edge])
        for route in ROUTES:
            app.router.add_get(route.path, self._render if route.name == "metrics" else self._handler(route))
        return app

    def _page(self, route: Route, ledger: LedgerPages, cosmos: CosmosPages) -> Page:
        place = ledger if route.path.startswith("/ledger/") else cosmos
        page: Page = self._own.get(route.name) or getattr(place, route.name)
        return page

    def _handler(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        page = self._pages[route.name]

        async def handle(request: web.Request) -> web.StreamResponse:
            asked = Asked(request.match_info, request.query)
            pinned = asked.height if "height" in route.query else 0
            if pinned and route.proven == "all" and _has(request, pinned):
                return web.Response(status=304, headers=_headers(Answer({}, pinned, True), pinned=True))
            async with asyncio.timeout(REQUEST_S):
                answer = await page(asked)
            headers = _headers(answer, pinned=bool(pinned))
            if answer.height is not None:
                if answer.proven:
                    self._metrics.height.set(max(answer.height, pinned))
                if _has(request, answer.height):
                    return web.Response(status=304, headers=headers)
            return web.Response(
                text=json.dumps(answer.document, separators=(",", ":")), content_type="application/json", headers=headers
            )

        return handle

    @web.middleware
    async def _edge(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Count, limit, and give every failure its shape."""
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={**CORS, **PREFLIGHT})
        resource = request.match_info.route.resource
        place = resource.canonical if resource is not None else "unknown"
        began = perf_counter()
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            response = await self._answered(request, handler)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
        response.headers.update(CORS)
        self._metrics.requests.labels(place, str(response.status)).inc()
        self._metrics.seconds.labels(place).observe(perf_counter() - began)
        return response

    async def _answered(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            if self._in_flight > MOST_IN_FLIGHT:
                raise Refusal("busy", f"{MOST_IN_FLIGHT} requests are being answered already")
            return await handler(request)
        except Refusal as refusal:
            return _refused(refusal)
        except LedgerRefused as error:
            return _refused(from_ledger(error.code, str(error)))
        except ProofRejected as error:
            self._metrics.refused.inc()
            return _refused(Refusal("unproven", str(error)))
        except (ChainUnavailable, RpcError) as error:
            return _refused(Refusal("unavailable", str(error)))
        except TimeoutError:
            return _refused(Refusal("timeout", f"no answer within {REQUEST_S:.0f} s"))
        except web.HTTPNotFound:
            return _refused(Refusal("not_found", f"there is no {request.path[:200]} here; /openapi.json lists what there is"))
        except web.HTTPMethodNotAllowed:
            return _refused(Refusal("method_not_allowed", f"{request.path[:200]} does not take {request.method}"))
        except Exception as error:  # noqa: BLE001 - the edge of a connection: a bug in one request must not end the gateway
            places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
            log.error("a request ended in a bug", extra={"fields": {"error": repr(error), "at": " ".join(places[-6:])}})
            return _refused(Refusal("internal", "this gateway failed on the request"))

    async def _status(self, _asked: Asked) -> Answer:
        """Ready = something could be proven just now."""
        height, reason = 0, ""
        try:
            async with asyncio.timeout(STATUS_S):
                height, _ = await self._reader.now(0)
        except TimeoutError:
            reason = f"no proof within {STATUS_S:.0f} s"
        except (ChainUnavailable, ProofRejected, RpcError, LedgerRefused) as error:
            reason = str(error)
        told = {"name": "rest", "role": "rest", "ready": not reason, "reason": reason}
        return Answer({**told, "chain_id": self._reader.client.chain_id, "height": height or None}, None, False)

    async def _openapi(self, _asked: Asked) -> Answer:
        return Answer(openapi(release()), None, False)

    async def _render(self, _request: web.Request) -> web.Response:
        headers = _headers(Answer({}, None, False), pinned=False)
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, content_type="text/plain", charset="utf-8", headers=headers)


def _headers(answer: Answer, *, pinned: bool) -> dict[str, str]:
    headers = {"X-Planetserve-Proven": "true" if answer.proven else "false", "Server": "planetserve"}
    if answer.height is not None:
        headers |= {"ETag": f'"{answer.height}"', "X-Planetserve-Height": str(answer.height)}
    return headers | {"Cache-Control": FOREVER if pinned and answer.proven else "no-cache"}


def _has(request: web.Request, height: int) -> bool:
    """Whether the caller holds the answer of this height already."""
    tags = request.if_none_match or ()
    return any(tag.value == str(height) for tag in tags)


def _refused(refusal: Refusal) -> web.Response:
    headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}
    return web.json_response(refusal.body(), status=refusal.status, headers={**headers, "Server": "planetserve"})
