"""Every way a request can fail at the gateway: a stable code, an HTTP status, and what the caller can do about it.

The table is the catalogue; `docs/gateway.md` lists it and a test compares the two. Statuses decide what OpenAI's SDKs do:
they retry 408, 409, 429 and 5xx, and honour Retry-After.
"""

from dataclasses import dataclass

from network.inference import ReplyFailure


@dataclass(frozen=True, slots=True)
class Failure:
    """One row of the catalogue. `retry_after` in seconds; 0 sends no such header."""

    status: int
    hint: str
    retry_after: int = 0


CATALOGUE: dict[str, Failure] = {
    "invalid_json": Failure(400, "Send one JSON object as the body."),
    "invalid_request": Failure(400, "Correct the named field; docs/gateway.md lists every field."),
    "empty_messages": Failure(400, "Send at least one message with a role and content."),
    "unsupported_parameter": Failure(400, "Leave the field out; docs/gateway.md lists what the network carries."),
    "context_length_exceeded": Failure(400, "Shorten the prompt or lower max_tokens."),
    "invalid_api_key": Failure(401, "Send a key of this gateway as `Authorization: Bearer KEY`: planetserve keys api."),
    "model_not_found": Failure(404, "Ask /v1/models for the models that are served now."),
    "not_found": Failure(404, "The base URL ends in /v1; the paths are listed in docs/gateway.md."),
    "method_not_allowed": Failure(405, "Use the method that docs/gateway.md lists for this path."),
    "request_too_large": Failure(413, "Shorten the prompt: the network carries 256 KiB of JSON at most."),
    "gateway_busy": Failure(429, "Wait for earlier requests to finish.", 1),
    "internal_error": Failure(500, "The gateway's log has the reason under this request id."),
    "reply_truncated": Failure(502, "The answer is incomplete. Ask again."),
    "untrusted_response": Failure(502, "A node answered without proof of being the one it claims. Ask again."),
    "node_failed": Failure(502, "The model node could not answer. Ask again."),
    "starting": Failure(503, "The gateway is still reading the chain. Watch /health.", 2),
    "no_capacity": Failure(503, "The model is known, but no trusted node serves it now: planetserve query nodes.", 10),
    "no_circuits": Failure(503, "Too few relays answer. Wait for the network to settle: planetserve localnet status.", 3),
    "model_unreachable": Failure(503, "No model node could be reached through the overlay. Ask again.", 3),
    "reply_timeout": Failure(504, "The model nodes are slow or gone. Ask again, or ask for fewer tokens."),
}


class ApiError(Exception):
    """A request that cannot be answered, with everything its caller is told."""

    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        row = CATALOGUE[code]
        super().__init__(message)
        self.code, self.status, self.hint, self.retry_after = code, row.status, row.hint, row.retry_after
        self.message, self.param = message, param

    def body(self, request_id: str) -> dict[str, object]:
        """The error object as OpenAI's clients expect it, with `hint` and `request_id` added."""
        return {
            "error": {
                "message": self.message,
                "type": error_type(self.status),
                "param": self.param,
                "code": self.code,
                "hint": self.hint,
                "request_id": request_id,
            }
        }


def from_node(failure: ReplyFailure) -> ApiError:
    """The error of a model node, passed on with its own code and status as far as those make sense."""
    known = CATALOGUE.get(failure.code)
    error = ApiError("node_failed" if known is None else failure.code, failure.message or "the model node could not answer")
    if known is None and failure.code.replace("_", "").isalnum() and failure.code.islower():
        error.code = failure.code
    error.status = failure.status if 400 <= failure.status <= 599 else error.status
    error.retry_after = max(error.retry_after, failure.retry_after)
    return error


def error_type(status: int) -> str:
    """OpenAI's word for a class of errors."""
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"
