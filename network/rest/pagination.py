"""Cosmos pagination: `pagination.limit`, `.offset`, `.key`, `.count_total` and `.reverse` over a list that is at hand."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from network.rest.refusal import Refusal

DEFAULT_LIMIT, MOST_LIMIT = 100, 500
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pagination:
    """Which part of a list is asked for."""

    offset: int = 0
    limit: int = DEFAULT_LIMIT
    reverse: bool = False
    count_total: bool = False


def parse(query: Mapping[str, str]) -> Pagination:
    """What a query string says of pages; `key` is the `next_key` of the page before. Raises Refusal."""
    offset = number(query.get("pagination.offset", ""), "pagination.offset", 0)
    key = query.get("pagination.key", "")
    if key:
        try:
            offset = number(base64.b64decode(key.replace(" ", "+"), validate=True).decode(), "pagination.key", 0)
        except ValueError as error:
            raise Refusal("bad_request", "pagination.key must be the next_key of the page before") from error
    limit = number(query.get("pagination.limit", ""), "pagination.limit", DEFAULT_LIMIT)
    flags = {name: query.get(f"pagination.{name}", "").lower() == "true" for name in ("reverse", "count_total")}
    return Pagination(offset, min(limit or DEFAULT_LIMIT, MOST_LIMIT), flags["reverse"], flags["count_total"])


def cut(rows: Sequence[T], asked: Pagination) -> tuple[list[T], dict[str, Any]]:
    """The part asked for, and the `pagination` object that goes with it."""
    ordered = list(reversed(rows)) if asked.reverse else list(rows)
    return ordered[asked.offset : asked.offset + asked.limit], said(asked, len(rows))


def said(asked: Pagination, total: int) -> dict[str, Any]:
    """The `pagination` object of a page out of `total`. The total is given always: here it costs nothing."""
    end = asked.offset + asked.limit
    return {"next_key": base64.b64encode(str(end).encode()).decode() if end < total else None, "total": str(total)}


def number(text: str, name: str, default: int) -> int:
    """A decimal number of at most 18 digits. Raises Refusal."""
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise Refusal("bad_request", f"{name} must be a decimal number")
    return int(text)
