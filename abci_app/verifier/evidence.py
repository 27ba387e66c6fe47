"""E-values as natural logarithms: their mixture, and the integer that the ledger counts.

An e-value is what a bet against honesty has won: its mean under honesty is at most 1, so P(E >= 1/a) <= a.
"""

from collections.abc import Sequence
from math import exp, log

from network.chain_tx import EVIDENCE_OFFSET


def mixture(logs: Sequence[float]) -> float:
    """ln of the mean of e-values given by their logarithms; the mean of e-values is one, however they depend on each other."""
    top = max(logs)
    return top + log(sum(exp(value - top) for value in logs) / len(logs))


def millinats(evidence: float) -> int:
    """Evidence in nats as the ledger's integer: millinats above an offset, at least 1."""
    return max(1 - EVIDENCE_OFFSET, min(EVIDENCE_OFFSET, round(1000 * evidence))) + EVIDENCE_OFFSET
