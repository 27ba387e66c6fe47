"""What of an OpenAI request travels: checked, stripped, canonical, the same for whoever asks the same."""

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.codec import decode, encode
from network.gateway.api_error import ApiError
from network.gateway.openai_request import Asked, Defaults, canonical, parse
from network.inference import MAX_TOKENS, Endpoint, InferenceRequest, Sampling

DEFAULTS = Defaults("default-model", 600, 256)
HI = [{"role": "user", "content": "hi"}]
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = [
    "messages",
    "model",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "best_of",
    "stop",
    "seed",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "logprobs",
    "top_logprobs",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "prompt",
    "echo",
    "suffix",
]


def rng(size: int) -> bytes:
    return b"\x07" * size


def chat(**fields: Any) -> Asked:
    return parse(Endpoint.CHAT, json.dumps({"messages": HI, **fields}).encode(), DEFAULTS, rng)


def completion(**fields: Any) -> Asked:
    return parse(Endpoint.COMPLETION, json.dumps(fields).encode(), DEFAULTS, rng)


def body(asked: Asked) -> Any:
    return json.loads(asked.inference.body)


def test_what_is_left_out_has_a_default() -> None:
    asked = chat()
    assert asked.inference.model == "default-model"
    assert asked.inference.sampling == Sampling(600, 0, 0, 256)
    assert asked.inference.body == b'{"messages":[{"content":"hi","role":"user"}]}'
    assert not asked.stream and not asked.include_usage and asked.chat
    assert asked.inference.nonce == b"\x07" * 32


def test_defaults_said_aloud_are_the_same_request() -> None:
    aloud = chat(
        temperature=0.6, top_p=1, top_k=-1, n=1, max_completion_tokens=256, stop=None, tools=[], logprobs=False, logit_bias={},
        frequency_penalty=0, presence_penalty=0.0, response_format={"type": "text"}, tool_choice="auto", user="u",
        metadata={"a": "b"},
        store=True, service_tier="flex", safety_identifier="s", prompt_cache_key="k", unknown={"deep": [1]}, stream=False,
        reasoning_effort="low", model="default-model",
    )  # fmt: skip
    assert aloud == chat()


@pytest.mark.parametrize(
    ("fields", "sampling"),
    [
        ({"temperature": 0}, Sampling(0, 0, 0, 256)),
        ({"temperature": 0.70049}, Sampling(700, 0, 0, 256)),
        ({"temperature": 2}, Sampling(2000, 0, 0, 256)),
        ({"top_p": 0.9}, Sampling(600, 900, 0, 256)),
        ({"top_p": 0.9999}, Sampling(600, 0, 0, 256)),
        ({"top_p": 0.0001}, Sampling(600, 1, 0, 256)),
        ({"top_p": 0}, Sampling(600, 1, 0, 256)),
        ({"top_k": 40}, Sampling(600, 0, 40, 256)),
        ({"max_tokens": 5, "max_completion_tokens": 7}, Sampling(600, 0, 0, 7)),
        ({"max_tokens": 5}, Sampling(600, 0, 0, 5)),
    ],
)
def test_sampling_is_in_thousandths(fields: dict[str, Any], sampling: Sampling) -> None:
    assert chat(**fields).inference.sampling == sampling


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"temperature": -0.1}, "invalid_request", "temperature"),
        ({"temperature": True}, "invalid_request", "temperature"),
        ({"top_p": 1.1}, "invalid_request", "top_p"),
        ({"max_tokens": 0}, "invalid_request", "max_tokens"),
        ({"max_tokens": MAX_TOKENS + 1}, "invalid_request", "max_tokens"),
        ({"max_tokens": 1.5}, "invalid_request", "max_tokens"),
        ({"model": 7}, "invalid_request", "model"),
        ({"model": "m" * 200}, "model_not_found", "model"),
        ({"stop": ["a"] * 5}, "invalid_request", "stop"),
        ({"stop": [""]}, "invalid_request", "stop"),
        ({"seed": "x"}, "invalid_request", "seed"),
        ({"n": 2}, "unsupported_parameter", "n"),
        ({"tools": ["x"]}, "invalid_request", "tools"),
        ({"stream_options": []}, "invalid_request", "stream_options"),
        ({"messages": [{"role": "user"}]}, "invalid_request", "messages[0].content"),
        ({"messages": [{"content": "x"}]}, "invalid_request", "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "invalid_request", "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "invalid_request", "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}, "invalid_request", "messages[0].tool_calls"),
        ({"messages": [{"role": "user", "content": "x", "name": 1}]}, "invalid_request", "messages[0].name"),
        ({"messages": ["x"]}, "invalid_request", "messages[0]"),
        ({"messages": HI * 3000}, "invalid_request", "messages"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(ApiError) as raised:
        chat(**fields)
    assert (raised.value.code, raised.value.param) == (code, param)


def test_messages_keep_what_a_template_reads() -> None:
    asked = chat(
        messages=[
            {"role": "developer", "content": "be brief", "cache_control": {"type": "ephemeral"}},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "id": "m-1"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}], "audio": None},
            {"role": "tool", "content": "42", "tool_call_id": "c"},
        ]
    )
    assert body(asked)["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "ab"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]},
        {"role": "tool", "content": "42", "tool_call_id": "c"},
    ]
    assert len(asked.pieces) == 4


