"""Prometheus figures of the group's terms: which generations have any, and what came of those that were offered."""

from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from network.hrtree.sentry import Sentry
from network.hrtree.terms_book import TermsBook

EVENTS = ("issued", "taken", "unknown-issuer", "churn", "garbage", "signature", "foreign-group")
PREFIX = "planetserve_group_terms"


class TermsMetrics(Collector):
    """The book's plain counts, turned into Prometheus families when scraped."""

    def __init__(self, book: TermsBook, sentry: Sentry, registry: CollectorRegistry | None = None) -> None:
        self._book = book
        self._sentry = sentry
        (registry or REGISTRY).register(self)

    def describe(self) -> list[Metric]:
        """Nothing: asked at registration, when nothing is known yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """What a scrape shows."""
        text = "Terms issued, taken from others, and refused, by reason."
        events = CounterMetricFamily(PREFIX, text, labels=["event"])
        for event in EVENTS:
            events.add_metric([event], self._book.counts[event])
        yield events
        text = "1 when the terms of a generation are held: the present one, and the next."
        held = GaugeMetricFamily(f"{PREFIX}_held", text, labels=["generation"])
        for name, number in (("present", self._book.generation), ("next", self._book.generation + 1)):
            held.add_metric([name], float(self._book.held(number) is not None))
        yield held
        yield GaugeMetricFamily(f"{PREFIX}_sentry_counters", "Prefixes that the Sentry counts.", value=len(self._sentry))
