"""The mind of one model node's forwarding: what the group holds, how busy it is, and where the next prompt goes.

Pure: joins the shared index (`network/hrsync.py`), what our own engine holds (`claims.py`), what we believe of every node
(`beliefs.py`) and the policy (`routing.py`). A node whose own directory does not list it as trusted never forwards: what
enters there is answered there, so that a challenge reaches the node it was meant for, and no user enters there anyway
(`docs/forwarding.md` section 5.3).
"""

from collections.abc import Callable, Sequence

from network.chain_records import DirectoryEntry
from network.crypto import SigningKey
from network.directory import Directory
from network.errors import ConfigError
from network.fingerprint import ChunkPlan, Unit, generation, pack_tokens
from network.hrindex import HRIndex
from network.hrsync import Sync
from serving_node.beliefs import Beliefs
from serving_node.claims import Claims
from serving_node.experience import Experience
from serving_node.load_factor import EngineLoad, Ewma
from serving_node.routing import POLICIES, Decision, Query

# A hit needs this many chunks: one 8-bit symbol alone is right by chance where hundreds of prompts part.
HIT_CHUNKS = 2


class Forwarder:
    """Decides for one node, alone, from what it holds in memory. Methods that learn something say so in the past tense.

    `tokens` are words of 4 bytes where `unit` is TEXT.
    """

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
        *,
        unit: Unit = Unit.TOKENS,
    ) -> None:
        if policy not in POLICIES:
            raise ConfigError(f"routing.policy {policy!r} is unknown; choose one of {', '.join(POLICIES)}")
        self.own = own
        self.group = group
        self.policy = policy
        self.index = HRIndex(directory.record.chain_id, group, plan, unit=unit)
        self.sync = Sync(own, signing, self.index, incarnation)
        self.experience = Experience()
        self.claims = Claims(own, self.index, self.sync.journal, self.experience)
        self.beliefs = Beliefs(own, self.sync, self.experience)
        self._rng = rng
        self._turn = 0
        self._directory = directory
        self._entries: dict[bytes, DirectoryEntry] = {}
        self._read(directory)

    @property
    def entries(self) -> dict[bytes, DirectoryEntry]:
        """The live model nodes of the group, this one included, by node id."""
        return self._entries

    @property
    def rtt(self) -> dict[bytes, Ewma]:
        """Measured round trips by node id."""
        return self.beliefs.rtt

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
            here = self.beliefs.expected(self.own, held.get(self.own), now)
            reason = "not in the directory" if own is None else "not trusted: answers what enters here, forwards nothing"
            return Decision(self.own, self.policy, here, reason)
        trusted = [entry for entry in self._entries.values() if entry.trusted and self._reachable(entry.node_id)]
        candidates = tuple(self.beliefs.candidate(entry, held.get(entry.node_id), len(tokens), now) for entry in trusted)
        query = Query(len(tokens), candidates, self.index.plan.tokens(HIT_CHUNKS), self._turn, self._rng)
        self._turn += 1
        chosen, reason = POLICIES[self.policy](query)
        if not chosen.own:
            self.beliefs.book(chosen.node_id, max(0, len(tokens) - chosen.expected_tokens), now)
        return Decision(chosen.node_id, self.policy, chosen.expected_tokens, reason, candidates, chosen.predicted_ttft_s)

    def admitted(self, tokens: Sequence[int], now: float, *, no_share: bool = False) -> None:
        """This node answers the prompt: its engine is about to hold all of it, and peers may know."""
        self.claims.admitted(pack_tokens(tokens), now, share=not no_share)

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
        self.beliefs.served(len(tokens) - cached_tokens, ttft_s - queue_s, latency_s)
        self.claims.served(pack_tokens(tokens), cached_tokens, now, share=not no_share)
        self._report()

    def answered(self, decision: Decision, cached_tokens: int, ttft_s: float, now: float) -> None:
        """A node we forwarded to has answered: compares claim and prediction with what came."""
        self.beliefs.answered(decision, cached_tokens, ttft_s, now)

    def failed(self, decision: Decision) -> None:
        """A node we forwarded to could not be reached, or broke off: nothing is sent its way until it speaks again."""
        self.beliefs.settle(decision.node_id)
        self.sync.on_silence(decision.node_id)

    def set_load(self, load: EngineLoad, now: float) -> None:
        """The engine's newest sample: told to peers when it differs, and the bound on what we may claim to hold."""
        self.beliefs.sampled(load)
        self._report()
        self.claims.keep_within(load.cache_tokens)

    def saw_rtt(self, node: bytes, seconds: float) -> None:
        """One round trip to a peer."""
        self.beliefs.saw_rtt(node, seconds)

    def _read(self, directory: Directory) -> None:
        self._entries = {entry.node_id: entry for entry in directory.models(self.group, trusted_only=False)}
        members = {node: entry.signing_key for node, entry in self._entries.items() if node != self.own}
        gone = set(self.sync.replicas) - set(members)
        self.sync.set_members(members)
        for node in gone:
            self.beliefs.forget(node)
        self.index.advance(generation(directory.record.epoch))

    def _report(self) -> None:
        self.sync.journal.report(self.beliefs.own_report())

    def _reachable(self, node: bytes) -> bool:
        return node == self.own or self.sync.replicas[node].reachable
