"""Profile `seeded`: are these the tokens that the published model and the seed in the request's nonce give?

Scheme `llamacpp-mt19937-v1`. Formulas: section 4 of `docs/verification.md`; calibration: section 8.
"""

from collections.abc import Sequence
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from abci_app.verifier.evidence import millinats, mixture
from abci_app.verifier.sampler import TIE, Matrix, is_filtered, kept, weights_of
from network.chain_records import UNIT
from network.inference import Sampling

SCHEME = "llamacpp-mt19937-v1"
# Calibrated by `evals/verification` on the honest half of its answers; the other half is the test.
DEAD_ZONE = 0.02  # CDF distance that rounding in the engine may cause, at T = 1; 1/T times that below
FULL_DISTANCE = 0.25  # CDF distance that counts as a whole surprise
GREEDY_DEAD_ZONE, GREEDY_FULL = 0.1, 3.0  # the same two in logits, for temperature 0
EXPECTED = 0.002  # bound on an honest token's mean surprise
STAKES = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
NEUTRAL = 3.0  # evidence in nats at which the credit is one half


class SeededJudge:
    """One reply's surprises, in [0, 1], while its positions come in. `count` tokens were sampled with `seed`."""

    def __init__(self, sampling: Sampling, seed: int, count: int) -> None:
        self.surprises: list[float] = []
        self._sampling = sampling
        self._drawn = uniforms(seed, count)

    def add(self, logits: Matrix, tokens: Sequence[int]) -> None:
        """Score the next answer positions: one row of logits and one emitted token each."""
        temperature = self._sampling.temperature_milli / 1000
        for row, token in zip(logits, tokens, strict=True):
            if temperature == 0:
                gap = float(row.max() - row[token])
                surprise = _clipped(gap, GREEDY_DEAD_ZONE, GREEDY_FULL)
            else:
                distance = _distance(row, token, float(self._drawn[len(self.surprises)]), self._sampling)
                surprise = _clipped(distance, DEAD_ZONE / min(1.0, temperature), FULL_DISTANCE)
            self.surprises.append(surprise)

    def evidence(self) -> float:
        """ln of the e-value: the mean over stakes of the wealth of betting against the node, token by token."""
        return mixture([sum(log(1 + stake * (x - EXPECTED)) for x in self.surprises) for stake in STAKES])

    def score(self) -> tuple[int, int]:
        """(credit in 1e-9, evidence in millinats with its offset); both rounded to nearest."""
        evidence = self.evidence()
        return round(UNIT / (1 + exp(min(evidence - NEUTRAL, 700.0)))), millinats(evidence)


def uniforms(seed: int, count: int) -> NDArray[np.float64]:
    """The numbers that the engine's sampler draws (`llamacpp-mt19937-v1`): std::mt19937, two words per 53-bit double."""
    words = np.random.RandomState(seed).randint(0, 2**32, size=2 * count, dtype=np.uint32).astype(np.float64)
    result: NDArray[np.float64] = (words[0::2] + words[1::2] * 2.0**32) / 2.0**64
    return result


def _clipped(value: float, dead: float, full: float) -> float:
    return min(max(value - dead, 0.0) / full, 1.0)


def _distance(row: Matrix, token: int, number: float, sampling: Sampling) -> float:
    """How far the drawn number lies outside the emitted token's interval of the sampler's cumulative distribution.

    The engine divides by the temperature, then keeps the top_k, then the top_p most likely, then draws. Without the two
    filters it cumulates in token order, with them from the most likely token down.
    """
    weights = weights_of(row, sampling)
    if not is_filtered(sampling):
        total = float(weights.sum(dtype=np.float64))
        low = float(weights[:token].sum(dtype=np.float64))
        return _outside(number, low / total, (low + float(weights[token])) / total)
    left = kept(weights, sampling)
    sizes = sorted({left.least, left.exact, left.most})
    return min(_sorted_distance(row, weights, token, number, left.order[:size]) for size in sizes)


def _sorted_distance(row: Matrix, weights: Matrix, token: int, number: float, left: NDArray[np.intp]) -> float:
    """The distance in a distribution cumulated from the most likely token down; near-ties may stand in either order."""
    if token not in left:
        return 1.0
    logits, share = row[left], weights[left].astype(np.float64)
    total = float(share.sum())
    low = float(share[logits > row[token] + TIE].sum())
    high = float(share[logits >= row[token] - TIE].sum())
    return _outside(number, low / total, high / total)


def _outside(number: float, low: float, high: float) -> float:
    return max(0.0, low - number, number - high)
