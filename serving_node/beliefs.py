"""What this node believes of each model node of its group: its queue, its prices, the way there, what its claims are worth.

Pure. Built from the reports that peers sign, from own bookings that those reports cannot show yet, and from own experience.
See `docs/forwarding.md` section 5.1.
"""

from network.chain_records import DirectoryEntry
from network.hrdelta import LoadReport
from network.hrindex import Held
from network.hrsync import Sync
from serving_node.claims import SHORTFALL_TOKENS
from serving_node.experience import Experience, age_discount
from serving_node.load_factor import DEFAULT_TOKEN_S, EngineLoad, Ewma, PrefillPrice, load_factor, load_report, slot_wait
from serving_node.routing import FORWARD_COST_S, Candidate, Decision, predicted_ttft

BOOKING_S = 30.0
BOOKING_SETTLES_S = 1.0
PRICE_RANGE = 4.0


class Beliefs:
    """Turns a match into candidates, and answers into experience."""

    def __init__(self, own: bytes, sync: Sync, experience: Experience) -> None:
        self.rtt: dict[bytes, Ewma] = {}
        self.experience = experience
        self._own = own
        self._sync = sync
        self._load = EngineLoad()
        self._latency = Ewma()
        self._price = PrefillPrice()
        self._bookings: dict[bytes, list[tuple[float, int]]] = {}

    def candidate(self, entry: DirectoryEntry, held: Held | None, prompt_tokens: int, now: float) -> Candidate:
        """One node with all its numbers, for a prompt of which it claims `held`."""
        node = entry.node_id
        own = node == self._own
        report = self.own_report() if own else self._report_of(node)
        token_s = self._token_s(report)
        booked = self._booked(node, now)
        capacity = report.capacity_milli / 1000 or 1 / token_s
        latency = report.latency_us / 1_000_000
        queue_s = booked / capacity + (slot_wait(report, latency) or report.queued_tokens / capacity)
        rtt = self.rtt[node].value if node in self.rtt else None
        slowness = 1.0 if own else self.experience.slowness(node, now)
        expected = min(self.expected(node, held, now), prompt_tokens)
        rtt_s = 0.0 if own else rtt or 0.0
        return Candidate(
            node_id=node,
            own=own,
            reputation=entry.reputation,
            held_tokens=held.tokens if held else 0,
            expected_tokens=expected,
            age_s=round(now - held.touched, 3) if held else 0.0,
            load_factor=load_factor(latency, report.queued_tokens + booked, capacity),
            queue_s=queue_s,
            rtt_s=rtt_s,
            token_s=token_s,
            confidence=self.experience.confidence(node, now),
            slowness=slowness,
            predicted_ttft_s=predicted_ttft(
                prompt_tokens, expected, own=own, rtt_s=rtt_s, queue_s=queue_s, token_s=token_s, slowness=slowness
            ),
        )

    def expected(self, node: bytes, held: Held | None, now: float) -> int:
        """The held tokens we count on: the claim, discounted by age and by what this node's claims were worth."""
        if held is None:
            return 0
        return int(held.tokens * age_discount(now - held.touched) * self.experience.confidence(node, now))

    def own_report(self) -> LoadReport:
        """What we tell of ourselves."""
        return load_report(self._load, self._latency.value, self._price.token_s)

    def sampled(self, load: EngineLoad) -> None:
        """Our engine's newest load."""
        self._load = load

    def served(self, uncached_tokens: int, prefill_s: float, latency_s: float | None) -> None:
        """Our engine has answered: learns the price of a token and how long an answer takes."""
        self._price.add(uncached_tokens, prefill_s)
        if latency_s is not None:
            self._latency.add(latency_s)

    def saw_rtt(self, node: bytes, seconds: float) -> None:
        """One round trip to a peer."""
        self.rtt.setdefault(node, Ewma()).add(seconds)

    def book(self, node: bytes, uncached_tokens: int, now: float) -> None:
        """A prompt is on its way to a peer."""
        self._bookings.setdefault(node, []).append((now, uncached_tokens))

    def settle(self, node: bytes) -> None:
        """One prompt less on its way to a peer."""
        if self._bookings.get(node):
            self._bookings[node].pop(0)

    def answered(self, decision: Decision, cached_tokens: int, ttft_s: float, now: float) -> None:
        """A node we forwarded to has answered: compares claim and prediction with what came."""
        node = decision.node_id
        chosen = next((candidate for candidate in decision.candidates if candidate.node_id == node), None)
        self.settle(node)
        if chosen is None or chosen.own:
            return
        # Compared with the claim, not with the discounted belief: else a liar's next claim would look better and better.
        self.experience.saw_cache(node, chosen.held_tokens, cached_tokens + SHORTFALL_TOKENS, now)
        travel = chosen.rtt_s + FORWARD_COST_S
        base = travel + (chosen.predicted_ttft_s - travel) / chosen.slowness
        self.experience.saw_first_token(node, base, ttft_s, now)

    def forget(self, node: bytes) -> None:
        """Drops what was believed of a node that has left."""
        self.rtt.pop(node, None)
        self._bookings.pop(node, None)
        self.experience.forget(node)

    def _token_s(self, report: LoadReport) -> float:
        """A node's price of a token, held within a factor of 4 of our own: a claim of zero attracts nobody."""
        ours = self._price.token_s or DEFAULT_TOKEN_S
        claimed = report.token_ns / 1_000_000_000 or ours
        return min(max(claimed, ours / PRICE_RANGE), ours * PRICE_RANGE)

    def _report_of(self, node: bytes) -> LoadReport:
        return self._sync.replicas[node].load or LoadReport()

    def _booked(self, node: bytes, now: float) -> int:
        """Tokens we sent to a node that its last report cannot know of yet."""
        replica = self._sync.replicas.get(node)
        seen = replica.load_at - BOOKING_SETTLES_S if replica and replica.load else float("-inf")
        alive = [(at, tokens) for at, tokens in self._bookings.get(node, ()) if at > max(seen, now - BOOKING_S)]
        self._bookings[node] = alive
        return sum(tokens for _, tokens in alive)
