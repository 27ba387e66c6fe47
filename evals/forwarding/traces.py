"""Request traces: who asks when, how long, and which leading blocks prompts share. Mooncake's JSON lines and Azure's CSV.

A Mooncake line has `timestamp` (ms), `input_length`, `output_length` and `hash_ids`, one id per 512 prompt tokens: equal ids
stand for equal tokens after an equal prefix. Azure's CSV has arrival and lengths alone, so none of its prompts share anything.
Traces carry no text: `Trace.tokens` expands an id to the same 512 token ids every time.
"""

import json
import random
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

BLOCK_TOKENS = 512
FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")
COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
SHARED = Path("../shared/data/traces")
CONVERSATION = SHARED / "mooncake_conversation.jsonl"
SOURCES = (
    "conversation_trace.jsonl of kvcache-ai/Mooncake (FAST25-release/traces), or AzureLLMInferenceTrace_code.csv of "
    "Azure/AzurePublicDataset (data)"
)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))


class TraceError(Exception):
    """A trace that cannot be read: where, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt. `blocks` names its 512-token blocks in order, the last perhaps shorter."""

    number: int
    at: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class Trace:
    """Requests in order of arrival, in seconds from the first."""

    name: str
    requests: tuple[Request, ...]

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens of all requests."""
        return sum(request.prompt_tokens for request in self.requests)

    def scaled(self, speed: float) -> "Trace":
        """The same prompts, `speed` times as fast."""
        return Trace(self.name, tuple(replace(request, at=request.at / speed) for request in self.requests))

    def spread(self, window_s: float, seed: int = 1) -> "Trace":
        """The same prompts, each at random within `window_s` of its time: Mooncake's times are rounded to 3 s.

        Prompts keep their order, so no turn of a conversation comes before the one it goes on from.
        """
        draw = random.Random(f"spread/{seed}")
        ends = sorted(request.at + draw.random() * window_s for request in self.requests)
        return Trace(self.name, tuple(replace(each, at=at) for each, at in zip(self.requests, ends, strict=True)))

    def first(self, count: int) -> "Trace":
        """The first `count` requests; 0 means all."""
        return Trace(self.name, self.requests[:count]) if count else self

    def tokens(self, request: Request) -> Sequence[int]:
        """The prompt as token ids: a fixed pseudo-random run of 512 for each block id."""
        places = np.array(request.blocks, np.uint64)[:, None] * np.uint64(BLOCK_TOKENS) + np.arange(
            BLOCK_TOKENS, dtype=np.uint64
        )
        # splitmix64: every place has its own token, and neighbours look nothing alike.
        mixed = (places + _GOLDEN) * _GOLDEN
        for shift, factor in _MIX:
            mixed = (mixed ^ (mixed >> shift)) * factor
        return array("I", (mixed >> np.uint64(32)).astype(np.uint32).ravel()[: request.prompt_tokens].tobytes())


def load(path: Path) -> Trace:
    """The trace in a file: Azure's CSV when its name ends in `.csv`, else Mooncake's JSON lines. Raises TraceError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: the trace cannot be read ({error}); get one by name: {SOURCES}") from error
    read = _azure if path.suffix == ".csv" else _mooncake
    requests = sorted(read(path.name, text), key=lambda request: request.at)
    if not requests:
        raise TraceError(f"{path}: the trace has no requests; is it an unfetched Git LFS pointer?")
    start = requests[0].at
    ordered = (replace(request, number=number, at=request.at - start) for number, request in enumerate(requests))
    return Trace(path.stem, tuple(ordered))


def ideal_reuse(trace: Trace) -> float:
    """The share of prompt tokens that one endless cache for everybody would hold: no routing does better."""
    seen: set[int] = set()
    shared = 0
    for request in trace.requests:
        shared += prefix_tokens(request, seen.__contains__)
        seen.update(request.blocks)
    return shared / trace.prompt_tokens


def prefix_tokens(request: Request, has: Callable[[int], bool]) -> int:
    """How many leading tokens of a prompt lie in blocks that `has` knows."""
    blocks = 0
    for block in request.blocks:
        if not has(block):
            break
        blocks += 1
    return min(request.prompt_tokens, blocks * BLOCK_TOKENS)


def _mooncake(name: str, text: str) -> Iterator[Request]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise TraceError(f"{where}: not a JSON object ({error}); the file should hold one per line") from error
        missing = [field for field in FIELDS if not isinstance(row, dict) or field not in row]
        if missing:
            raise TraceError(
                f"{where}: {', '.join(missing)} missing; each line needs {', '.join(FIELDS)} (Mooncake's format): add the "
                "field, or convert the trace"
            )
        yield _request(where, row)


def _request(where: str, row: Mapping[str, object]) -> Request:
    at, prompt, output, ids = (row[field] for field in FIELDS)
    if isinstance(at, bool) or not isinstance(at, int | float) or not at >= 0:
        raise TraceError(f"{where}: timestamp {at!r} is no time in milliseconds")
    prompt, output = (_whole(where, field, row[field], least) for field, least in zip(FIELDS[1:3], (1, 0), strict=True))
    if not isinstance(ids, list) or not all(isinstance(each, int) and 0 <= each < 2**64 for each in ids):
        raise TraceError(f"{where}: hash_ids is no list of whole numbers")
    needed = -(-prompt // BLOCK_TOKENS)
    if len(ids) != needed:
        raise TraceError(
            f"{where}: {len(ids)} hash_ids for {prompt} prompt tokens, {needed} expected; one id stands for "
            f"{BLOCK_TOKENS} tokens"
        )
    return Request(0, float(at) / 1000, prompt, output, tuple(ids))


def _azure(name: str, text: str) -> Iterator[Request]:
    lines = text.splitlines()
    head = tuple(lines[0].lstrip("\ufeff").split(",")) if lines else ()
    if missing := [column for column in COLUMNS if column not in head]:
        raise TraceError(f"{name}, line 1: column {', '.join(missing)} missing; {', '.join(COLUMNS)} are needed")
    places = [head.index(column) for column in COLUMNS]
    fresh = 0
    for number, line in enumerate(lines[1:], 2):
        where = f"{name}, line {number}"
        cells = line.split(",")
        if not line.strip():
            continue
        if len(cells) != len(head):
            raise TraceError(f"{where}: {len(cells)} columns, {len(head)} expected")
        at, prompt, output = (cells[place] for place in places)
        try:
            # Seven digits of a second: more than fromisoformat takes.
            arrival = datetime.fromisoformat(at[:26]).timestamp()
            tokens, answer = int(prompt), int(output)
        except ValueError as error:
            raise TraceError(f"{where}: {error}") from error
        tokens, answer = _whole(where, COLUMNS[1], tokens, 1), _whole(where, COLUMNS[2], answer, 0)
        blocks = -(-tokens // BLOCK_TOKENS)
        yield Request(0, arrival, tokens, answer, tuple(range(fresh, fresh + blocks)))
        fresh += blocks


def _whole(where: str, field: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**24:
        raise TraceError(f"{where}: {field} {value!r} is no whole number from {least} to {2**24 - 1}")
    return value
