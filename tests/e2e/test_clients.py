"""Clients that know nothing of the network: the official SDK, curl, and our own command line."""

import json
import subprocess
from typing import Any

import openai
import pytest

MODEL = "smollm2-135m-instruct"
HEADER = ("-H", "content-type: application/json")
QUESTION = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def client(localnet: Any) -> openai.OpenAI:
    """The SDK with `base_url` changed and nothing else."""
    return openai.OpenAI(base_url=localnet.base_url, api_key="any", max_retries=2)


def test_the_sdk_streams_a_chat(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=QUESTION, stream=True, max_tokens=24, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text.strip()
    assert len([chunk for chunk in chunks if chunk.choices]) > 2, "the answer came in one piece"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens > 0
    assert {chunk.model for chunk in chunks} == {MODEL}


def test_the_sdk_gets_a_whole_chat_and_the_headers(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION, max_tokens=8, temperature=0)
    reply = raw.parse()
    assert reply.choices[0].message.content and reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage is not None and reply.usage.prompt_tokens_details is not None
    assert raw.headers["x-planetserve-node"] and raw.headers["x-planetserve-route"] and raw.headers["x-request-id"]
    ours = {name for name in raw.headers if name.startswith("x-")}
    assert ours == {"x-planetserve-node", "x-planetserve-route", "x-request-id"}, ours


def test_the_sdk_completes_and_lists_models(client: openai.OpenAI) -> None:
    assert client.completions.create(model=MODEL, prompt="One, two,", max_tokens=4).choices[0].text
    assert MODEL in [model.id for model in client.models.list()]


def test_curl_streams(localnet: Any) -> None:
    body = json.dumps({"model": MODEL, "messages": QUESTION, "stream": True, "max_tokens": 8})
    done = subprocess.run(
        ["curl", "-sN", f"{localnet.base_url}/chat/completions", "-H", "content-type: application/json", "-d", body],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    events = [row for row in done.stdout.splitlines() if row.startswith("data:")]
    assert len(events) > 2 and events[-1] == "data: [DONE]"


def test_our_own_chat(localnet: Any) -> None:
    assert localnet.run("chat", "Say hello.").stdout.strip()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "no-such-model", "messages": QUESTION}, 404, "model_not_found"),
        ({"model": MODEL, "messages": []}, 400, None),
        ({"model": MODEL}, 400, None),
        ({"model": MODEL, "messages": [{"role": "user", "content": "word " * 20_000}]}, 400, "context_length_exceeded"),
        ("not json", 400, None),
        ([1, 2], 400, None),
    ],
)
def test_bad_requests_get_errors_in_openais_shape(localnet: Any, body: Any, status: int, code: str | None) -> None:
    raw = body if isinstance(body, str) else json.dumps(body)
    done = subprocess.run(
        ["curl", "-s", "-w", "\n%{http_code}", f"{localnet.base_url}/chat/completions", *HEADER, "-d", "@-"],
        input=raw,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    answer, _, got = done.stdout.rpartition("\n")
    error = json.loads(answer)["error"]
    assert int(got) == status, answer
    assert {"message", "type", "param", "code"} <= set(error) and error["message"] and error["code"]
    assert code is None or error["code"] == code
