"""Profile `typical`: is the text as likely as text of the declared sampler is? It needs no help from the node.

Under honest sampling ln p + H is a martingale difference with variance V, whatever the prompt, the model or the
temperature. What a node may do about its seed is not seen: a cached reply of the right model is typical. Formulas:
section 4 of `docs/verification.md`.
"""

from collections.abc import Sequence
from hashlib import sha256
from math import exp, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from abci_app.verifier.evidence import millinats, mixture
from abci_app.verifier.sampler import TIE, Matrix, is_filtered, kept, weights_of
from network.chain_records import UNIT
from network.inference import Sampling

# Exponents 1 + s of the distributions bet on: temperatures of 2, 1.25, 0.8, 0.5, 0.25 times the declared one, and greedy.
TILTS = np.array((-0.5, -0.2, 0.25, 1.0, 3.0, 20.0))
END_ODDS = (0.05, 20.0)  # odds of ending here, against the reference's, that are bet on
STRAY_EXPECTED = 0.002  # bound on the share of honest tokens that rounding puts outside the nucleus
STRAY_SHARES = (0.05, 0.3)  # shares that are bet on
STRAY_PROBABILITY = 1e-5
FREE = 3.0  # standard deviations that cost no credit
_Array = NDArray[np.float64]


class Statistics(NamedTuple):
    """What the tests say of one reply: `z` is N(0, 1) under honesty, `cramer_von_mises` exceeds 0.743 once in a hundred."""

    z: float
    cramer_von_mises: float
    least_tail: float
    end_z: float
    strays: int


class TypicalJudge:
    """One reply's sums while its positions come in; its temperature is above 0.

    `key` are 32 bytes that the node did not know when it answered: they break ties of the rank test.
    """

    def __init__(self, sampling: Sampling, key: bytes, end_tokens: Sequence[int]) -> None:
        assert sampling.temperature_milli > 0
        self._sampling = sampling
        self._key = key
        self._ends = np.array(end_tokens, dtype=np.intp)
        self._count = 0
        self._deviation = self._variance = 0.0
        self._end_deviation = self._end_variance = 0.0
        self._tilted = np.zeros(len(TILTS))
        self._ended = [0.0] * len(END_ODDS)
        self._strays = 0
        self._least_tail = 1.0
        self._ranks: list[float] = []

    def add(self, logits: Matrix, tokens: Sequence[int]) -> None:
        """Judge the next answer positions: one row of logits and one emitted token each."""
        for row, token in zip(logits, tokens, strict=True):
            support, chances = self._distribution(row, token)
            place = np.flatnonzero(support == token)
            self._add_end(support, np.exp(chances), token)
            self._add_moments(chances, float(chances[place[0]]) if len(place) else None)
            self._count += 1

    def statistics(self) -> Statistics:
        """The tests of this reply, each by itself."""
        ranks, n = np.sort(self._ranks), max(1, len(self._ranks))
        middles = (2 * np.arange(1, len(ranks) + 1) - 1) / (2 * n)
        w2 = 1 / (12 * n) + float(((middles - ranks) ** 2).sum())
        end = self._end_deviation / sqrt(self._end_variance) if self._end_variance else 0.0
        return Statistics(self._z(), w2, self._least_tail, end, self._strays)

    def evidence(self) -> float:
        """ln of the e-value: the mean of four bets, on another temperature, another end, an unlikely token, and strays."""
        clean = self._count - self._strays
        stray = [
            self._strays * log(share / STRAY_EXPECTED) + clean * log((1 - share) / (1 - STRAY_EXPECTED))
            for share in STRAY_SHARES
        ]
        # Half the inverse root of a p-value is an e-value; max_tokens bounds how often the least tail was drawn.
        tail = max(1e-300, min(1.0, self._sampling.max_tokens * self._least_tail))
        bets = (mixture(self._tilted.tolist()), mixture(self._ended), mixture(stray), log(0.5) - 0.5 * log(tail))
        return mixture(bets)

    def score(self) -> tuple[int, int]:
        """(credit in 1e-9: perplexity against the expected one, three standard deviations free; evidence in millinats)."""
        beyond = max(0.0, abs(self._z()) - FREE) * sqrt(self._variance) / self._count
        return round(UNIT * exp(-beyond)), millinats(self.evidence())

    def _z(self) -> float:
        return self._deviation / sqrt(self._variance) if self._variance else 0.0

    def _distribution(self, row: Matrix, token: int) -> tuple[NDArray[np.intp], _Array]:
        """Token ids and log-probabilities of what the declared sampler could have drawn here."""
        temperature = self._sampling.temperature_milli / 1000
        if not is_filtered(self._sampling):
            support = np.arange(len(row))
        else:
            left = kept(weights_of(row, self._sampling), self._sampling)
            support = left.order[: left.exact]
            if token not in support and (token in left.order[: left.most] or row[token] >= row[support[-1]] - TIE):
                support = np.append(support, token)
        scaled = row[support].astype(np.float64) / temperature
        return support, scaled - _log_sum(scaled)

    def _add_moments(self, chances: _Array, chance: float | None) -> None:
        probabilities = np.exp(chances)
        entropy = -float(probabilities @ chances)
        self._variance += max(0.0, float(probabilities @ (chances * chances)) - entropy * entropy)
        if chance is None:
            self._strays += 1
            self._deviation += log(STRAY_PROBABILITY) + entropy
            return
        self._deviation += chance + entropy
        self._tilted += TILTS * chance - np.array([_log_sum((1 + tilt) * chances) for tilt in TILTS])
        slack = TIE / (self._sampling.temperature_milli / 1000)
        self._least_tail = min(self._least_tail, float(probabilities[chances <= chance + slack].sum()))
        above = float(probabilities[chances > chance].sum())
        self._ranks.append(above + self._tie_break() * exp(chance))

    def _add_end(self, support: NDArray[np.intp], probabilities: _Array, token: int) -> None:
        """Bet that this answer ends sooner, or later, than the reference would."""
        chance = min(1.0, float(probabilities[np.isin(support, self._ends)].sum()))
        ended = token in self._ends
        self._end_deviation += ended - chance
        self._end_variance += chance * (1 - chance)
        for index, odds in enumerate(END_ODDS):
            self._ended[index] += (log(odds) if ended else 0.0) - log(1 - chance + odds * chance)

    def _tie_break(self) -> float:
        digest = sha256(self._key + self._count.to_bytes(4, "big")).digest()
        return int.from_bytes(digest[:8], "big") / 2.0**64


def _log_sum(values: _Array) -> float:
    """ln of the sum of exponentials."""
    top = float(values.max())
    return top + log(float(np.exp(values - top).sum()))
