"""Why a model node does not answer: stable codes, each with its HTTP status, as callers of the gateway see them.

The list is permanent: a retired code stays listed. Words for the caller may quote the caller's own request; they are
sent back to the caller alone and never logged.
"""

from network.errors import PlanetServeError
from network.inference import ReplyFailure

MODEL_NOT_FOUND = "model_not_found"
INVALID_REQUEST = "invalid_request"
CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
OVERLOADED = "overloaded"
ENGINE_FAILED = "engine_failed"
DEADLINE_EXCEEDED = "deadline_exceeded"

STATUS = {
    MODEL_NOT_FOUND: 404,
    INVALID_REQUEST: 400,
    CONTEXT_LENGTH_EXCEEDED: 400,
    OVERLOADED: 503,
    ENGINE_FAILED: 502,
    DEADLINE_EXCEEDED: 504,
}
_LONGEST = 1000


class ServeError(PlanetServeError):
    """One request cannot be answered. `code` is one of the constants above."""

    def __init__(self, code: str, message: str, retry_after: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def reply(self) -> ReplyFailure:
        """The payload of the FAILED frame."""
        words = self.message.encode()[:_LONGEST].decode(errors="ignore")
        return ReplyFailure(self.code, STATUS[self.code], words, self.retry_after)
