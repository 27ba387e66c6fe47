"""Profile `paper`: how plausible is the text? The published credit, 1 / perplexity; section 8 of `docs/verification.md`."""

from collections.abc import Sequence
from math import exp, log

import numpy as np

from abci_app.verifier.sampler import Matrix
from network.chain_records import UNIT
from network.chain_tx import EVIDENCE_OFFSET

RANKS, FLOOR = 50, 1e-5


class PaperJudge:
    """One reply's log-probability at temperature 1, with the published floor outside the top 50."""

    def __init__(self) -> None:
        self.log_probability = 0.0
        self._count = 0

    def add(self, logits: Matrix, tokens: Sequence[int]) -> None:
        """Add ln p of the next emitted tokens: one row of logits each."""
        for row, token in zip(logits, tokens, strict=True):
            top = float(row.max())
            listed = int((row > row[token]).sum()) < RANKS
            total = float(np.exp(row - row.max()).sum(dtype=np.float64))
            self.log_probability += float(row[token]) - top - log(total) if listed else log(FLOOR)
        self._count += len(tokens)

    def score(self) -> tuple[int, int]:
        """(1 / perplexity in 1e-9, neutral evidence)."""
        return min(UNIT, round(UNIT * exp(self.log_probability / self._count))), EVIDENCE_OFFSET
