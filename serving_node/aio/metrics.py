"""A model node's Prometheus figures: vLLM's own names where they exist, ours for the rest."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving_node.admission import Admission
from serving_node.generation import Ended

_TTFT_BUCKETS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)
_E2E_BUCKETS = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)


class ServingMetrics:
    """Counts what one node answered and refused."""

    def __init__(self, model: str, registry: CollectorRegistry) -> None:
        def counter(name: str, words: str) -> Counter:
            return Counter(name, words, ["model_name"], registry=registry).labels(model)

        def histogram(name: str, words: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, words, ["model_name"], buckets=buckets, registry=registry).labels(model)

        self._prompt_tokens = counter("vllm:prompt_tokens", "Prompt tokens of answered requests")
        self._generated = counter("vllm:generation_tokens", "Tokens generated")
        self._cache_queries = counter("vllm:prefix_cache_queries", "Prompt tokens looked up in the prefix cache")
        self._cache_hits = counter("vllm:prefix_cache_hits", "Prompt tokens found in the prefix cache")
        self._ttft = histogram("vllm:time_to_first_token_seconds", "From admission to the first text", _TTFT_BUCKETS)
        self._queue = histogram("vllm:request_queue_time_seconds", "From admission to a slot", _TTFT_BUCKETS)
        self._e2e = histogram("vllm:e2e_request_latency_seconds", "From admission to the last token", _E2E_BUCKETS)
        self._running = Gauge("vllm:num_requests_running", "Requests in a slot", ["model_name"], registry=registry)
        self._waiting = Gauge("vllm:num_requests_waiting", "Requests in the queue", ["model_name"], registry=registry)
        self._ends = Counter("planetserve_serving_requests", "Requests by how they ended", ["outcome"], registry=registry)
        self._forward_failures = Counter("planetserve_serving_forward_failures", "Peers that did not answer", registry=registry)
        self._model = model

    def watch(self, admission: Admission) -> None:
        """Read the queue whenever the figures are asked for."""
        self._running.labels(self._model).set_function(lambda: admission.running)
        self._waiting.labels(self._model).set_function(lambda: admission.waiting)

    def answered(self, prompt_tokens: int, ended: Ended, ttft_s: float, queue_s: float, total_s: float) -> None:
        """One whole answer of this node's engine."""
        self.ended("answered")
        self._prompt_tokens.inc(prompt_tokens)
        self._generated.inc(len(ended.token_ids))
        self._cache_queries.inc(prompt_tokens)
        self._cache_hits.inc(ended.cached_tokens)
        self._ttft.observe(ttft_s)
        self._queue.observe(queue_s)
        self._e2e.observe(total_s)

    def ended(self, outcome: str) -> None:
        """One request is over: answered, forwarded, cancelled, or a code of `serving_node/failure.py`."""
        self._ends.labels(outcome).inc()

    def forward_failed(self) -> None:
        """A peer did not answer what was forwarded to it."""
        self._forward_failures.inc()
