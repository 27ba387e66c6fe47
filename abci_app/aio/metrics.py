"""What the operator of a validator sees: Prometheus metrics, and readiness derived from the calls themselves.

CometBFT shows a proposal only to an application that is at the tip: while it replays or syncs, blocks come without one. So
"not catching up" needs no polling of its RPC.
"""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from abci_app.abci.order import CallOrder
from abci_app.application import Application

STALL_SECONDS = 15.0
_BUCKETS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Timings(Collector):
    """Seconds and failures per ABCI method. Plain lists, added up when asked for: with a histogram object, counting a CheckTx
    takes as long as answering it."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def add(self, method: str, seconds: float, failed: bool) -> None:
        """One call took `seconds`."""
        counts = self._counts.get(method)
        if counts is None:
            counts = self._counts[method] = [0] * (len(_BUCKETS) + 1)
            self._sums[method], self._failures[method] = 0.0, 0
        counts[bisect_left(_BUCKETS, seconds)] += 1
        self._sums[method] += seconds
        if failed:
            self._failures[method] += 1

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        seconds = HistogramMetricFamily("planetserve_abci_duration_seconds", "Time per ABCI call", labels=["method"])
        failures = CounterMetricFamily(
            "planetserve_abci_failures", "ABCI calls answered with a failure of ours", labels=["method"]
        )
        for method, counts in self._counts.items():
            up_to = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*map(str, _BUCKETS), "+Inf"), counts, strict=True):
                up_to += count
                buckets.append((bound, up_to))
            seconds.add_metric([method], buckets, self._sums[method])
            failures.add_metric([method], self._failures[method])
        yield seconds
        yield failures


class Observed:
    """Counts the calls of one application. `clock` is monotonic; `order` follows the same calls, if they are checked."""

    def __init__(self, app: Application, name: str, clock: Callable[[], float], order: CallOrder | None = None) -> None:
        self._app = app
        self._name = name
        self._clock = clock
        self._proposed = False
        self._committed_at: float | None = None
        self.registry = CollectorRegistry()
        self._timings = Timings()
        self.registry.register(self._timings)
        height = Gauge("planetserve_app_height", "Latest committed height", registry=self.registry)
        height.set_function(lambda: app.height)
        epoch = Gauge("planetserve_epoch", "Running epoch", registry=self.registry)
        epoch.set_function(lambda: app.running_epoch() or 0)
        if order is not None:
            unseen = Gauge(
                "planetserve_unseen_blocks",
                "Blocks decided since the start of which another round's proposal was shown here",
                registry=self.registry,
            )
            unseen.set_function(lambda: order.unseen)
        self._txs = Counter("planetserve_txs_total", "Transactions in blocks, by code", ["code"], registry=self.registry)

    def observe(self, method: str, seconds: float, failed: bool) -> None:
        """One ABCI call took `seconds`."""
        self._timings.add(method, seconds, failed)
        if method in ("prepare_proposal", "process_proposal"):
            self._proposed = True
        elif method == "commit":
            self._committed_at = self._clock()
            for code, count in Tally(self._app.committed_codes()).items():
                self._txs.labels(str(code)).inc(count)

    def status(self) -> Mapping[str, object]:
        """The document of `GET /status`."""
        reason = self._reason()
        return {
            "name": self._name,
            "role": "validator",
            "ready": not reason,
            "reason": reason,
            "height": self._app.height,
            "epoch": self._app.running_epoch(),
        }

    def _reason(self) -> str:
        if self._committed_at is None:
            return "no block since the start"
        if not self._proposed:
            return "catching up with the chain"
        silent = self._clock() - self._committed_at
        return f"no new block for {silent:.0f} s" if silent > STALL_SECONDS else ""
