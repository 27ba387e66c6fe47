"""What of an OpenAI body is understood, and what is refused with a word about the field."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.inference import Endpoint, InferenceRequest, Sampling
from serving_node.asked import Asked, read_request
from serving_node.failure import INVALID_REQUEST, ServeError

USER = {"role": "user", "content": "Hi"}


def read(body: Any, endpoint: Endpoint = Endpoint.CHAT) -> Asked:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_request(InferenceRequest("m", endpoint, bytes(32), Sampling(), raw, 0))


def test_a_chat_keeps_what_the_engine_needs_and_nothing_else() -> None:
    asked = read(
        {
            "messages": [
                {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                USER,
            ],
            "user": "x",
        }
    )
    assert asked.messages == ({"role": "system", "content": "ab"}, USER)
    assert (asked.stops, asked.schema, asked.wants_tools, asked.logprobs) == ((), None, False, False)


def test_stops_schema_tools_logprobs_and_penalties_are_read() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    asked = read(
        {
            "messages": [USER],
            "stop": "END",
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
            "tools": tools,
            "tool_choice": "auto",
            "logprobs": True,
            "top_logprobs": 3,
            "presence_penalty": 1,
            "logit_bias": {"5": -100},
        }
    )
    assert asked.stops == ("END",) and asked.schema == {"type": "object"} and asked.tools["tools"] == tools
    assert (asked.logprobs, asked.top_logprobs, asked.presence_penalty, asked.logit_bias) == (True, 3, 1.0, {"5": -100.0})


def test_tools_that_are_switched_off_are_not_passed_on() -> None:
    assert not read({"messages": [USER], "tools": [{"function": {"name": "f"}}], "tool_choice": "none"}).wants_tools


@pytest.mark.parametrize(("prompt", "read_as"), [("Once", "Once"), (["Once"], "Once"), ([1, 2], (1, 2)), ([[1, 2]], (1, 2))])
def test_completions_take_text_or_ids(prompt: Any, read_as: Any) -> None:
    assert read({"prompt": prompt, "logprobs": 2}, Endpoint.COMPLETION).prompt == read_as


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        [],
        {},
        {"messages": []},
        {"messages": "Hi"},
        {"messages": [5]},
        {"messages": [{"role": "wizard", "content": "Hi"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        {"messages": [USER], "stop": [""]},
        {"messages": [USER], "stop": ["x"] * 17},
        {"messages": [USER], "response_format": {"type": "yaml"}},
        {"messages": [USER], "response_format": {"type": "json_schema"}},
        {"messages": [USER], "tools": "f"},
        {"messages": [USER], "n": 2},
        {"messages": [USER], "logprobs": 3},
        {"messages": [USER], "top_logprobs": 21},
        {"messages": [USER], "presence_penalty": 3},
        {"messages": [USER], "logit_bias": {"x": 1}},
    ],
)
def test_a_bad_chat_is_refused_with_the_reason(body: Any) -> None:
    with pytest.raises(ServeError) as refused:
        read(body)
    assert refused.value.code == INVALID_REQUEST and refused.value.message


@pytest.mark.parametrize(
    "body", [{}, {"prompt": ""}, {"prompt": []}, {"prompt": ["a", "b"]}, {"prompt": [-1]}, {"prompt": "a", "echo": True}]
)
def test_a_bad_completion_is_refused(body: Any) -> None:
    with pytest.raises(ServeError):
        read(body, Endpoint.COMPLETION)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_body_crashes(value: Any) -> None:
    for body in (value, {"messages": value}, {"messages": [USER], "stop": value, "tools": value, "response_format": value}):
        try:
            assert read(body).messages
        except ServeError as refused:
            assert refused.code == INVALID_REQUEST
