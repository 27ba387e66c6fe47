"""Every way a request can fail: a permanent code, an HTTP status, and the body {code, codespace, message}.

The table is the catalogue; `docs/rest.md` lists it and a test compares the two. What the ledger itself refuses keeps the
ledger's own code and codespace.
"""

from dataclasses import dataclass

CODESPACE = "planetserve/rest"
LEDGER_CODESPACE = "planetserve/query"


@dataclass(frozen=True, slots=True)
class Failure:
    """One row of the catalogue. `retry_after` in seconds; 0 sends no such header."""

    code: int
    status: int
    meaning: str
    retry_after: int = 0


CATALOGUE = {
    "bad_request": Failure(1, 400, "an argument cannot be understood"),
    "not_found": Failure(2, 404, "no such transaction, or no such path"),
    "method_not_allowed": Failure(3, 405, "only GET and HEAD are served"),
    "height_unavailable": Failure(4, 404, "the height cannot be read: not yet decided, or no longer kept"),
    "busy": Failure(5, 429, "too many requests are being answered", 1),
    "internal": Failure(6, 500, "this gateway failed; its log says why"),
    "unproven": Failure(7, 502, "a node's answer was refused by the light client"),
    "unavailable": Failure(8, 503, "no node of the chain answers", 2),
    "timeout": Failure(9, 504, "the nodes of the chain are too slow"),
}
_LEDGER_STATUS = {1: 404, 3: 404}  # KEY_NOT_FOUND, HEIGHT_UNAVAILABLE


class Refusal(Exception):
    """A request that cannot be answered."""

    def __init__(self, word: str, message: str) -> None:
        super().__init__(message)
        row = CATALOGUE[word]
        self.word, self.code, self.status, self.retry_after = word, row.code, row.status, row.retry_after
        self.codespace = CODESPACE
        self.message = message

    def body(self) -> dict[str, object]:
        """What the caller is told."""
        return {"code": self.code, "codespace": self.codespace, "message": self.message}


def from_ledger(code: int, log: str) -> Refusal:
    """The ledger's own refusal of a query."""
    refusal = Refusal("bad_request", log)
    refusal.code, refusal.codespace, refusal.status = code, LEDGER_CODESPACE, _LEDGER_STATUS.get(code, 400)
    return refusal
