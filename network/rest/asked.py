"""One request, taken apart: path words, query arguments, and what several routes ask for alike; and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from network.ids import parse_hex
from network.rest.pagination import number
from network.rest.refusal import Refusal

DEFAULT_ROWS, MOST_ROWS = 25, 100


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a document, the height it is of (None: of none), and whether the light client vouches for all of it."""

    document: dict[str, Any]
    height: int | None
    proven: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    words: Mapping[str, str]
    query: Mapping[str, str]

    @property
    def height(self) -> int:
        """The height asked for; 0 = the newest that can be proven. Raises Refusal."""
        return number(self.query.get("height", ""), "height", 0)

    @property
    def prove(self) -> bool:
        """Whether proofs go with the answer. Raises Refusal."""
        return _flag(self.query.get("prove", ""), "prove")

    @property
    def registered(self) -> bool:
        """Whether nodes that are not live are listed, too. Raises Refusal."""
        return _flag(self.query.get("registered", ""), "registered")

    @property
    def limit(self) -> int:
        """Rows of a page. Raises Refusal."""
        limit = number(self.query.get("limit", ""), "limit", DEFAULT_ROWS)
        if not 1 <= limit <= MOST_ROWS:
            raise Refusal("bad_request", f"limit must be within 1..{MOST_ROWS}")
        return limit

    @property
    def key(self) -> str:
        """Where the page begins: letters and digits that a page before answered as `next`. Raises Refusal."""
        key = self.query.get("key", "")
        if len(key) > 256 or not (key == "" or (key.isascii() and key.isalnum())):
            raise Refusal("bad_request", "key must be what the page before answered as next")
        return key

    def number(self, name: str) -> int:
        """A number in the path. Raises Refusal."""
        word = self.words[name]
        if not word:
            raise Refusal("bad_request", f"{name} is missing")
        return number(word, name, 0)

    def identifier(self, name: str, size: int) -> bytes:
        """`size` bytes in the path, in hexadecimal digits. Raises Refusal."""
        raw = parse_hex(self.words[name].removeprefix("0x"), size)
        if raw is None:
            raise Refusal("bad_request", f"{name} must be {2 * size} hexadecimal digits")
        return raw


def _flag(text: str, name: str) -> bool:
    if text not in ("", "true", "false", "1", "0"):
        raise Refusal("bad_request", f"{name} must be true or false")
    return text in ("true", "1")
