"""Feeding a decoder bent inputs until it does what it must not: raise anything but its own refusal, or break its promise.

Deterministic by its seed. An input with an outcome not seen before joins the corpus, so that later ones start from it:
outcomes are told apart by the words of the refusal, without its numbers.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from evals.fuzz.mutate import Bend, bend

MOST_CORPUS = 2_000
_VARIES = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+|'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True)
class Target:
    """One decoder. `seeds` are inputs it takes; `run` answers what became of one input, in words, and raises on a bug."""

    name: str
    about: str
    seeds: Sequence[bytes]
    run: Callable[[bytes], str]
    bend: Bend = bend


@dataclass
class Report:
    """What a run came to."""

    target: str
    inputs: int = 0
    taken: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


class FuzzFailure(AssertionError):
    """An input that broke the decoder; `raw` reproduces it."""

    def __init__(self, target: str, raw: bytes, cause: BaseException) -> None:
        super().__init__(f"{target}: {type(cause).__name__}: {cause}\ninput ({len(raw)} bytes): {raw[:2000].hex()}")
        self.raw = raw


def fuzz(target: Target, inputs: int, seed: int, more: Callable[[], bool] = lambda: True) -> Report:
    """Run `inputs` inputs, the seeds first, or fewer when `more` says so. Raises FuzzFailure."""
    draw = random.Random(f"{target.name}/{seed}")
    corpus = list(target.seeds)
    report = Report(target.name)
    for number in range(inputs):
        if number < len(target.seeds):
            raw = target.seeds[number]
        else:
            raw = target.bend(draw.choice(corpus if draw.random() < 0.5 else target.seeds), draw, corpus)
        try:
            outcome = target.run(raw)
        except Exception as error:
            raise FuzzFailure(target.name, raw, error) from error
        report.inputs += 1
        report.taken += "taken" in outcome
        word = _VARIES.sub("#", outcome)[:80]
        if word not in report.outcomes and len(corpus) < MOST_CORPUS:
            corpus.append(raw)
        report.outcomes[word] = report.outcomes.get(word, 0) + 1
        if number % 256 == 255 and not more():
            break
    return report
