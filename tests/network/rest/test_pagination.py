"""Cosmos pagination over a list."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.rest.pagination import DEFAULT_LIMIT, MOST_LIMIT, Pagination, cut, parse
from network.rest.refusal import Refusal


@given(st.lists(st.integers(), max_size=30), st.integers(1, 7), st.booleans())
def test_following_next_key_gives_the_whole(rows: list[int], limit: int, reverse: bool) -> None:
    found: list[int] = []
    key: Any = ""
    while key is not None:
        query = {"pagination.limit": str(limit), "pagination.key": key, "pagination.reverse": str(reverse)}
        part, said = cut(rows, parse(query))
        assert len(part) <= limit and said["total"] == str(len(rows))
        found += part
        key = said["next_key"]
    assert found == (rows[::-1] if reverse else rows)


def test_defaults_and_caps() -> None:
    assert parse({}) == Pagination(0, DEFAULT_LIMIT, False, False)
    assert parse({"pagination.limit": "0"}).limit == DEFAULT_LIMIT
    assert parse({"pagination.limit": "99999"}).limit == MOST_LIMIT
    assert cut([1], parse({"pagination.offset": "5"})) == ([], {"next_key": None, "total": "1"})


@pytest.mark.parametrize(
    "query",
    [
        {"offset": "-1"},
        {"offset": "x"},
        {"limit": "1e3"},
        {"key": "???"},
        {"key": "/w=="},
        {"key": "\u0663"},
        {"limit": "9" * 30},
    ],
)
def test_what_is_no_number_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(Refusal):
        parse({f"pagination.{name}": value for name, value in query.items()})
