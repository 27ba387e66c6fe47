"""What a front says in its own name is whole HTTP and OpenAI's shape."""

import json

from serving_node.front.errors import REASONS, broken_event, error_answer, json_answer
from serving_node.front.http1 import ChunkReader, HttpError, read_response


def test_every_status_has_its_words_and_a_length_that_is_true() -> None:
    for status in REASONS:
        head, _, body = error_answer(HttpError(status, "a_code", "what"), close=True).partition(b"\r\n\r\n")
        read = read_response(head + b"\r\n\r\n", "POST")
        assert (read.status, read.length, read.close) == (status, len(body), True)
        error = json.loads(body)["error"]
        assert (error["code"], error["message"]) == ("a_code", "what")
        assert (b"retry-after" in read.fields) == (status in (503, 504))
    head, _, body = json_answer({"a": 1}, close=False).partition(b"\r\n\r\n")
    assert read_response(head + b"\r\n\r\n", "GET").length == len(body) and b"close" not in head


def test_the_event_of_a_broken_stream_is_one_chunk_and_not_the_last() -> None:
    reader = ChunkReader(keep=True)
    event = broken_event()
    assert reader.feed(event) == len(event) and reader.between and not reader.done
    assert reader.content is not None and json.loads(reader.content[6:])["error"]["code"] == "engine_lost"
