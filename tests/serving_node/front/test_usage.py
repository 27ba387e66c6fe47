"""What answers say about caches, as engines write it."""

import json

import pytest

from serving_node.front.usage import Tail, cached_words

VLLM = b'data: {"choices":[],"usage":{"prompt_tokens":80,"total_tokens":90,"prompt_tokens_details":{"cached_tokens":60}}}\n\n'
LLAMA = b'data: {"timings":{"cache_n":30,"prompt_n":10,"prompt_ms":3.2}}\n\n'


@pytest.mark.parametrize(("pieces", "share"), [([VLLM], 0.75), ([b"x", LLAMA, b"data: [DONE]\n\n", b"0\r\n\r\n"], 0.75)])
def test_the_share_of_the_prompt_that_was_cached(pieces: list[bytes], share: float) -> None:
    tail = Tail()
    for piece in pieces:
        tail.add(piece)
    assert tail.share() == share


def test_an_answer_cannot_pretend_and_silence_is_silence() -> None:
    tail = Tail()
    tail.add(json.dumps({"content": '"cached_tokens": 9, "prompt_tokens": 9'}).encode())
    assert tail.share() is None
    tail.add(b'{"usage": {"prompt_tokens": 0, "cached_tokens": 0}}')
    assert tail.share() is None


def test_only_the_end_of_a_long_answer_is_kept() -> None:
    tail = Tail()
    for _ in range(1000):
        tail.add(b"x" * 70_000)
    tail.add(VLLM)
    assert tail.share() == 0.75
    assert sum(len(piece) for piece in tail._pieces) < 100_000


def test_words_follow_tokens_and_small_shortfalls_are_rounding() -> None:
    assert cached_words(None, 100, 40) == 40 and cached_words(None, 100, 400) == 100
    assert cached_words(0.5, 100, 58) == 58 and cached_words(0.5, 100, 61) == 50 and cached_words(0.5, 100, 20) == 50
