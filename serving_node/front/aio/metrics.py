"""Prometheus figures of a front: what became of requests, and how long first bytes took."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving_node.front.door import Door

PREFIX = "planetserve_front_"


class FrontMetrics(Collector):
    """Plain counts, turned into Prometheus families when scraped."""

    def __init__(self, door: Door, registry: CollectorRegistry) -> None:
        self._door = door
        self.requests: Counter[tuple[str, str]] = Counter()
        self.tries: Counter[tuple[str, str]] = Counter()
        self.first_bytes = 0
        self.first_byte_s = 0.0
        self.words = 0
        self.cached_words = 0
        registry.register(self)

    def spoke(self, seconds: float) -> None:
        """The first byte of a stream, `seconds` after its request."""
        self.first_bytes += 1
        self.first_byte_s += seconds

    def served(self, words: int, cached_words: int) -> None:
        """One whole answer of the own engine."""
        self.words += words
        self.cached_words += cached_words

    def collect(self) -> Iterator[Metric]:
        """Every family, for one scrape."""
        requests = CounterMetricFamily(
            PREFIX + "requests", "Requests by outcome and where they went", labels=["outcome", "where"]
        )
        for labels, count in sorted(self.requests.items()):
            requests.add_metric(labels, count)
        yield requests
        tries = CounterMetricFamily(PREFIX + "failed_tries", "Places that did not answer", labels=["place", "fault"])
        for labels, count in sorted(self.tries.items()):
            tries.add_metric(labels, count)
        yield tries
        yield CounterMetricFamily(PREFIX + "first_bytes", "Answers of streams that began", value=self.first_bytes)
        yield CounterMetricFamily(PREFIX + "first_byte_seconds", "Their times to the first byte", value=self.first_byte_s)
        yield CounterMetricFamily(PREFIX + "prompt_words", "Words of 4 bytes that the own engine was asked", value=self.words)
        yield CounterMetricFamily(PREFIX + "cached_words", "Words that it found in its cache", value=self.cached_words)
        yield GaugeMetricFamily(PREFIX + "inside", "Requests at the own engine", value=self._door.inside)
