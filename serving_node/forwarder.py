"""The mind of one model node's forwarding: what the group holds, how busy it is, and where the next prompt goes.

Pure: joins the shared index (`network/hrsync.py`), the load figures and the policy. A node whose own directory does not
list it as trusted never forwards: what enters there is answered there, so that a challenge reaches the node it was meant
for, and no user enters there anyway (`docs/forwarding.md` section 5.3).
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from network.chain_records import DirectoryEntry
from network.crypto import SigningKey
from network.directory import Directory
from network.errors import ConfigError
from network.fingerprint import ChunkPlan, generation, pack_tokens
from network.hrdelta import ChangeKind, LoadReport
from network.hrindex import Held, HRIndex
from network.hrsync import MAX_HELD_NODES, Sync
from serving_node.experience import Experience, age_discount
from serving_node.load_factor import DEFAULT_TOKEN_S, EngineLoad, Ewma, PrefillPrice, load_factor, load_report, slot_wait
from serving_node.routing import FORWARD_COST_S, POLICIES, Candidate, Decision, Query, predicted_ttft

# A hit needs this many chunks: one 8-bit symbol alone is right by chance where hundreds of prompts part.
HIT_CHUNKS = 2
# An engine recomputes the last token, and whole blocks of 16: a shortfall up to this is no eviction.
SHORTFALL_TOKENS = 32
REFRESH_S = 60.0
BOOKING_S = 30.0
BOOKING_SETTLES_S = 1.0
OWN_NODES = MAX_HELD_NODES // 2
REMEMBERED_ADMISSIONS = 1024
STALE_ADMISSION_S = 60.0
PRICE_RANGE = 4.0


class Forwarder:
    """Decides for one node, alone, from what it holds in memory. Methods that learn something say so in the past tense."""

    def __init__(
        self,
        own: bytes,
        signing: SigningKey,
        directory: Directory,
        group: str,
        policy: str,
        rng: Callable[[int], bytes],
        incarnation: int,
        plan: ChunkPlan | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise ConfigError(f"routing.policy {policy!r} is unknown; choose one of {', '.join(POLICIES)}")
        self.own = own
        self.group = group
        self.policy = policy
        self.index = HRIndex(directory.record.chain_id, group, plan)
        self.sync = Sync(own, signing, self.index, incarnation)
        self.rtt: dict[bytes, Ewma] = {}
        self.experience = Experience()
        self._rng = rng
        self._turn = 0
        self._load = EngineLoad()
        self._latency = Ewma()
        self._price = PrefillPrice()
        self._bookings: dict[bytes, list[tuple[float, int]]] = {}
        self._admitted: OrderedDict[bytes, tuple[float, int]] = OrderedDict()
        self._directory = directory
        self._entries: dict[bytes, DirectoryEntry] = {}
        self._read(directory)

    @property
    def entries(self) -> dict[bytes, DirectoryEntry]:
        """The live model nodes of the group, this one included, by node id."""
        return self._entries

    def on_directory(self, directory: Directory) -> None:
        """Follows a newer directory: departures are forgotten, fingerprint keys change with the generation."""
        if directory.hash != self._directory.hash:
            self._read(directory)
        self._directory = directory

    def decide(self, tokens: Sequence[int], now: float, *, no_share: bool = False) -> Decision:
        """Where this prompt goes. Books its cost on a chosen peer until that peer's own report shows it."""
        own = self._entries.get(self.own)
        held = {} if no_share else self.index.match(pack_tokens(tokens))
        if own is None or not own.trusted:
            here = self._expected(self.own, held.get(self.own), now)
            reason = "not in the directory" if own is None else "not trusted: answers what enters here, forwards nothing"
            return Decision(self.own, self.policy, here, reason)
        trusted = [entry for entry in self._entries.values() if entry.trusted and self._reachable(entry.node_id)]
        candidates = tuple(self._candidate(entry, held.get(entry.node_id), len(tokens), now) for entry in trusted)
        query = Query(len(tokens), candidates, self.index.plan.tokens(HIT_CHUNKS), self._turn, self._rng)
        self._turn += 1
        chosen, reason = POLICIES[self.policy](query)
        if not chosen.own:
            uncached = max(0, len(tokens) - chosen.expected_tokens)
            self._bookings.setdefault(chosen.node_id, []).append((now, uncached))
        return Decision(chosen.node_id, self.policy, chosen.expected_tokens, reason, candidates, chosen.predicted_ttft_s)

    def admitted(self, tokens: Sequence[int], now: float, *, no_share: bool = False) -> None:
        """This node answers the prompt: its engine is about to hold all of it, and peers may know."""
        packed = pack_tokens(tokens)
        path = self.index.path(packed)
        held = self.index.match(packed).get(self.own)
        # Of two equal prompts at once the second finds the first's claim before the engine holds it: the first view counts,
        # unless it was left behind by an answer that never came.
        if path not in self._admitted or self._admitted[path][0] + STALE_ADMISSION_S < now:
            self._admitted[path] = (now, held.tokens if held else 0)
        if len(self._admitted) > REMEMBERED_ADMISSIONS:
            self._admitted.popitem(last=False)
        if not no_share:
            self._hold(path, held, now)

    def served(
        self,
        tokens: Sequence[int],
        cached_tokens: int,
        ttft_s: float,
        now: float,
        *,
        queue_s: float = 0.0,
        latency_s: float | None = None,
        no_share: bool = False,
    ) -> None:
        """The engine has answered: learns the price of a token, and which claims of ours it had evicted."""
        packed = pack_tokens(tokens)
        _, claimed = self._admitted.pop(self.index.path(packed), (now, 0))
        self._price.add(len(tokens) - cached_tokens, ttft_s - queue_s)
        if latency_s is not None:
            self._latency.add(latency_s)
        if claimed:
            self.experience.saw_cache(self.own, claimed, min(claimed, cached_tokens + SHORTFALL_TOKENS), now)
        if cached_tokens + SHORTFALL_TOKENS < claimed:
            self._drop_beyond(packed, cached_tokens)
        if not no_share:
            self._hold(self.index.path(packed), self.index.match(packed).get(self.own), now)
        self._report()

    def answered(self, decision: Decision, cached_tokens: int, ttft_s: float, now: float) -> None:
        """A node we forwarded to has answered: compares claim and prediction with what came."""
        node = decision.node_id
        chosen = next((candidate for candidate in decision.candidates if candidate.node_id == node), None)
        self._settle(node)
        if chosen is None or chosen.own:
            return
        # Compared with the claim, not with the discounted belief: else a liar's next claim would look better and better.
        self.experience.saw_cache(node, chosen.held_tokens, cached_tokens + SHORTFALL_TOKENS, now)
        travel = chosen.rtt_s + FORWARD_COST_S
        base = travel + (chosen.predicted_ttft_s - travel) / chosen.slowness
        self.experience.saw_first_token(node, base, ttft_s, now)

    def failed(self, decision: Decision) -> None:
        """A node we forwarded to could not be reached, or broke off: nothing is sent its way until it speaks again."""
        self._settle(decision.node_id)
        self.sync.on_silence(decision.node_id)

    def set_load(self, load: EngineLoad, now: float) -> None:
        """The engine's newest sample: told to peers when it differs, and the bound on what we may claim to hold."""
        self._load = load
        self._report()
        self._keep_within(load.cache_tokens)

    def saw_rtt(self, node: bytes, seconds: float) -> None:
        """One round trip to a peer."""
        self.rtt.setdefault(node, Ewma()).add(seconds)

    def _read(self, directory: Directory) -> None:
        self._entries = {entry.node_id: entry for entry in directory.models(self.group, trusted_only=False)}
        members = {node: entry.signing_key for node, entry in self._entries.items() if node != self.own}
        gone = set(self.sync.replicas) - set(members)
        self.sync.set_members(members)
        for node in gone:
            self.rtt.pop(node, None)
            self._bookings.pop(node, None)
            self.experience.forget(node)
        self.index.advance(generation(directory.record.epoch))

    def _candidate(self, entry: DirectoryEntry, held: Held | None, prompt_tokens: int, now: float) -> Candidate:
        node = entry.node_id
        own = node == self.own
        report = self._own_report() if own else self._report_of(node)
        token_s = self._token_s(report)
        booked = self._booked(node, now)
        capacity = report.capacity_milli / 1000 or 1 / token_s
        latency = report.latency_us / 1_000_000
        queue_s = booked / capacity + (slot_wait(report, latency) or report.queued_tokens / capacity)
        rtt = self.rtt[node].value if node in self.rtt else None
        slowness = 1.0 if own else self.experience.slowness(node, now)
        expected = min(self._expected(node, held, now), prompt_tokens)
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

    def _expected(self, node: bytes, held: Held | None, now: float) -> int:
        """The held tokens we count on: the claim, discounted by age and by what this node's claims were worth."""
        if held is None:
            return 0
        return int(held.tokens * age_discount(now - held.touched) * self.experience.confidence(node, now))

    def _token_s(self, report: LoadReport) -> float:
        """A node's price of a token, held within a factor of 4 of our own: a claim of zero attracts nobody."""
        ours = self._price.token_s or DEFAULT_TOKEN_S
        claimed = report.token_ns / 1_000_000_000 or ours
        return min(max(claimed, ours / PRICE_RANGE), ours * PRICE_RANGE)

    def _own_report(self) -> LoadReport:
        return load_report(self._load, self._latency.value, self._price.token_s)

    def _report_of(self, node: bytes) -> LoadReport:
        return self.sync.replicas[node].load or LoadReport()

    def _report(self) -> None:
        self.sync.journal.report(self._own_report())

    def _reachable(self, node: bytes) -> bool:
        return node == self.own or self.sync.replicas[node].reachable

    def _settle(self, node: bytes) -> None:
        """One prompt less on its way to a node."""
        if self._bookings.get(node):
            self._bookings[node].pop(0)

    def _booked(self, node: bytes, now: float) -> int:
        """Tokens we sent to a node that its last report cannot know of yet."""
        replica = self.sync.replicas.get(node)
        seen = replica.load_at - BOOKING_SETTLES_S if replica and replica.load else float("-inf")
        alive = [(at, tokens) for at, tokens in self._bookings.get(node, ()) if at > max(seen, now - BOOKING_S)]
        self._bookings[node] = alive
        return sum(tokens for _, tokens in alive)

    def _hold(self, path: bytes, held: Held | None, now: float) -> None:
        if not path:
            return
        added = self.index.tree(self.index.generation).insert(path, self.own, now)
        if added or held is None or now - held.touched >= REFRESH_S:
            self.sync.journal.record(self.index.generation, ChangeKind.HOLD, path)

    def _drop_beyond(self, packed: bytes, cached_tokens: int) -> None:
        """An engine evicts from the leaves up: what it lacks of this prompt, it lacks of every prompt that parts later."""
        keep = self.index.plan.depth(cached_tokens)
        for number in self.index.generations():
            path = self.index.space(number).path(packed)
            if self.index.tree(number).remove_path(path[: keep + 1], self.own):
                self.sync.journal.record(number, ChangeKind.DROP, path[: keep + 1])

    def _keep_within(self, cache_tokens: int) -> None:
        """Drops our least recently used paths beyond what the engine's cache can hold, and tells."""
        plan = self.index.plan
        for number in self.index.generations():
            tree = self.index.tree(number)
            cut = tree.trim(self.own, OWN_NODES, lambda depth: 1) if tree.held(self.own) > OWN_NODES else []
            if cache_tokens:
                cut += tree.trim(self.own, cache_tokens, lambda depth: plan.tokens(depth) - plan.tokens(depth - 1))
            for path in cut:
                self.sync.journal.record(number, ChangeKind.DROP, path)
