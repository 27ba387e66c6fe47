"""Traces: what is read, what is refused and in which words, and that tokens follow from block ids alone."""

import json
from pathlib import Path

import pytest

from evals.forwarding.traces import Request, Trace, TraceError, ideal_reuse, load, prefix_tokens

LINE = {"timestamp": 500, "input_length": 700, "output_length": 9, "hash_ids": [4, 5]}


def written(folder: Path, *lines: object) -> Path:
    path = folder / "some.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_mooncake_lines_are_read_in_order_of_arrival(tmp_path: Path) -> None:
    trace = load(written(tmp_path, {**LINE, "timestamp": 3500}, LINE, ""))
    assert [(each.number, each.at, each.blocks) for each in trace.requests] == [(0, 0.0, (4, 5)), (1, 3.0, (4, 5))]
    assert trace.prompt_tokens == 1400
    assert trace.scaled(2).requests[1].at == 1.5
    assert len(trace.first(1).requests) == 1 and trace.first(0) == trace


def test_azure_rows_share_nothing(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,600,10\n2023-11-16 18:17:04.0319600,600,8\n"
    )
    one, two = load(path).requests
    assert (one.prompt_tokens, one.output_tokens, len(one.blocks)) == (600, 10, 2)
    assert two.at == pytest.approx(0.052, abs=1e-6)
    assert not set(one.blocks) & set(two.blocks)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({key: value for key, value in LINE.items() if key != "hash_ids"}, "hash_ids missing; each line needs timestamp"),
        ({"hash_ids": [1]}, "timestamp, input_length, output_length missing"),
        ("[1, 2]", "missing"),
        ("{", "not a JSON object"),
        ("version https://git-lfs.github.com/spec/v1", "not a JSON object"),
        ({**LINE, "hash_ids": [1]}, "1 hash_ids for 700 prompt tokens, 2 expected"),
        ({**LINE, "hash_ids": ["a", "b"]}, "no list of whole numbers"),
        ({**LINE, "input_length": 0, "hash_ids": []}, "input_length 0"),
        ({**LINE, "input_length": True}, "input_length True"),
        ({**LINE, "output_length": -1}, "output_length -1"),
        ({**LINE, "timestamp": "soon"}, "no time in milliseconds"),
        ('{"timestamp": NaN, "input_length": 1, "output_length": 1, "hash_ids": [1]}', "no time in milliseconds"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: object, words: str) -> None:
    with pytest.raises(TraceError, match="line 2: ") as caught:
        load(written(tmp_path, LINE, line))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("TIMESTAMP,ContextTokens\n", "line 1: column GeneratedTokens missing"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1\n", "line 2: 2 columns"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", "line 2: Invalid isoformat"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,many,1\n", "line 2: invalid literal"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,0,1\n", "line 2: ContextTokens 0"),
        ("", "line 1: column TIMESTAMP"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "some.csv"
    path.write_text(text)
    with pytest.raises(TraceError) as caught:
        load(path)
    assert words in str(caught.value)


def test_a_trace_that_is_not_there_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="kvcache-ai/Mooncake"):
        load(tmp_path / "none.jsonl")
    with pytest.raises(TraceError, match="no requests"):
        load(written(tmp_path, ""))


def test_equal_blocks_are_equal_tokens() -> None:
    trace = Trace("t", ())
    one = trace.tokens(Request(0, 0.0, 1000, 1, (7, 8)))
    two = trace.tokens(Request(1, 0.0, 1300, 1, (7, 8, 2**64 - 1)))
    assert len(one) == 1000 and len(two) == 1300
    assert list(one) == list(two[:1000])
    assert len(set(two)) > 1290


def test_reuse_cannot_pass_what_prompts_share() -> None:
    requests = tuple(Request(number, 0.0, 1024, 1, blocks) for number, blocks in enumerate([(1, 2), (1, 3), (1, 2), (4, 2)]))
    assert ideal_reuse(Trace("t", requests)) == (512 + 1024) / 4096
    assert prefix_tokens(Request(0, 0.0, 700, 1, (1, 2)), {1, 2}.__contains__) == 700


def test_rounded_times_are_spread_in_order() -> None:
    trace = Trace("t", tuple(Request(number, 3.0 * (number // 4), 512, 1, (number,)) for number in range(8)))
    times = [each.at for each in trace.spread(3.0).requests]
    assert times == sorted(times) and len(set(times)) == 8 and max(times) < 6
    assert [each.number for each in trace.spread(3.0).requests] == list(range(8))
    assert trace.spread(0.0) == trace
