"""Answers as an engine gives them: recorded ones, and more of their kind from a seeded model of token timing.

The model draws an answer's number of pieces and their lengths from its topic's recorded answers, the pauses from all. Recorded
pauses are scaled so that the median piece takes 20 ms: how busy the recording machine was should not count.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

RECORDED = Path(__file__).parent / "answers.jsonl"
TARGET = "law"
PIECE_SECONDS = 0.02
LONGEST_PAUSE = 10.0  # in pieces: what is longer is the recording machine's doing


@dataclass(frozen=True)
class Answer:
    """One streamed answer: when each piece of text comes, in seconds after the request was opened, and its bytes."""

    topic: str
    number: int
    moments: tuple[float, ...]
    lengths: tuple[int, ...]


def load(path: Path = RECORDED) -> list[Answer]:
    """The recorded answers."""
    answers = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        scale = PIECE_SECONDS / median(row["gaps_ms"][1:] or row["gaps_ms"])
        gaps = [min(gap * scale, PIECE_SECONDS * LONGEST_PAUSE) for gap in row["gaps_ms"]]
        answers.append(Answer(row["topic"], row["number"], _moments(gaps), tuple(row["bytes"])))
    return answers


def more_like(recorded: Sequence[Answer], count: int, seed: int, shorter: str = "") -> list[Answer]:
    """`count` answers per topic by the model; those of the topic `shorter` have half as many pieces as recorded."""
    draw = random.Random(seed)
    firsts = [answer.moments[0] for answer in recorded]
    pauses = [late - soon for answer in recorded for soon, late in zip(answer.moments, answer.moments[1:], strict=False)]
    made = []
    for topic in sorted({answer.topic for answer in recorded}):
        own = [answer for answer in recorded if answer.topic == topic]
        lengths = [length for answer in own for length in answer.lengths]
        for number in range(count):
            pieces = max(1, len(draw.choice(own).lengths) // (2 if topic == shorter else 1))
            gaps = [draw.choice(firsts), *(draw.choice(pauses) for _ in range(pieces - 1))]
            made.append(Answer(topic, number, _moments(gaps), tuple(draw.choice(lengths) for _ in range(pieces))))
    return made


def _moments(gaps: Sequence[float]) -> tuple[float, ...]:
    moments = []
    now = 0.0
    for gap in gaps:
        now += gap
        moments.append(now)
    return tuple(moments)
