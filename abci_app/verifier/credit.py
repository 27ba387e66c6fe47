"""From a reply's tokens and the reference's logits to a score: the two profiles. Floats end here.

`seeded` asks whether the tokens are those that the published model and the seed in the request's nonce give; `paper` asks
how plausible the text is. Formulas and calibration: sections 3 and 4 of `docs/verification.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from network.chain_records import UNIT
from network.chain_tx import EVIDENCE_OFFSET
from network.inference import Sampling

Matrix = NDArray[np.float32]
SEEDED, PAPER = "seeded", "paper"
PROFILES = (SEEDED, PAPER)

# Calibrated by `evals/verification` on the honest half of its answers; the other half is the test.
DEAD_ZONE = 0.02  # CDF distance that rounding in the engine may cause, at T = 1; 1/T times that below
FULL_DISTANCE = 0.25  # CDF distance that counts as a whole surprise
TIE = 0.02  # logits this close may stand in either order in a sorted distribution
NUCLEUS_SLACK = 0.004  # cumulated probability this close to top_p may fall on either side
GREEDY_DEAD_ZONE, GREEDY_FULL = 0.1, 3.0  # the same two in logits, for temperature 0
EXPECTED = 0.002  # bound on an honest token's mean surprise
STAKES = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
NEUTRAL = 3.0  # evidence in nats at which the credit is one half
PAPER_RANKS, PAPER_FLOOR = 50, 1e-5


@dataclass(slots=True)
class Judgement:
    """A reply's score while its positions come in; `surprises` are in [0, 1], `log_probability` is the paper's."""

    surprises: list[float] = field(default_factory=list)
    log_probability: float = 0.0

    def evidence(self) -> float:
        """ln of the e-value: the mean over stakes of the wealth of betting against the node, token by token."""
        logs = [sum(log(1 + stake * (x - EXPECTED)) for x in self.surprises) for stake in STAKES]
        top = max(logs)
        return top + log(sum(exp(value - top) for value in logs) / len(logs))


def uniforms(seed: int, count: int) -> NDArray[np.float64]:
    """The numbers that the engine's sampler draws (`llamacpp-mt19937-v1`): std::mt19937, two words per 53-bit double."""
    words = np.random.RandomState(seed).randint(0, 2**32, size=2 * count, dtype=np.uint32).astype(np.float64)
    result: NDArray[np.float64] = (words[0::2] + words[1::2] * 2.0**32) / 2.0**64
    return result


def add_seeded(judgement: Judgement, logits: Matrix, tokens: Sequence[int], drawn: Sequence[float], sampling: Sampling) -> None:
    """Score some consecutive answer positions: one row of logits, one emitted token and one drawn number each."""
    temperature = sampling.temperature_milli / 1000
    for row, token, number in zip(logits, tokens, drawn, strict=True):
        if temperature == 0:
            gap = float(row.max() - row[token])
            judgement.surprises.append(_clipped(gap, GREEDY_DEAD_ZONE, GREEDY_FULL))
        else:
            distance = _distance(row, token, number, sampling)
            judgement.surprises.append(_clipped(distance, DEAD_ZONE / min(1.0, temperature), FULL_DISTANCE))


def add_paper(judgement: Judgement, logits: Matrix, tokens: Sequence[int]) -> None:
    """Add ln p of each emitted token at temperature 1, with the published floor outside the top 50."""
    for row, token in zip(logits, tokens, strict=True):
        top = float(row.max())
        listed = int((row > row[token]).sum()) < PAPER_RANKS
        total = float(np.exp(row - row.max()).sum(dtype=np.float64))
        judgement.log_probability += float(row[token]) - top - log(total) if listed else log(PAPER_FLOOR)


def seeded_score(judgement: Judgement) -> tuple[int, int]:
    """(credit in 1e-9, evidence in millinats with its offset); both rounded to nearest."""
    evidence = judgement.evidence()
    credit = 1 / (1 + exp(min(evidence - NEUTRAL, 700.0)))
    millinats = max(1 - EVIDENCE_OFFSET, min(EVIDENCE_OFFSET, round(1000 * evidence)))
    return round(UNIT * credit), millinats + EVIDENCE_OFFSET


def paper_score(judgement: Judgement, count: int) -> tuple[int, int]:
    """(1 / perplexity in 1e-9, neutral evidence)."""
    return min(UNIT, round(UNIT * exp(judgement.log_probability / count))), EVIDENCE_OFFSET


def _clipped(value: float, dead: float, full: float) -> float:
    return min(max(value - dead, 0.0) / full, 1.0)


def _distance(row: Matrix, token: int, number: float, sampling: Sampling) -> float:
    """How far the drawn number lies outside the emitted token's interval of the sampler's cumulative distribution.

    The engine divides by the temperature, then keeps the top_k, then the top_p most likely, then draws. Without the two
    filters it cumulates in token order, with them from the most likely token down.
    """
    weights = np.exp((row - row.max()) / np.float32(sampling.temperature_milli / 1000))
    if not sampling.top_k and sampling.top_p_milli in (0, 1000):
        total = float(weights.sum(dtype=np.float64))
        low = float(weights[:token].sum(dtype=np.float64))
        return _outside(number, low / total, (low + float(weights[token])) / total)
    return min(_sorted_distance(row, weights, token, number, kept) for kept in _kept(weights, sampling))


def _kept(weights: Matrix, sampling: Sampling) -> list[NDArray[np.intp]]:
    """The tokens that top_k, then top_p leave, most likely first: one list, or several where rounding may decide."""
    order = np.argsort(-weights, kind="stable")
    if sampling.top_k:
        order = order[: sampling.top_k]
    if sampling.top_p_milli in (0, 1000):
        return [order]
    cumulated = np.cumsum(weights[order], dtype=np.float64)
    nucleus = sampling.top_p_milli / 1000
    places = [nucleus - NUCLEUS_SLACK, nucleus, nucleus + NUCLEUS_SLACK]
    sizes = [int(np.searchsorted(cumulated / cumulated[-1], place)) + 1 for place in places]
    return [order[:size] for size in sorted(dict.fromkeys(min(size, len(order)) for size in sizes))]


def _sorted_distance(row: Matrix, weights: Matrix, token: int, number: float, kept: NDArray[np.intp]) -> float:
    """The distance in a distribution cumulated from the most likely token down; near-ties may stand in either order."""
    if token not in kept:
        return 1.0
    logits, share = row[kept], weights[kept].astype(np.float64)
    total = float(share.sum())
    low = float(share[logits > row[token] + TIE].sum())
    high = float(share[logits >= row[token] - TIE].sum())
    return _outside(number, low / total, high / total)


def _outside(number: float, low: float, high: float) -> float:
    return max(0.0, low - number, number - high)
