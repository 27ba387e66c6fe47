"""What two requests share is what their prompts share, and nothing an engine would not render."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_node.front.http1 import HttpError
from serving_node.front.prompt import CHAT, COMPLETION, WORD_BYTES, read_prompt

TEXT = st.text(st.characters(exclude_characters="\0"), max_size=60)


def chat(*contents: Any, **more: Any) -> bytes:
    messages = [{"role": ("user", "assistant")[at % 2], "content": content} for at, content in enumerate(contents)]
    return json.dumps({"model": "m", "messages": messages, **more}).encode()


def words(body: bytes, path: bytes = CHAT) -> list[int]:
    packed = read_prompt(path, body).packed
    assert len(packed) % WORD_BYTES == 0
    return list(memoryview(packed).cast("I"))


@given(st.lists(TEXT, min_size=1, max_size=4), TEXT)
def test_a_conversation_that_goes_on_begins_as_before(contents: list[str], next_one: str) -> None:
    before, after = words(chat(*contents)), words(chat(*contents, next_one))
    assert after[: len(before) - 1] == before[:-1]


def test_sampling_fields_and_the_order_of_keys_do_not_matter() -> None:
    assert words(chat("a", temperature=1, stream=True)) == words(chat("a"))
    turned = json.dumps({"messages": [{"content": "a", "role": "user"}], "model": "m"}).encode()
    assert words(turned) == words(chat("a"))
    assert read_prompt(CHAT, chat("a", stream=True)).stream


@pytest.mark.parametrize(
    "other",
    [
        chat("b"),
        chat("a", tools=[{"type": "function"}]),
        chat([{"type": "text", "text": "a"}]),
        json.dumps({"model": "other", "messages": [{"role": "user", "content": "a"}]}).encode(),
        json.dumps({"model": "m", "messages": [{"role": "user", "content": "a", "name": "n"}]}).encode(),
    ],
)
def test_what_an_engine_renders_differently_is_different(other: bytes) -> None:
    assert words(other) != words(chat("a"))


def test_a_salt_is_known_by_its_digest() -> None:
    plain, one, two = (read_prompt(CHAT, chat("a", **more)).salt for more in ({}, {"cache_salt": "1"}, {"cache_salt": "2"}))
    assert plain == b"" and len(one) == len(two) == 16 and one != two


def test_completions_take_text_and_tokens() -> None:
    text, tokens = ({"model": "m", "prompt": prompt} for prompt in ("abcd" * 9, [7] * 9))
    assert len(words(json.dumps(text).encode(), COMPLETION)) == 11
    assert words(json.dumps(tokens).encode(), COMPLETION)[-9:] == [7] * 9


@pytest.mark.parametrize("asked", [{}, {"messages": 3}, {"messages": [3]}])
def test_a_body_of_another_shape_has_no_prompt_and_is_the_engines_to_judge(asked: Any) -> None:
    assert words(json.dumps(asked).encode()) == []
    assert words(json.dumps({"prompt": asked}).encode(), COMPLETION) == []


def test_lone_surrogates_are_text_like_any_other() -> None:
    assert words(b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}], "cache_salt": "\\udfff"}')


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 100_000, b'{"cache_salt": ""}', b'{"cache_salt": {}}', b'{"a": NaN, }']
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        read_prompt(CHAT, body)
    assert caught.value.status == 400
