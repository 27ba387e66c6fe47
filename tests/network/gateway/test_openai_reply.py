"""OpenAI's shapes: chunks, documents, tool calls put together again, log-probabilities joined."""

import json
from typing import Any

from network.gateway.exchange import Delta
from network.gateway.openai_reply import Reply, event, merged_logprobs, merged_message, usage
from network.inference import Finish, ReplyFinal, ReplyStatement

FINAL = ReplyFinal(ReplyStatement(finish=Finish.TOOL_CALLS), b"", 10, 3, 8)


def reply(*, chat: bool) -> Reply:
    return Reply(chat=chat, name="abc", created=7, model="m")


def test_a_chat_document() -> None:
    held = reply(chat=True)
    for text in ("Hel", "lo"):
        held.add(Delta({"content": text}, {"content": [{"token": text}]}))
    document = held.document(FINAL)
    assert (document["id"], document["object"], document["created"], document["model"]) == (
        "chatcmpl-abc",
        "chat.completion",
        7,
        "m",
    )
    choice = document["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "Hello"} and choice["finish_reason"] == "tool_calls"
    assert [row["token"] for row in choice["logprobs"]["content"]] == ["Hel", "lo"]
    assert document["usage"] == usage(FINAL)
    assert usage(FINAL)["total_tokens"] == 13 and usage(FINAL)["prompt_tokens_details"] == {"cached_tokens": 8}


def test_a_completion_document_and_its_chunks() -> None:
    held = reply(chat=False)
    held.add(Delta("Once", None))
    assert held.document(FINAL)["choices"][0]["text"] == "Once" and held.first_chunk() is None
    chunk = held.chunk(Delta(" more", None))
    assert chunk["object"] == "text_completion" and chunk["choices"][0]["text"] == " more"
    assert held.last_chunk(FINAL)["choices"][0]["text"] == ""


def test_pieces_of_tool_calls_are_joined_by_index() -> None:
    deltas: list[dict[str, Any]] = [
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{"}}]},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "}"}}]},
    ]
    message = merged_message(deltas)
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    assert merged_message([]) == {"role": "assistant", "content": ""}


def test_logprobs_of_nothing_are_null() -> None:
    assert merged_logprobs([None, None]) is None
    assert merged_logprobs([{"tokens": ["a"]}, None, {"tokens": ["b"]}]) == {"tokens": ["a", "b"]}


def test_an_event_is_one_line_of_json() -> None:
    raw = event({"a": "line\nbreak é"})
    assert raw.endswith(b"\n\n") and raw.count(b"\n") == 2
    assert json.loads(raw.removeprefix(b"data: ")) == {"a": "line\nbreak é"}
