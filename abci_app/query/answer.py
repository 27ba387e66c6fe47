"""What a query may read and what it answers: codes are permanent (`docs/ledger.md` section 7)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from abci_app.state.errors import CODESPACE
from abci_app.tree import Nodes, Proof

QUERY_CODESPACE = f"{CODESPACE}/query"
KEY_NOT_FOUND, UNKNOWN_PATH, HEIGHT_UNAVAILABLE, BAD_KEY, BAD_ARGUMENT, NOT_PROVEN = 1, 2, 3, 4, 5, 6


class Version(Protocol):
    """One committed version, as far as a query reads it."""

    @property
    def nodes(self) -> Nodes:
        """The nodes of the version's tree."""

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None."""

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, from the key `start` on, in ascending key order."""


class Versions(Protocol):
    """The committed versions that can be read."""

    @property
    def height(self) -> int:
        """The latest committed height; 0 before the first."""

    @property
    def oldest(self) -> int:
        """The oldest height that `version` can still read."""

    def version(self, height: int) -> Version:
        """The committed version at `height`, within `oldest`..`height`."""


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """The answer to a query: a value, perhaps with its proof, or a code that says why not."""

    code: int = 0
    log: str = ""
    key: bytes = b""
    value: bytes = b""
    height: int = 0
    proof: Proof | None = None


class Refused(Exception):
    """A question that has no answer: a code, and words for whoever asked."""

    def __init__(self, code: int, log: str) -> None:
        super().__init__(log)
        self.code = code
        self.log = log
