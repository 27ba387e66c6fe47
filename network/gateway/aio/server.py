"""The gateway's HTTP face: OpenAI's paths, `/health`, errors in OpenAI's shape, and cancellation when the client leaves."""

import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from network.directory import Directory
from network.gateway.aio.answering import Answering, GatewayParts
from network.gateway.api_error import ApiError
from network.gateway.api_keys import ApiKeys
from network.gateway.caching import Caching
from network.gateway.entries import served_models
from network.gateway.openai_request import Defaults, parse
from network.inference import Endpoint
from network.modes import MODE_NAMES, Mode, mode_named

log = logging.getLogger(__name__)

MAX_HTTP_BODY = 2 * 1024 * 1024
MAX_IN_FLIGHT = 64
MODE_HEADER = "x-planetserve-mode"
HEALTH = "/health"
REQUEST_ID = web.RequestKey("request_id", str)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class GatewayServer:
    """Routes and their handlers. `ready()` answers with an empty string, or with the reason why requests would fail now."""

    def __init__(
        self,
        parts: GatewayParts,
        ready: Callable[[], str],
        group: str,
        temperature_milli: int,
        max_tokens: int,
        caching: Caching,
        keys: ApiKeys | None = None,
    ) -> None:
        self._parts = parts
        self._ready = ready
        self._group = group
        self._temperature_milli = temperature_milli
        self._max_tokens = max_tokens
        self._caching = caching
        self._keys = keys
        self._in_flight = 0

    def app(self) -> web.Application:
        """The aiohttp application; run it with `handler_cancellation=True`."""
        app = web.Application(client_max_size=MAX_HTTP_BODY, middlewares=[self._edge])
        app.on_response_prepare.append(_headers)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._completion),
                web.get("/v1/models", self._models),
                web.get("/v1/models/{model:.+}", self._model),
                web.get(HEALTH, self._health),
            ]
        )
        return app

    @web.middleware
    async def _edge(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every failure leaves in OpenAI's shape with the request's id."""
        request[REQUEST_ID] = f"req_{self._parts.rng(12).hex()}"
        try:
            if self._keys and request.path != HEALTH and not self._keys.admits(request.headers.get("Authorization")):
                raise ApiError("invalid_api_key", "this gateway has not been given your API key")
            return await handler(request)
        except ApiError as error:
            return _failed(request, error)
        except web.HTTPRequestEntityTooLarge:
            return _failed(request, ApiError("request_too_large", f"the body is larger than {MAX_HTTP_BODY} bytes"))
        except web.HTTPMethodNotAllowed:
            return _failed(request, ApiError("method_not_allowed", f"{request.path} does not take {request.method}"))
        except web.HTTPNotFound:
            return _failed(request, ApiError("not_found", f"there is no {request.path} here"))
        except Exception as error:  # noqa: BLE001 - the edge of a connection: a bug in one request must not end the gateway
            # Only places and the class: an exception's words may quote a prompt.
            places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
            fields = {"request": request[REQUEST_ID], "error": type(error).__name__, "at": " ".join(places[-6:])}
            log.error("a request ended in a bug", extra={"fields": fields})
            self._parts.metrics.requests.labels("any", "internal_error").inc()
            return _failed(request, ApiError("internal_error", "the gateway failed on this request"))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, Endpoint.CHAT)

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, Endpoint.COMPLETION)

    async def _answer(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        """Count the request, answer it, and count how it ended."""
        label = endpoint.name.lower()
        try:
            if self._in_flight >= MAX_IN_FLIGHT:
                raise ApiError("gateway_busy", f"{MAX_IN_FLIGHT} requests are being answered already")
            self._in_flight += 1
            self._parts.metrics.in_flight.set(self._in_flight)
            try:
                asked = parse(endpoint, await request.read(), self._defaults(), self._parts.rng)
                asked = self._caching.applied(asked, request.headers)
                answering = Answering(self._parts, asked, request[REQUEST_ID], _mode(request))
                response = await (answering.stream(request) if asked.stream else answering.whole())
            finally:
                self._in_flight -= 1
                self._parts.metrics.in_flight.set(self._in_flight)
        except ApiError as error:
            self._parts.metrics.requests.labels(label, error.code).inc()
            raise
        self._parts.metrics.requests.labels(label, answering.outcome).inc()
        return response

    def _defaults(self) -> Defaults:
        served = self._directory().groups()
        return Defaults(self._group or (served[0] if served else ""), self._temperature_milli, self._max_tokens)

    def _directory(self) -> Directory:
        return self._parts.directory()

    async def _models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [_model_row(name) for name in self._directory().groups()]})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["model"]
        if name not in served_models(self._directory()):
            raise ApiError("model_not_found", f"no node of the network serves {name!r}", param="model")
        return web.json_response(_model_row(name))

    async def _health(self, _request: web.Request) -> web.Response:
        reason = self._ready()
        return web.json_response({"status": "starting" if reason else "ok", "reason": reason}, status=503 if reason else 200)


def _mode(request: web.Request) -> Mode | None:
    """The mode that this request asks for; None for the gateway's own. The header ends here. Raises ApiError."""
    name = request.headers.get(MODE_HEADER)
    mode = None if name is None else mode_named(name)
    if name is not None and mode is None:
        raise ApiError("invalid_request", f"{MODE_HEADER} must be one of {', '.join(MODE_NAMES)}", param=MODE_HEADER)
    return mode


def _model_row(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "planetserve"}


def _failed(request: web.Request, error: ApiError) -> web.Response:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    return web.json_response(error.body(request[REQUEST_ID]), status=error.status, headers=headers)


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["x-request-id"] = request.get(REQUEST_ID, "")
    response.headers["Server"] = "planetserve"
