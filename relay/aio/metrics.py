"""What a relay counts, as Prometheus reads it. No label names a circuit, a link or a neighbour."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

DROPPED = "dropped_"


class RelayMetrics(Collector):
    """Reads the core's counters when asked; costs nothing in between."""

    def __init__(
        self, counts: Counter[str], circuits: Callable[[], int], links: Callable[[], int], queued: Callable[[], int]
    ) -> None:
        self._counts = counts
        self._circuits = circuits
        self._links = links
        self._queued = queued

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Every family at its present value."""
        dropped = CounterMetricFamily("planetserve_relay_dropped", "Cells and messages dropped, by reason", labels=["reason"])
        for name, value in sorted(self._counts.items()):
            if name.startswith(DROPPED):
                dropped.add_metric([name.removeprefix(DROPPED)], value)
            else:
                yield CounterMetricFamily(f"planetserve_relay_{name}", f"{name.replace('_', ' ')} so far", value=value)
        yield dropped
        yield GaugeMetricFamily("planetserve_relay_open_circuits", "Circuits through this relay", value=self._circuits())
        yield GaugeMetricFamily("planetserve_relay_open_links", "Links of this relay, both ways", value=self._links())
        yield GaugeMetricFamily("planetserve_relay_queued_cells", "Cells that wait for credit or a link", value=self._queued())
