"""What the operator of a validator sees: Prometheus metrics, and readiness derived from the calls themselves.

CometBFT shows a proposal only to an application that is at the tip: while it replays or syncs, blocks come without one. So
"not catching up" needs no polling of its RPC.
"""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from abci_app.application import Application

STALL_SECONDS = 15.0
_BUCKETS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Observed:
    """Counts the calls of one application. `clock` is monotonic."""

    def __init__(self, app: Application, name: str, clock: Callable[[], float]) -> None:
        self._app = app
        self._name = name
        self._clock = clock
        self._proposed = False
        self._committed_at: float | None = None
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "planetserve_abci_duration_seconds", "Time per ABCI call", ["method"], buckets=_BUCKETS, registry=self.registry
        )
        self._failed = Counter(
            "planetserve_abci_failures_total", "ABCI calls answered with a failure of ours", ["method"], registry=self.registry
        )
        height = Gauge("planetserve_app_height", "Latest committed height", registry=self.registry)
        height.set_function(lambda: app.height)
        epoch = Gauge("planetserve_epoch", "Running epoch", registry=self.registry)
        epoch.set_function(lambda: app.running_epoch() or 0)
        self._txs = Counter("planetserve_txs_total", "Transactions in blocks, by code", ["code"], registry=self.registry)

    def observe(self, method: str, seconds: float, failed: bool) -> None:
        """One ABCI call took `seconds`."""
        self._seconds.labels(method).observe(seconds)
        if failed:
            self._failed.labels(method).inc()
        if method in ("prepare_proposal", "process_proposal"):
            self._proposed = True
        elif method == "commit":
            self._committed_at = self._clock()
            for code in self._app.committed_codes():
                self._txs.labels(str(code)).inc()

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
