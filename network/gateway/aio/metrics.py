"""What a gateway counts. No label says who asked, what was asked, or which circuits carried it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class GatewayMetrics:
    """The gateway's Prometheus metrics, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "planetserve_gateway_requests", "Requests ended, by error code or ok", ["endpoint", "code"], registry=self.registry
        )
        self.retries = Counter(
            "planetserve_gateway_retries", "Second tries before the first token, by code", ["code"], registry=self.registry
        )
        self.tokens = Counter("planetserve_gateway_tokens", "Tokens of proven answers", ["kind"], registry=self.registry)
        self.first_token = Histogram(
            "planetserve_gateway_first_token_seconds", "Time to first token", buckets=SECONDS, registry=self.registry
        )
        self.in_flight = Gauge("planetserve_gateway_in_flight", "Requests being answered", registry=self.registry)
        self.path_sets = Gauge("planetserve_gateway_path_sets_ready", "Path sets built ahead", registry=self.registry)
        self.guards = Gauge("planetserve_gateway_guards_answering", "Guards in use that answer", registry=self.registry)
        self.live_nodes = Gauge("planetserve_gateway_directory_nodes", "Live nodes in the directory", registry=self.registry)
        self.directory_height = Gauge(
            "planetserve_gateway_directory_height", "Height at which the directory was proven", registry=self.registry
        )
