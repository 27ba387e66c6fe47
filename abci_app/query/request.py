"""A friendly path taken apart: its words, and `limit` and `key` of a page. Whatever else it carries is refused."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from abci_app.query.answer import BAD_ARGUMENT, Refused
from network.ids import parse_hex

LONGEST_PATH = 512
DEFAULT_LIMIT, MOST_LIMIT = 25, 100


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: `words` are the path's, `key` is what the page before answered as `next`."""

    words: tuple[str, ...]
    limit: int = DEFAULT_LIMIT
    key: str = ""
    epoch: str = ""


def parse(path: str) -> Asked:
    """The question in a path. Raises Refused."""
    if len(path) > LONGEST_PATH:
        raise Refused(BAD_ARGUMENT, f"a path has at most {LONGEST_PATH} characters")
    place, _, rest = path.partition("?")
    words = tuple(word for word in place.split("/") if word)
    given: dict[str, str] = {}
    try:
        pairs = parse_qsl(rest, keep_blank_values=True, strict_parsing=True, max_num_fields=4) if rest else []
    except ValueError as error:
        raise Refused(BAD_ARGUMENT, "what follows '?' must be name=value&name=value") from error
    for name, value in pairs:
        if name not in ("limit", "key", "epoch") or name in given:
            raise Refused(BAD_ARGUMENT, f"{name[:40]!r} is not an argument, or is given twice; limit, key and epoch are known")
        given[name] = value
    return Asked(words, _limit(given.get("limit", "")), given.get("key", ""), given.get("epoch", ""))


def _limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    limit = number(text, "limit")
    if not 1 <= limit <= MOST_LIMIT:
        raise Refused(BAD_ARGUMENT, f"limit must be within 1..{MOST_LIMIT}")
    return limit


def number(text: str, what: str) -> int:
    """A decimal number below 2^63. Raises Refused."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise Refused(BAD_ARGUMENT, f"{what} must be a decimal number")
    return int(text)


def identifier(text: str, size: int, what: str) -> bytes:
    """`size` bytes in hexadecimal digits. Raises Refused."""
    raw = parse_hex(text, size) if len(text) == 2 * size else None
    if raw is None:
        raise Refused(BAD_ARGUMENT, f"{what} must be {2 * size} hexadecimal digits")
    return raw
