"""From one engine sample to the load factor F = L * Q / C, and the price of an uncached token learned online.

L is the EWMA (7/8 old, 1/8 new) of the time an answer takes, Q the queued tokens, C the measured capacity in tokens per
second. Pure numbers: whoever polls the engine hands them in.
"""

from collections import deque
from dataclasses import dataclass

from network.hrtree.delta import LoadReport

EWMA_WEIGHT = 1 / 8
# Until the first answer: the prefill price of SmolLM2-135M in F16 on one shared core, 140 to 180 tokens a second.
DEFAULT_TOKEN_S = 0.0065
MIN_SAMPLE_TOKENS = 16
# Beyond these a figure is a fault of the engine's metrics, not a measurement.
MOST_REQUESTS, MOST_TOKENS = 2**20, 2**40
MOST_TOKENS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """One sample of the engine's own metrics. `queued_tokens` are prompt tokens not yet prefilled; 0 slots means unknown.

    `cache_tokens` bounds what the engine's prefix cache can hold at all; 0 means unknown. A draining node takes nothing new.
    """

    running: int = 0
    waiting: int = 0
    queued_tokens: int = 0
    capacity_tokens_per_s: float = 0.0
    slots: int = 0
    cache_tokens: int = 0
    draining: bool = False


class Ewma:
    """An exponentially weighted mean: the first sample as it is, then 7/8 old and 1/8 new."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float | None = None

    def add(self, sample: float) -> None:
        """Takes one sample in."""
        self.value = sample if self.value is None else self.value + (sample - self.value) * EWMA_WEIGHT


class Shortest:
    """The least of the last eight samples: an exchange's time is the way, and whatever either end did besides."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=8)

    @property
    def value(self) -> float | None:
        """The least; None before the first sample."""
        return min(self._samples, default=None)

    def add(self, sample: float) -> None:
        """Takes one sample in."""
        self._samples.append(sample)


class PrefillPrice:
    """Seconds per uncached prompt token: decayed seconds over decayed tokens, so that long prompts weigh more."""

    __slots__ = ("_seconds", "_tokens")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._tokens = 0.0

    def add(self, uncached_tokens: int, seconds: float) -> None:
        """One answered prompt: its uncached tokens, and its time to first token without the wait in the queue."""
        if uncached_tokens < MIN_SAMPLE_TOKENS or seconds <= 0:
            return
        self._seconds = self._seconds * (1 - EWMA_WEIGHT) + seconds
        self._tokens = self._tokens * (1 - EWMA_WEIGHT) + uncached_tokens

    @property
    def token_s(self) -> float | None:
        """The learned price; None before the first sample."""
        return self._seconds / self._tokens if self._tokens else None


def load_factor(latency_s: float, queued_tokens: float, capacity_tokens_per_s: float) -> float:
    """F = L * Q / C. A node that has measured no capacity yet has no queue worth comparing: 0."""
    return latency_s * queued_tokens / capacity_tokens_per_s if capacity_tokens_per_s > 0 else 0.0


def slot_wait(report: LoadReport, latency_s: float) -> float:
    """Seconds until a slot frees for one more prompt: 0 while one is free, else (answers waiting + 1) x latency / slots."""
    if not report.slots or report.running + report.waiting < report.slots:
        return 0.0
    return latency_s * (report.running + report.waiting - report.slots + 1) / report.slots


def plausible(load: EngineLoad) -> bool:
    """Whether an engine may have measured this: no negative, infinite or undefined figure, and none beyond any machine."""
    requests = all(0 <= count <= MOST_REQUESTS for count in (load.running, load.waiting, load.slots))
    tokens = all(0 <= count <= MOST_TOKENS for count in (load.queued_tokens, load.cache_tokens))
    return requests and tokens and 0 <= load.capacity_tokens_per_s <= MOST_TOKENS_PER_S


def load_report(load: EngineLoad, latency_s: float | None, token_s: float | None) -> LoadReport:
    """What this node tells its peers. Capacity falls back on the learned prefill price until the engine has measured one."""
    capacity = load.capacity_tokens_per_s or (1 / token_s if token_s else 0.0)
    return LoadReport(
        running=max(0, load.running),
        waiting=max(0, load.waiting),
        slots=max(0, load.slots),
        queued_tokens=max(0, load.queued_tokens),
        capacity_milli=_rounded(capacity * 1_000),
        latency_us=_rounded((latency_s or 0.0) * 1_000_000),
        token_ns=_rounded((token_s or 0.0) * 1_000_000_000),
        draining=int(load.draining),
    )


def _rounded(value: float) -> int:
    """Three significant digits: a change a peer could not act on makes no delta."""
    return int(float(f"{max(0.0, value):.2e}"))