def test_tools_schema_and_logprobs_travel() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    form = {"type": "json_object"}
    asked = chat(
        tools=[tool], tool_choice="required", parallel_tool_calls=False, response_format=form, logprobs=True, top_logprobs=2
    )
    assert body(asked) == {
        "messages": HI, "tools": [tool], "tool_choice": "required", "parallel_tool_calls": False, "response_format": form,
        "logprobs": True, "top_logprobs": 2,
    }  # fmt: skip


@pytest.mark.parametrize(("prompt", "carried"), [("Once", "Once"), (["Once"], "Once"), ([1, 2], [1, 2]), ([[1, 2]], [1, 2])])
def test_a_completion_has_one_prompt(prompt: Any, carried: Any) -> None:
    assert body(completion(prompt=prompt, logprobs=2, echo=True)) == {"prompt": carried, "logprobs": 2, "echo": True}


@pytest.mark.parametrize("prompt", ["", [], None, ["a", "b"], [[1], [2]], [-1], [True], {"a": 1}])
def test_other_prompts_are_refused(prompt: Any) -> None:
    with pytest.raises(ApiError):
        completion(prompt=prompt)


def test_a_seed_gives_the_nonce_of_what_shapes_the_answer() -> None:
    assert chat(seed=5).inference.nonce == chat(seed=5, stream=True, user="other").inference.nonce
    others = [chat(seed=6), chat(seed=5, temperature=1), chat(seed=5, messages=[*HI, *HI]), chat(seed=5, model="m"), chat()]
    nonces = {asked.inference.nonce for asked in (chat(seed=5), *others)}
    assert len(nonces) == 6 and {len(nonce) for nonce in nonces} == {32}


def test_the_nonce_of_a_seed_is_permanent() -> None:
    expected = sha256(
        b'planetserve/nonce/1[5,"default-model",1,[600,0,0]]{"messages":[{"content":"hi","role":"user"}]}'
    ).digest()
    assert chat(seed=5).inference.nonce == expected


@given(st.dictionaries(st.sampled_from(NAMES), ANY, max_size=6), st.sampled_from(list(Endpoint)))
def test_any_json_is_a_request_or_an_error_with_a_code(fields: dict[str, Any], endpoint: Endpoint) -> None:
    raw = json.dumps(fields).encode()
    try:
        asked = parse(endpoint, raw, DEFAULTS, rng)
    except ApiError as error:
        assert 400 <= error.status < 500 and error.hint
        return
    assert decode(InferenceRequest, encode(asked.inference)) == asked.inference
    assert canonical(json.loads(asked.inference.body)) == asked.inference.body


@given(st.binary(max_size=64))
def test_any_bytes_are_a_request_or_an_error_with_a_code(raw: bytes) -> None:
    with pytest.raises(ApiError):
        parse(Endpoint.CHAT, raw, DEFAULTS, rng)
