"""What a caller says about caches, and what of it travels."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.codec import decode, encode
from network.gateway.api_error import ApiError
from network.gateway.caching import MAX_SALT, NO_SHARE_HEADER, SALT_HEADER, SALT_LENGTH, Caching
from network.gateway.openai_request import Asked, Defaults, parse
from network.inference import Endpoint, InferenceRequest

HI = [{"role": "user", "content": "hi"}]
CACHING = Caching(b"\x09" * 32)


def asked(headers: dict[str, str] | None = None, caching: Caching = CACHING, **body: Any) -> Asked:
    raw = json.dumps({"messages": HI, **body}).encode()
    return caching.applied(parse(Endpoint.CHAT, raw, Defaults("m", 0, 8), lambda size: b"\x01" * size), headers or {})


def test_who_says_nothing_sends_nothing() -> None:
    plain = asked().inference
    assert (plain.no_share, plain.cache_salt) == (0, b"")
    assert asked({NO_SHARE_HEADER: "0"}, cache_salt=None).inference == plain == asked(cache_salt="").inference
    # Fields 7 and 8 are absent from the bytes: such a request is what it was before they existed.
    assert encode(plain) == encode(InferenceRequest("m", 1, b"\x01" * 32, plain.sampling, plain.body, plain.deadline_ms))


def test_no_share_travels_and_leaves_no_affinity() -> None:
    wished = asked({NO_SHARE_HEADER: "1", SALT_HEADER: "ours"})
    assert (wished.inference.no_share, wished.inference.cache_salt) == (1, b"")
    assert wished.pieces == () and asked().pieces != ()
    assert decode(InferenceRequest, encode(wished.inference)) == wished.inference


def test_body_and_header_say_the_same_salt() -> None:
    salt = asked(cache_salt="tenant 7").inference.cache_salt
    assert len(salt) == SALT_LENGTH
    assert asked({SALT_HEADER: "tenant 7"}).inference.cache_salt == salt
    assert asked({SALT_HEADER: "tenant 7"}, cache_salt="tenant 7").inference.cache_salt == salt
    assert asked(cache_salt="tenant 8").inference.cache_salt != salt
    with pytest.raises(ApiError, match="two salts"):
        asked({SALT_HEADER: "tenant 8"}, cache_salt="tenant 7")


@given(st.text(min_size=1, max_size=64))
def test_the_callers_word_never_travels(word: str) -> None:
    here, there = asked(cache_salt=word), asked(caching=Caching(b"\x0a" * 32), cache_salt=word)
    assert here.inference.cache_salt != there.inference.cache_salt
    assert b"cache_salt" not in encode(here.inference)
    if len(word.encode()) >= 4:
        assert word.encode() not in here.inference.cache_salt


@pytest.mark.parametrize("value", ["yes", "", "2", "true"])
def test_a_flag_that_is_neither_is_refused(value: str) -> None:
    with pytest.raises(ApiError, match=NO_SHARE_HEADER):
        asked({NO_SHARE_HEADER: value})


@pytest.mark.parametrize("value", [7, ["a"], {"a": 1}, True, "x" * (MAX_SALT + 1)])
def test_a_salt_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ApiError, match="cache_salt"):
        asked(cache_salt=value)
