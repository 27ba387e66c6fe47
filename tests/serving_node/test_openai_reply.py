"""Deltas as OpenAI clients read them."""

import json

from network.inference import Endpoint
from serving_node.generation import Piece, TokenLogprob
from serving_node.openai_reply import DeltaWriter

TOP = (TokenLogprob("a", (97,), -0.5), TokenLogprob("b", (98,), -1.5))


def test_the_first_delta_of_a_chat_names_the_role() -> None:
    writer = DeltaWriter(Endpoint.CHAT, 0)
    assert json.loads(writer.write(Piece("Hé"))) == {"delta": {"role": "assistant", "content": "Hé"}}
    assert json.loads(writer.write(Piece("y"))) == {"delta": {"content": "y"}}


def test_tool_calls_travel_as_deltas() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    document = json.loads(DeltaWriter(Endpoint.CHAT, 0).write(Piece("", tool_calls=(call,))))
    assert document == {"delta": {"role": "assistant", "tool_calls": [call]}}


def test_logprobs_of_a_chat() -> None:
    piece = Piece("a", (TokenLogprob("a", (97,), -0.5, TOP),))
    (entry,) = json.loads(DeltaWriter(Endpoint.CHAT, 1).write(piece))["logprobs"]["content"]
    assert entry["token"] == "a" and entry["bytes"] == [97] and [seen["token"] for seen in entry["top_logprobs"]] == ["a"]


def test_logprobs_of_a_completion_count_offsets() -> None:
    writer = DeltaWriter(Endpoint.COMPLETION, 2)
    token = TokenLogprob("ab", (97, 98), -0.5, TOP)
    writer.write(Piece("ab", (token,)))
    rows = json.loads(writer.write(Piece("ab", (token,))))["logprobs"]
    assert rows["text_offset"] == [2] and rows["top_logprobs"] == [{"a": -0.5, "b": -1.5}]
