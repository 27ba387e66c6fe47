"""What this node believes of each model node of its group: its queue, its prices, the way there, what its claims are worth.

Pure. Built from the reports that peers sign, from own bookings that those reports cannot show yet, and from own experience.
See `docs/forwarding.md` section 5.1.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, sqrt

from network.chain_records import DirectoryEntry
from network.hrtree.delta import LoadReport
from network.hrtree.index import Held
from network.hrtree.sync import Sync
from serving_node.audit import was_hit
from serving_node.bookings import SETTLES_S, Bookings
from serving_node.breaker import Breaker, Fault, State
from serving_node.experience import SHORTFALL_TOKENS, Experience
from serving_node.load_factor import (
    DEFAULT_TOKEN_S,
    EngineLoad,
    Ewma,
    PrefillPrice,
    Shortest,
    load_factor,
    load_report,
    plausible,
    slot_wait,
)
from serving_node.routing import FORWARD_COST_S, Candidate, Decision, predicted_ttft, prefill_tokens

PRICE_RANGE = 4.0
# Price of not knowing whether a prefix is still cached: this share of the standard deviation of the first token's time.
CAUTION = 0.25
WARM_UP_S = 60.0
LEAST_WARMTH = 0.1
# Nodes that start within this time of each other are a group that starts, not newcomers to one.
TOGETHER_MS = 10_000
# Reports are told within this time of a change: what they do not show is at most this old.
STALE_MOST_S = 5.0
LONGEST_LATENCY_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Standing:
    """What follows from one report and our own price: made once per report."""

    report: LoadReport
    ours: float
    token_s: float
    drain_s: float
    slot_s: float
    wait_s: float
    latency_s: float


class Beliefs:
    """Turns a match into candidates, and answers into experience."""

    def __init__(self, own: bytes, sync: Sync, experience: Experience) -> None:
        self.rtt: dict[bytes, Shortest] = {}
        self.experience = experience
        self.bookings = Bookings()
        self.absurd_samples = 0
        self.forward_cost_s = FORWARD_COST_S
        self._breakers: dict[bytes, Breaker] = {}
        self._own = own
        self._sync = sync
        self._load = EngineLoad()
        self._load_at = -inf
        self._latency = Ewma()
        self._price = PrefillPrice()
        self._work = Ewma()
        self._started: float | None = None
        self._standings: dict[bytes, _Standing] = {}
        self._report: LoadReport | None = None

    def candidate(self, entry: DirectoryEntry, held: Held | None, prompt_tokens: int, now: float) -> Candidate:
        """One node with all its numbers, for a prompt of which it claims `held`."""
        node = entry.node_id
        own = node == self._own
        standing = self._standing(node)
        reported_at = self._load_at if own else self._sync.replicas[node].load_at
        # While a slot is free prompts are read one after the other; when a taken slot frees, nobody can tell from outside.
        wait_s = 0.0 if standing.slot_s else standing.wait_s
        shown = standing.report.running + standing.report.waiting
        # Our own load has what we gave our engine; a peer's report may have crossed a prompt on its way.
        crossing_s = 0.0 if own else SETTLES_S
        queue_s, booked = self.bookings.backlog(node, reported_at, wait_s, standing.drain_s, now, shown, crossing_s)
        queue_s += standing.slot_s
        held_tokens, age_s = (held.tokens, now - held.touched) if held is not None else (0, 0.0)
        confidence, slowness, survival = self.experience.seen(node, now, age_s)
        chance = survival * confidence
        expected = min(int(held_tokens * chance), prompt_tokens)
        token_s, rtt_s, travel_s, warmth = standing.token_s, 0.0, 0.0, 1.0
        if own:
            slowness = 1.0
        else:
            rtt_s = self._rtt(node)
            travel_s = rtt_s + self.forward_cost_s
            warmth = self._warmth(node, now)
        return Candidate(
            node,
            own,
            entry.reputation,
            held_tokens,
            expected,
            age_s,
            load_factor(standing.latency_s, standing.report.queued_tokens + booked, 1 / standing.drain_s),
            queue_s,
            rtt_s,
            token_s,
            confidence,
            slowness,
            predicted_ttft(prompt_tokens, expected, travel_s, queue_s, token_s, slowness),
            survival,
            CAUTION * sqrt(chance * (1 - chance)) * held_tokens * token_s if chance < 1 else 0.0,
            warmth,
        )

    def admits(self, node: bytes, now: float) -> bool:
        """Whether a node may get a prompt now: it speaks, is not draining, and its breaker is not open."""
        if node == self._own:
            return True
        replica = self._sync.replicas.get(node)
        if replica is None or not replica.reachable or (replica.load is not None and replica.load.draining):
            return False
        breaker = self._breakers.get(node)
        return breaker is None or breaker.admits(now)

    def breaker(self, node: bytes) -> Breaker:
        """The peer's circuit breaker."""
        return self._breakers.setdefault(node, Breaker())

    def breakers(self, state: State, now: float) -> int:
        """How many peers' breakers are in a state."""
        return sum(breaker.state(now) is state for breaker in self._breakers.values())

    def expected(self, node: bytes, held: Held | None, now: float) -> int:
        """The held tokens we count on: the claim, discounted by age and by what this node's claims were worth."""
        if held is None:
            return 0
        survival = self.experience.survival(node, now - held.touched)
        return int(held.tokens * survival * self.experience.confidence(node, now))

    def unseen_work(self, nodes: Iterable[bytes], now: float) -> float:
        """Seconds of work that other entry points have handed out since the peers' reports, if they go on as they did.

        By Little's law: a node with R prompts in hand that take L seconds each gets R / L a second; ours left out. No node
        counts for more than twice the median, so that nobody can make us believe in a crowd.
        """
        rates: list[float] = []
        age = 0.0
        for node in nodes:
            replica = self._sync.replicas.get(node)
            if replica is None or replica.load is None:
                continue
            standing = self._standing(node)
            others = replica.load.running + replica.load.waiting - self.bookings.open(node)
            rates.append(max(0, others) / standing.latency_s if standing.latency_s else 0.0)
            age += min(STALE_MOST_S, max(0.0, now - replica.load_at))
        if not rates or self._work.value is None:
            return 0.0
        most = 2 * sorted(rates)[len(rates) // 2]
        return sum(min(rate, most) for rate in rates) * age / len(rates) * self._work.value

    def own_report(self) -> LoadReport:
        """What we tell of ourselves."""
        if self._report is None:
            self._report = load_report(self._load, self._latency.value, self._price.token_s)
        return self._report

    def sampled(self, load: EngineLoad, now: float) -> bool:
        """Our engine's newest load. Absurd figures are counted, and the ones before them kept: False."""
        if not plausible(load):
            self.absurd_samples += 1
            return False
        self._load, self._load_at, self._report = load, now, None
        return True

    def served(self, uncached_tokens: int, prefill_s: float, latency_s: float | None) -> None:
        """Our engine has answered: learns the price of a token and how long an answer takes."""
        self._price.add(uncached_tokens, prefill_s)
        if latency_s is not None:
            self._latency.add(latency_s)
        self._report = None

    def saw_rtt(self, node: bytes, seconds: float) -> None:
        """One round trip to a peer."""
        self.rtt.setdefault(node, Shortest()).add(seconds)

    def sent(self, decision: Decision, node: bytes, now: float) -> None:
        """A prompt is on its way to a node, this one included."""
        chosen = decision.candidate(node)
        if chosen is None:
            return
        uncached = max(0, decision.prompt_tokens - chosen.expected_tokens)
        self._work.add(uncached * chosen.token_s)
        self.bookings.settle(decision.id)
        self.bookings.book(decision.id, node, uncached, now)
        if not chosen.own and node in self._breakers:
            self._breakers[node].sent(now)

    def answered(self, decision: Decision, node: bytes, cached_tokens: int, ttft_s: float, now: float) -> None:
        """A peer has answered: compares claim and prediction with what came."""
        self.bookings.settle(decision.id)
        chosen = decision.candidate(node)
        if chosen is None or chosen.own:
            return
        if node in self._breakers:
            self._breakers[node].answered()
        hit = was_hit(chosen, decision.prompt_tokens, ttft_s)
        if hit is not None and cached_tokens > chosen.held_tokens / 2:
            self.experience.saw_word(node, hit, now)
        cached_tokens = int(cached_tokens * self.experience.word(node, now))
        # Compared with the claim, not with the discounted belief: else a liar's next claim would look better and better.
        found = cached_tokens + SHORTFALL_TOKENS if cached_tokens else 0
        self.experience.saw_cache(node, chosen.held_tokens, found, now, chosen.age_s)
        # What its cache lacked is accounted for above; late is what comes later than the tokens it says it had to compute.
        work = prefill_tokens(decision.prompt_tokens, min(cached_tokens, chosen.held_tokens))
        base = chosen.rtt_s + self.forward_cost_s + chosen.queue_s + work * chosen.token_s
        self.experience.saw_first_token(node, base, ttft_s, now)

    def failed(self, decision: Decision, node: bytes, fault: Fault, now: float) -> None:
        """A peer did not answer."""
        self.bookings.settle(decision.id)
        if node != self._own:
            self.breaker(node).failed(fault, now)

    def forget(self, node: bytes) -> None:
        """Drops what was believed of a node that has left."""
        self.rtt.pop(node, None)
        self.bookings.forget(node)
        self._breakers.pop(node, None)
        self._standings.pop(node, None)
        self.experience.forget(node)

    def _standing(self, node: bytes) -> _Standing:
        report = self.own_report() if node == self._own else self._sync.replicas[node].load or _SILENT
        ours = self._price.token_s or DEFAULT_TOKEN_S
        standing = self._standings.get(node)
        if standing is None or standing.report is not report or standing.ours != ours:
            standing = self._standings[node] = _stand(report, ours, own=node == self._own)
        return standing

    def _rtt(self, node: bytes) -> float:
        seen = self.rtt.get(node)
        return seen.value or 0.0 if seen is not None else 0.0

    def _warmth(self, node: bytes, now: float) -> float:
        """The share of new work a node may get: it grows over a minute for one that started well after we did."""
        if self._started is None:
            self._started = now
        later_ms = self._sync.replicas[node].incarnation - self._sync.journal.incarnation
        if later_ms <= TOGETHER_MS:
            return 1.0
        age = now - self._started - later_ms / 1000
        if age >= WARM_UP_S:
            return 1.0
        return max(LEAST_WARMTH, age / WARM_UP_S)


_SILENT = LoadReport()


def _stand(report: LoadReport, ours: float, *, own: bool) -> _Standing:
    """A node's price and speed, held within a factor of 4 of our own: a claim of zero cost attracts nobody."""
    claimed = report.token_ns / 1_000_000_000 or ours
    drain_s = 1000 / report.capacity_milli if report.capacity_milli else claimed
    if not own:
        claimed = min(max(claimed, ours / PRICE_RANGE), ours * PRICE_RANGE)
        drain_s = min(max(drain_s, ours / PRICE_RANGE), ours * PRICE_RANGE)
    latency = min(report.latency_us / 1_000_000, LONGEST_LATENCY_S)
    return _Standing(report, ours, claimed, drain_s, slot_wait(report, latency), report.queued_tokens * drain_s, latency)
