"""What this node has itself seen of each model node: does it hold what it claims, and answer when predicted?

A node that claims prefixes it lacks shows as fewer cached tokens and a later first token than predicted; its claims then
weigh less here. Only own observations count: nobody's word about a third node is asked. Old experience fades, so a node
that has mended, or was wronged by one bad minute, is tried again.
"""

from dataclasses import dataclass

SAMPLE_WEIGHT = 1 / 4
FADE_HALF_LIFE_S = 300.0
MIN_CONFIDENCE = 0.05
MAX_SLOWNESS = 8.0
# A prefix nobody has used for this long counts half: the engine may have evicted it without a word.
AGE_HALF_LIFE_S = 1800.0


@dataclass(slots=True)
class _Seen:
    confidence: float = 1.0
    slowness: float = 1.0
    at: float = 0.0


class Experience:
    """Confidence in [0.05, 1] scales a node's claimed prefix; slowness in [1, 8] scales its predicted first token."""

    def __init__(self) -> None:
        self._seen: dict[bytes, _Seen] = {}

    def confidence(self, node: bytes, now: float) -> float:
        """The share of a claimed prefix that has turned out to be cached."""
        seen = self._seen.get(node)
        return 1.0 if seen is None else _faded(seen.confidence, now - seen.at)

    def slowness(self, node: bytes, now: float) -> float:
        """By how much the first token came later than predicted; never below 1."""
        seen = self._seen.get(node)
        return 1.0 if seen is None else max(1.0, _faded(seen.slowness, now - seen.at))

    def saw_cache(self, node: bytes, predicted_tokens: int, cached_tokens: int, now: float) -> None:
        """One answer: how many prompt tokens we thought cached, and how many were."""
        if predicted_tokens <= 0:
            return
        seen = self._brought_up_to(node, now)
        share = min(1.0, cached_tokens / predicted_tokens)
        seen.confidence = max(MIN_CONFIDENCE, seen.confidence + (share - seen.confidence) * SAMPLE_WEIGHT)

    def saw_first_token(self, node: bytes, predicted_s: float, measured_s: float, now: float) -> None:
        """One answer: when we thought the first token would come, and when it came."""
        if predicted_s <= 0 or measured_s <= 0:
            return
        seen = self._brought_up_to(node, now)
        ratio = min(MAX_SLOWNESS, max(1 / MAX_SLOWNESS, measured_s / predicted_s))
        seen.slowness += (ratio - seen.slowness) * SAMPLE_WEIGHT

    def forget(self, node: bytes) -> None:
        """Drops what was seen of a node that has left."""
        self._seen.pop(node, None)

    def _brought_up_to(self, node: bytes, now: float) -> _Seen:
        seen = self._seen.setdefault(node, _Seen(at=now))
        seen.confidence = _faded(seen.confidence, now - seen.at)
        seen.slowness = _faded(seen.slowness, now - seen.at)
        seen.at = now
        return seen


def age_discount(age_s: float) -> float:
    """The share of a prefix still expected in the engine after `age_s` seconds without use."""
    return float(0.5 ** (max(0.0, age_s) / AGE_HALF_LIFE_S))


def _faded(value: float, age_s: float) -> float:
    """A value on its way back to 1."""
    return 1.0 + (value - 1.0) * float(0.5 ** (max(0.0, age_s) / FADE_HALF_LIFE_S))
