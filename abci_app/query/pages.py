"""Pages: bounded runs of rows, and of the items inside one large record. What a query costs is bounded here.

A page ends after `limit` rows or MOST_BYTES of them, whichever comes first, but holds at least one. `next` is the key to
ask the following page with.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from abci_app.query.answer import BAD_ARGUMENT, Refused, Version
from network.codec import Message, decode, decode_varint
from network.ids import NODE_ID_LENGTH

MOST_BYTES = 128 * 1024
DELIMITED = 2  # protobuf's wire type of everything but integers
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and where the next page begins; empty where there is none."""

    rows: tuple[tuple[bytes, bytes], ...]
    next: str


def page(rows: Iterator[tuple[bytes, bytes]], limit: int) -> Page:
    """The first rows of an ascending run; their keys are what the page's `next` is made of."""
    taken: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in rows:
        if len(taken) == limit or (taken and size + len(value) > MOST_BYTES):
            return Page(tuple(taken), key.hex())
        taken.append((key, value))
        size += len(value)
    return Page(tuple(taken), "")


def row_page(version: Version, prefix: bytes, start: str, limit: int, size: int) -> Page:
    """Rows under `prefix`, keys without it, from `start` on: the hexadecimal rest of a key of `size` bytes, or empty."""
    rows = version.scan(prefix, prefix + _start(start, size))
    return page(((key[len(prefix) :], value) for key, value in rows), limit)


def item_page(kind: type[M], raw: bytes, field: int, start: str, limit: int) -> tuple[M, str]:
    """A record with a page only of its last and repeated `field`, whose items begin with a node id and ascend by it; and
    `next`. Only that page is decoded, and nothing after it is looked at: a directory of thousands must not cost thousands."""
    head = _head(raw, field)
    chosen = page(_items(raw, len(head), _start(start, NODE_ID_LENGTH)), limit)
    return decode(kind, b"".join([head, *(item for _, item in chosen.rows)])), chosen.next


def without_items(kind: type[M], raw: bytes, field: int) -> M:
    """A record without its last and repeated `field`."""
    return decode(kind, _head(raw, field))


def _head(raw: bytes, field: int) -> bytes:
    at = 0
    while at < len(raw) and raw[at] >> 3 != field:
        begin, at = at, at + 1
        value, at = decode_varint(raw, at)
        at += value if raw[begin] & 7 == DELIMITED else 0
    return raw[:at]


def _items(raw: bytes, at: int, first: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(node id, encoded item) from the node id `first` on, `at` being where the items begin."""
    while at < len(raw):
        length, payload = decode_varint(raw, at + 1)
        name = raw[payload + 2 : payload + 2 + NODE_ID_LENGTH]
        if name >= first:
            yield name, raw[at : payload + length]
        at = payload + length


def _start(text: str, size: int) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = bytes(size + 1)
    if len(raw) > size:
        raise Refused(BAD_ARGUMENT, "key must be what the page before answered as next")
    return raw
