"""What this node has itself seen of each model node: does it hold what it claims, and answer when predicted?

A node that claims prefixes it lacks shows as fewer cached tokens than claims of that age are worth elsewhere; one that is
busier than it says as a later first token than predicted. Its claims, or its speed, then weigh less here. Only own
observations count: nobody's word about a third node is asked. Old experience fades, so a node that has mended, or was wronged
by one bad minute, is tried again.
"""

from dataclasses import dataclass, field

from serving_node.survival import Survival

# An engine recomputes the last token, and whole blocks of 16: a shortfall up to this is no eviction.
SHORTFALL_TOKENS = 32
SAMPLE_WEIGHT = 1 / 4
FADE_HALF_LIFE_S = 300.0
MIN_CONFIDENCE = 0.05
MAX_SLOWNESS = 64.0
# One answer cannot tell more than this of how much sooner than predicted a node is.
LEAST_RATIO = 1 / 8
# Below this confidence a node's misses are its own, and no evidence of how long caches last.
DOUBTED = 0.5
# Every curve leans on that of all nodes; that one moves slowly.
SETTLE_ANSWERS = 16


@dataclass(slots=True)
class _Seen:
    confidence: float = 1.0
    slowness: float = 1.0
    word: float = 1.0
    at: float = 0.0
    survival: Survival = field(default_factory=Survival)


class Experience:
    """Confidence in [0.05, 1] and survival scale a node's claimed prefix, slowness in [1, 64] its predicted first token."""

    def __init__(self) -> None:
        self._seen: dict[bytes, _Seen] = {}
        self._all = Survival()
        self._learned = 0
        self._usual: tuple[float, float] | None = None

    def confidence(self, node: bytes, now: float) -> float:
        """The share of a claimed prefix that has turned out to be cached."""
        seen = self._seen.get(node)
        return 1.0 if seen is None else _faded(seen.confidence, now - seen.at)

    def slowness(self, node: bytes, now: float) -> float:
        """By how much the first token came later than predicted, beyond what is usual among peers; never below 1."""
        seen = self._seen.get(node)
        if seen is None:
            return 1.0
        return max(1.0, _faded(seen.slowness, now - seen.at) / self._usual_slowness(now))

    def word(self, node: bytes, now: float) -> float:
        """What a node's own word about its cached tokens has been worth: 1 where the clock never spoke against it."""
        seen = self._seen.get(node)
        return 1.0 if seen is None else _faded(seen.word, now - seen.at)

    def saw_word(self, node: bytes, kept: bool, now: float) -> None:
        """The clock has agreed with a node's word about its cache, or not."""
        seen = self._brought_up_to(node, now)
        seen.word = max(MIN_CONFIDENCE, seen.word + (kept - seen.word) * SAMPLE_WEIGHT)

    def survival(self, node: bytes, age_s: float) -> float:
        """The share of a prefix of this age that an honest node with this one's cache would still hold."""
        seen = self._seen.get(node)
        return (seen.survival if seen else self._all).chance(age_s)

    def seen(self, node: bytes, now: float, age_s: float) -> tuple[float, float, float]:
        """Confidence, slowness, and the survival of a claim of this age, in one look: a decision asks for every node."""
        seen = self._seen.get(node)
        if seen is None:
            return 1.0, 1.0, self._all.chance(age_s)
        fade = 0.5 ** ((now - seen.at) / FADE_HALF_LIFE_S) if now > seen.at else 1.0
        slowness = (1.0 + (seen.slowness - 1.0) * fade) / self._usual_slowness(now)
        return 1.0 + (seen.confidence - 1.0) * fade, slowness if slowness > 1.0 else 1.0, seen.survival.chance(age_s)

    def _usual_slowness(self, now: float) -> float:
        """What the median node is late by: the same for all candidates of one decision, so asked once. Never below 1."""
        if self._usual is None or self._usual[0] != now:
            everybody = sorted(_faded(each.slowness, now - each.at) for each in self._seen.values())
            self._usual = (now, max(1.0, everybody[(len(everybody) - 1) // 2]) if len(everybody) > 1 else 1.0)
        return self._usual[1]

    def saw_cache(self, node: bytes, claimed_tokens: int, cached_tokens: int, now: float, age_s: float = 0.0) -> None:
        """One answer: how many prompt tokens were claimed, how long ago, and how many were cached."""
        if claimed_tokens <= 0:
            return
        seen = self._brought_up_to(node, now)
        share = min(1.0, cached_tokens / claimed_tokens)
        # What age explains is no lie: an old claim that is gone says little about the node, a fresh one much.
        expected = seen.survival.chance(age_s)
        surprise = (share - expected * seen.confidence) * expected
        seen.confidence = min(1.0, max(MIN_CONFIDENCE, seen.confidence + surprise * SAMPLE_WEIGHT))
        self._learn(seen, age_s, share)

    def _learn(self, seen: _Seen, age_s: float, share: float) -> None:
        """Fits the curves. A claim far beyond belief is the claimant's doing, and teaches nothing about caches."""
        if seen.confidence < DOUBTED:
            return
        self._all.saw(age_s, share)
        seen.survival.saw(age_s, share)
        self._learned += 1
        if self._learned % SETTLE_ANSWERS == 0:
            for other in self._seen.values():
                other.survival.settle()

    def saw_first_token(self, node: bytes, predicted_s: float, measured_s: float, now: float) -> None:
        """One answer: when we thought the first token would come, and when it came."""
        if predicted_s <= 0 or measured_s <= 0:
            return
        seen = self._brought_up_to(node, now)
        ratio = min(MAX_SLOWNESS, max(LEAST_RATIO, measured_s / predicted_s))
        # The geometric mean: a queue that scatters both ways makes nobody slow.
        seen.slowness *= (ratio / seen.slowness) ** SAMPLE_WEIGHT

    def forget(self, node: bytes) -> None:
        """Drops what was seen of a node that has left."""
        self._seen.pop(node, None)
        self._usual = None

    def _brought_up_to(self, node: bytes, now: float) -> _Seen:
        self._usual = None
        seen = self._seen.setdefault(node, _Seen(at=now, survival=Survival(self._all)))
        seen.confidence = _faded(seen.confidence, now - seen.at)
        seen.slowness = _faded(seen.slowness, now - seen.at)
        seen.word = _faded(seen.word, now - seen.at)
        seen.at = now
        return seen


def _faded(value: float, age_s: float) -> float:
    """A value on its way back to 1."""
    return 1.0 + (value - 1.0) * float(0.5 ** (max(0.0, age_s) / FADE_HALF_LIFE_S))
