"""Prometheus figures of the group exchange and of routing: what was decided, predicted, sent, received and refused."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from network.hrtree.delta import REASONS
from serving_node.forwarder import Forwarder
from serving_node.routing import Decision

SYNC_EVENTS = ("deltas", "stale", "gaps", "snapshots", "diverged", "quota", "foreign-space", "ejected")
PREFIX = "planetserve_group_"


class GroupMetrics(Collector):
    """Plain counts, turned into Prometheus families when scraped."""

    def __init__(self, forwarder: Forwarder, registry: CollectorRegistry | None = None) -> None:
        self._forwarder = forwarder
        self.counts: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.decisions: Counter[tuple[str, str]] = Counter()
        (registry or REGISTRY).register(self)

    def decided(self, decision: Decision) -> None:
        """One routing decision."""
        where = "here" if decision.node_id == self._forwarder.own else "forwarded"
        self.decisions[decision.policy, where] += 1

    def served(self, prompt_tokens: int, cached_tokens: int) -> None:
        """One answer of this node's engine."""
        self.counts["served_prompt_tokens"] += prompt_tokens
        self.counts["served_cached_tokens"] += cached_tokens

    def answered(self, decision: Decision, cached_tokens: int) -> None:
        """One answer of a node we forwarded to."""
        self.counts["forwarded_predicted_tokens"] += decision.predicted_cached_tokens
        self.counts["forwarded_cached_tokens"] += cached_tokens

    def deltas_made(self, count: int) -> None:
        """Deltas numbered by a flush."""
        self.counts["deltas_made"] += count

    def sent(self, what: str, size: int) -> None:
        """One message delivered: `what` is posts, acks, hellos or snapshots."""
        self.counts[what + "_sent"] += 1
        self.counts["bytes_sent"] += size

    def received(self, what: str, size: int) -> None:
        """One message taken in."""
        self.counts[what + "_received"] += 1
        self.counts["bytes_received"] += size

    def failed(self) -> None:
        """One exchange that did not succeed."""
        self.counts["exchange_failures"] += 1

    def refused(self, reason: str) -> None:
        """One message dropped."""
        self.refusals[reason] += 1

    def collect(self) -> Iterator[Metric]:
        """Every family, for one scrape."""
        for name in sorted(self.counts):
            yield CounterMetricFamily(PREFIX + name, name.replace("_", " "), value=self.counts[name])
        events = CounterMetricFamily(PREFIX + "sync_events", "Deltas and snapshots of peers by outcome", labels=["event"])
        for event in SYNC_EVENTS:
            events.add_metric([event], self._forwarder.sync.counts[event])
        yield events
        refused = CounterMetricFamily(PREFIX + "refused", "Messages dropped by reason", labels=["reason"])
        for reason, count in sorted(self.refusals.items()):
            refused.add_metric([reason], count)
        yield refused
        decisions = CounterMetricFamily(PREFIX + "decisions", "Routing decisions", labels=["policy", "where"])
        for (policy, where), count in sorted(self.decisions.items()):
            decisions.add_metric([policy, where], count)
        yield decisions
        sync = self._forwarder.sync
        yield GaugeMetricFamily(PREFIX + "tree_nodes", "HR-Tree nodes in memory", value=len(sync.index))
        yield GaugeMetricFamily(PREFIX + "tree_evicted", "HR-Tree nodes evicted for want of room", value=sync.index.evicted())
        yield GaugeMetricFamily(PREFIX + "own_tree_nodes", "HR-Tree nodes this node holds", value=sync.index.held(sync.own))
        yield GaugeMetricFamily(PREFIX + "peers", "Other live model nodes of the group", value=len(sync.replicas))
        behind = sum(replica.behind for replica in sync.replicas.values())
        yield GaugeMetricFamily(PREFIX + "peers_behind", "Peers whose log we do not hold in full", value=behind)
