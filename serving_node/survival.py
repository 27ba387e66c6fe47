"""How long claimed prefixes last in the engines: the chance that one of a given age is still cached, learned from answers.

Pure. Ages fall into bins that double; every bin remembers, fading, the share of claimed tokens that was found. A node with few
answers is believed to be like the others, and all of them like AGE_HALF_LIFE_S until answers say otherwise.
"""

# Until answers say otherwise a prefix nobody has used for this long counts half.
AGE_HALF_LIFE_S = 1800.0
BINS = 16
# What is gone before this age was hardly evicted: more likely it never was there, and that is the node's, not the cache's.
YOUNG_S = 30.0
# Answers that the belief before them weighs as much as; and how many answers a bin remembers.
PRIOR_ANSWERS = 4.0
REMEMBERED_ANSWERS = 64.0

_PRIOR = tuple(0.5 ** ((1 << at) * 0.75 / AGE_HALF_LIFE_S) if at else 1.0 for at in range(BINS))


class Survival:
    """The curve of one node, resting on `base`: the curve of all nodes, which rests on the prior."""

    __slots__ = ("_answers", "_base", "_curve", "_found")

    def __init__(self, base: "Survival | None" = None) -> None:
        self._base = base
        self._found = [0.0] * BINS
        self._answers = [0.0] * BINS
        self._curve: tuple[float, ...] | None = None

    def chance(self, age_s: float) -> float:
        """The expected share of a prefix, untouched for `age_s` seconds, that is still cached. Never grows with age."""
        curve = self._curve or self._bend()
        return curve[min(int(age_s).bit_length(), BINS - 1)] if age_s > 0 else curve[0]

    def saw(self, age_s: float, share: float) -> None:
        """One answer: `share` of a prefix claimed `age_s` seconds ago was found."""
        age_s = max(0.0, age_s)
        at = min(int(age_s).bit_length(), BINS - 1)
        keep, weight = 1 - 1 / REMEMBERED_ANSWERS, age_s / (age_s + YOUNG_S)
        self._found[at] = self._found[at] * keep + min(1.0, max(0.0, share)) * weight
        self._answers[at] = self._answers[at] * keep + weight
        self._curve = None

    def settle(self) -> None:
        """The base has learned: bend to it at the next question."""
        self._curve = None

    def _bend(self) -> tuple[float, ...]:
        curve = []
        least = 1.0
        for at in range(BINS):
            before = _PRIOR[at] if self._base is None else self._base.chance(float((1 << at) - 1 if at else 0))
            least = min(least, (self._found[at] + PRIOR_ANSWERS * before) / (self._answers[at] + PRIOR_ANSWERS))
            curve.append(least)
        self._curve = tuple(curve)
        return self._curve
