"""An OpenAI request to what the network carries: checked, stripped of whatever fingerprints its sender, canonical.

Nothing is copied that is not named here: `user`, `metadata`, headers, organisation and every unknown field stay behind, and
values equal to the default are left out, so that two callers who ask the same send the same bytes. Implements
`docs/gateway.md` section 2.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from network.crypto import sha256
from network.gateway.api_error import ApiError
from network.gateway.openai_fields import Fields, messages, prompt, stop, tool_fields
from network.inference import MAX_BODY, MAX_TOKENS, Endpoint, InferenceRequest, Sampling

NONCE_DOMAIN = b"planetserve/nonce/1"
NONCE_LENGTH = 32
DEADLINE_MS = 600_000
Rng = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds when the caller does not say."""

    model: str
    temperature_milli: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the gateway works with it. `pieces` are the prompt's leading parts, for session affinity.

    `cache_salt` is the caller's word, which never travels (`caching.py`).
    """

    inference: InferenceRequest
    stream: bool
    include_usage: bool
    pieces: tuple[bytes, ...]
    cache_salt: str = ""

    @property
    def chat(self) -> bool:
        """Whether the answer has the shape of a chat completion."""
        return self.inference.endpoint == Endpoint.CHAT


def parse(endpoint: Endpoint, raw: bytes, defaults: Defaults, rng: Rng) -> Asked:
    """The request in an HTTP body. Raises ApiError."""
    fields = Fields(_document(raw))
    body = _chat_body(fields) if endpoint is Endpoint.CHAT else _completion_body(fields)
    stream = fields.flag("stream")
    options = fields.mapping("stream_options")
    if fields.integer("n", 1, low=1, high=128) != 1 or fields.integer("best_of", 1, low=1, high=128) != 1:
        raise ApiError("unsupported_parameter", "one answer per request: n and best_of must be 1", param="n")
    model = fields.text("model") or defaults.model
    request = inference_request(model, endpoint, body, sampling(fields, defaults), b"")
    seed = fields.integer("seed", None, low=-(2**63), high=2**63 - 1)
    nonce = rng(NONCE_LENGTH) if seed is None else seeded_nonce(request, seed)
    pieces = body["messages"] if endpoint is Endpoint.CHAT else _chunks(body["prompt"])
    return Asked(
        inference=inference_request(model, endpoint, body, request.sampling, nonce),
        stream=stream,
        include_usage=options.get("include_usage") is True,
        pieces=tuple(canonical(piece) for piece in pieces),
        cache_salt=fields.text("cache_salt"),
    )


def inference_request(model: str, endpoint: Endpoint, body: dict[str, Any], chosen: Sampling, nonce: bytes) -> InferenceRequest:
    """The request that travels: a prompt of a user and a challenge of a verifier are both made here. Raises ApiError."""
    if len(model.encode()) > 128:
        raise ApiError("model_not_found", "the model's name is longer than any name of the network", param="model")
    raw = canonical(body)
    if len(raw) > MAX_BODY:
        raise ApiError("request_too_large", f"the request is {len(raw)} bytes of JSON, at most {MAX_BODY} travel")
    return InferenceRequest(model, endpoint, nonce, chosen, raw, DEADLINE_MS)


def canonical(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def seeded_nonce(request: InferenceRequest, seed: int) -> bytes:
    """The nonce of a caller who wants the same answer again: a function of the seed and of all that shapes the answer."""
    shape = (request.sampling.temperature_milli, request.sampling.top_p_milli, request.sampling.top_k)
    return sha256(NONCE_DOMAIN, canonical([seed, request.model, request.endpoint, shape]), request.body)


def sampling(fields: Fields, defaults: Defaults) -> Sampling:
    """Sampling in thousandths. top_p 1 and top_k 0 or -1 mean "off", which travels as 0."""
    temperature = fields.number("temperature", None, low=0.0, high=2.0)
    top_p = fields.number("top_p", 1.0, low=0.0, high=1.0) or 0.0
    top_k = fields.integer("top_k", 0, low=-1, high=100_000) or 0
    limit = fields.integer("max_completion_tokens", None, low=1, high=MAX_TOKENS)
    if limit is None:
        limit = fields.integer("max_tokens", defaults.max_tokens, low=1, high=MAX_TOKENS)
    return Sampling(
        temperature_milli=defaults.temperature_milli if temperature is None else round(temperature * 1000),
        top_p_milli=0 if top_p >= 0.9995 else max(1, round(top_p * 1000)),
        top_k=max(0, top_k),
        max_tokens=limit or defaults.max_tokens,
    )


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw, parse_constant=_no_constant)
        raw.decode()
        canonical(document)
    except (ValueError, RecursionError) as error:  # also lone surrogates, NaN, and nesting no parser survives
        raise ApiError("invalid_json", "the body is not JSON in UTF-8") from error
    if not isinstance(document, dict):
        raise ApiError("invalid_json", "the body is JSON, but not an object")
    return document


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _chat_body(fields: Fields) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": messages(fields.raw("messages")), **tool_fields(fields), **_shared_fields(fields)}
    form = fields.mapping("response_format")
    if form and form.get("type") != "text":
        body["response_format"] = form
    if fields.flag("logprobs"):
        body["logprobs"] = True
        body["top_logprobs"] = fields.integer("top_logprobs", 0, low=0, high=20)
    return body


def _completion_body(fields: Fields) -> dict[str, Any]:
    body: dict[str, Any] = {"prompt": prompt(fields.raw("prompt")), **_shared_fields(fields)}
    if fields.raw("suffix"):
        raise ApiError("unsupported_parameter", "suffix is not supported", param="suffix")
    if fields.flag("echo"):
        body["echo"] = True
    logprobs = fields.integer("logprobs", None, low=0, high=20)
    if logprobs is not None:
        body["logprobs"] = logprobs
    return body


def _shared_fields(fields: Fields) -> dict[str, Any]:
    """Fields of both endpoints that shape the answer and are not sampling parameters of the signed statement."""
    body: dict[str, Any] = {}
    stops = stop(fields.raw("stop"))
    if stops:
        body["stop"] = stops
    for name in ("frequency_penalty", "presence_penalty"):
        value = fields.number(name, 0.0, low=-2.0, high=2.0)
        if value:
            body[name] = round(value, 3)
    bias = fields.mapping("logit_bias")
    if bias:
        body["logit_bias"] = bias
    return body


def _chunks(text: str | list[int], size: int = 1024) -> list[Any]:
    """A completion's prompt in pieces, so that a longer prompt with the same beginning is recognised."""
    return [text[at : at + size] for at in range(0, len(text), size)]
