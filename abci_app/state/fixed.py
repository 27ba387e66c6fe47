"""Fixed-point arithmetic of the ledger: non-negative integers in units of 1e-9, every division rounded down.

Rounding down everywhere makes results independent of the order of operations only where a formula says so; each caller
states its formula. Python's integers do not overflow.
"""

from collections.abc import Sequence

from network.chain_records import UNIT


def ratio(numerator: int, denominator: int) -> int:
    """floor(UNIT * numerator / denominator)."""
    assert numerator >= 0 and denominator > 0
    return UNIT * numerator // denominator


def weighted(*terms: tuple[int, int]) -> int:
    """floor(sum of weight * value / UNIT), one rounding for the whole sum, clamped to UNIT."""
    total = sum(weight * value for weight, value in terms)
    assert total >= 0
    return min(UNIT, total // UNIT)


def mean(values: Sequence[int]) -> int:
    """floor(sum / count) of at least one value."""
    return sum(values) // len(values)


def lower_median(votes: Sequence[tuple[int, int]]) -> int:
    """The smallest value whose (value, power) votes, with all smaller ones, hold at least half of the power.

    With equal powers it is the lower median; with liars below half of the power it lies within the honest votes' range.
    """
    total = sum(power for _, power in votes)
    held = 0
    for value, power in sorted(votes):
        held += power
        if 2 * held >= total:
            return value
    raise AssertionError("a median of no votes")
