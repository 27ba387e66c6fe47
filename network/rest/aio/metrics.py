"""What the operator of a gateway sees."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class RestMetrics:
    """The gateway's Prometheus metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "planetserve_rest_requests",
            "Requests answered, by route and HTTP status",
            ["route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram("planetserve_rest_request_seconds", "Time per request", ["route"], registry=self.registry)
        self.in_flight = Gauge("planetserve_rest_in_flight", "Requests being answered", registry=self.registry)
        self.refused = Counter(
            "planetserve_rest_proofs_refused", "Answers of nodes that the light client refused", registry=self.registry
        )
        self.height = Gauge("planetserve_rest_height", "Newest height that was proven", registry=self.registry)
