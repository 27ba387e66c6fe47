"""The mind of one model node's forwarding: what the group holds, how busy it is, and where the next prompt goes.

Pure: joins the shared index (`network/hrtree/sync.py`), what our own engine holds (`claims.py`), what we believe of every node
(`beliefs.py`) and the policy (`routing.py`). A node whose own directory does not list it as trusted never forwards: what
enters there is answered there, so that a challenge reaches the node it was meant for, and no user enters there anyway
(`docs/forwarding.md` section 5.3).
"""

from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b

from network.chain_records import DirectoryEntry
from network.crypto import SigningKey
from network.directory import Directory
from network.errors import ConfigError
from network.hrtree.fingerprint import TOKEN_BYTES, ChunkPlan, Unit, generation, pack_tokens
from network.hrtree.index import Held, HRIndex
from network.hrtree.sentry import Sentry
from network.hrtree.sync import Sync
from serving_node.audit import Audits
from serving_node.beliefs import Beliefs
from serving_node.breaker import Fault
from serving_node.claims import Claims
from serving_node.decisions import DecisionLog, Outcome
from serving_node.experience import Experience
from serving_node.load_factor import EngineLoad, Shortest
from serving_node.routing import POLICIES, Candidate, Decision, Query

# A hit needs this many chunks: one 8-bit symbol alone is right by chance where hundreds of prompts part.
HIT_CHUNKS = 2
# The others are baselines: they do what they are named after, and nothing else.
AUDITED = "ttft"
# This much of a prefix's end names it, with its length: enough to tell prefixes apart, cheap for the longest.
NAMED_BYTES = 256
Prompt = Sequence[int] | bytes


class Forwarder:
    """Decides for one node, alone, from what it holds in memory. Methods that learn something say so in the past tense.

    Prompts are token ids, or packed: 4 bytes a token, or UTF-8 where `unit` is TEXT.
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
        sentry: Sentry | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise ConfigError(f"routing.policy {policy!r} is unknown; choose one of {', '.join(POLICIES)}")
        self.own = own
        self.group = group
        self.policy = policy
        self.index = HRIndex(directory.record.chain_id, group, plan, unit=unit)
        self.sync = Sync(own, signing, self.index, incarnation)
        self.experience = Experience()
        self.claims = Claims(own, self.index, self.sync.journal, self.experience, sentry)
        self.beliefs = Beliefs(own, self.sync, self.experience)
        self.decisions = DecisionLog()
        self.audits = Audits(rng)
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
    def rtt(self) -> dict[bytes, Shortest]:
        """Measured round trips by node id."""
        return self.beliefs.rtt

    def on_directory(self, directory: Directory) -> None:
        """Follows a newer directory: departures are forgotten, fingerprint keys change with the generation."""
        if directory.hash != self._directory.hash:
            self._read(directory)
        self._directory = directory

    def adopt_terms(self, number: int, plan: ChunkPlan, secret: bytes) -> None:
        """The group's chunk plan and secret for a generation: what was known in another space of it is learned anew."""
        for changed in self.index.adopt(number, plan, secret):
            self.sync.changed_space(changed)

    def decide(
        self, prompt: Prompt, now: float, *, no_share: bool = False, salt: bytes = b"", session: bytes = b""
    ) -> Decision:
        """Where this prompt goes, given as token ids or packed. Books its cost there until a report of that node shows it.

        Only prompts with the same `salt` match one another. `session` names a conversation: without a prefix that tells where
        its cache is, all entry points send it to the same node, as long as that is not much busier than the others.
        """
        packed = _packed(prompt)
        held = {} if no_share else self.index.match(packed, salt)
        decision = self._decide(packed, held, now, session)
        self._turn += 1
        self.decisions.decided(decision)
        self.beliefs.sent(decision, decision.node_id, now)
        return decision

    def next_best(self, decision: Decision, tried: Collection[bytes], now: float) -> bytes | None:
        """The best node that was not tried, when those tried have not answered. None: nobody is left."""
        left = [c for c in decision.candidates if c.node_id not in tried and self.beliefs.admits(c.node_id, now)]
        if not left:
            return None
        node = min(left, key=lambda candidate: (candidate.score_s, not candidate.own)).node_id
        self.beliefs.sent(decision, node, now)
        return node

    def admitted(self, prompt: Prompt, now: float, *, no_share: bool = False, salt: bytes = b"") -> None:
        """This node answers the prompt: its engine is about to hold all of it, and peers may know."""
        self.claims.admitted(_packed(prompt), now, share=not no_share, salt=salt)

    def served(
        self,
        prompt: Prompt,
        cached_tokens: int,
        ttft_s: float,
        now: float,
        *,
        queue_s: float = 0.0,
        latency_s: float | None = None,
        no_share: bool = False,
        salt: bytes = b"",
        decision: Decision | None = None,
    ) -> None:
        """The engine has answered, perhaps what `decision` kept here: learns prices, and which claims it had evicted."""
        packed = _packed(prompt)
        self.beliefs.served(_tokens(packed) - cached_tokens, ttft_s - queue_s, latency_s)
        self.claims.served(packed, cached_tokens, now, share=not no_share, salt=salt)
        if decision is not None:
            self.beliefs.bookings.settle(decision.id)
            self.decisions.ended(decision, Outcome(self.own, cached_tokens, ttft_s))
        self._report()

    def answered(self, decision: Decision, cached_tokens: int, ttft_s: float, now: float, *, node: bytes = b"") -> None:
        """A node we forwarded to has answered, the chosen one or `node`: compares claim and prediction with what came."""
        self.beliefs.answered(decision, node or decision.node_id, cached_tokens, ttft_s, now)
        self.decisions.ended(decision, Outcome(node or decision.node_id, cached_tokens, ttft_s))

    def failed(
        self, decision: Decision, now: float | None = None, *, node: bytes = b"", fault: Fault = Fault.UNREACHABLE
    ) -> None:
        """A node we forwarded to, the chosen one or `node`, has not answered. Unreachable: gets nothing until it speaks."""
        failed = node or decision.node_id
        at = decision.at if now is None else now
        self.beliefs.failed(decision, failed, fault, at)
        if fault is Fault.UNREACHABLE:
            self.sync.on_silence(failed)
        self.decisions.ended(decision, Outcome(failed, 0, at - decision.at, fault.value))

    def abandoned(self, decision: Decision) -> None:
        """Whoever asked has gone: nothing is on its way any more, and nobody is to blame."""
        self.beliefs.bookings.settle(decision.id)

    def engine_restarted(self) -> None:
        """Our engine has started anew, with an empty cache: nothing of it is claimed any more."""
        self.claims.void()

    def set_load(self, load: EngineLoad, now: float) -> bool:
        """The engine's newest sample: told to peers when it differs, and the bound on what we may claim to hold.

        False when it is absurd: it is counted, and the one before it stands.
        """
        if not self.beliefs.sampled(load, now):
            return False
        self._report()
        self.claims.keep_within(load.cache_tokens)
        return True

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
            self.audits.forget(node)
        self.index.advance(generation(directory.record.epoch))

    def _decide(self, packed: bytes, held: dict[bytes, Held], now: float, session: bytes) -> Decision:
        own, tokens = self._entries.get(self.own), _tokens(packed)
        if own is None or not own.trusted:
            here = self.beliefs.expected(self.own, held.get(self.own), now)
            reason = "not in the directory" if own is None else "not trusted: answers what enters here, forwards nothing"
            return Decision(self.own, self.policy, here, reason, id=self._turn, at=now, prompt_tokens=tokens)
        beliefs = self.beliefs
        trusted = [entry for entry in self._entries.values() if entry.trusted and beliefs.admits(entry.node_id, now)]
        candidates = tuple([beliefs.candidate(entry, held.get(entry.node_id), tokens, now) for entry in trusted])
        query = Query(
            tokens,
            candidates,
            self.index.plan.tokens(HIT_CHUNKS),
            self._turn,
            self._rng,
            lambda: beliefs.unseen_work([entry.node_id for entry in trusted], now),
            self._named(packed, candidates),
            session and self._keyed(session),
        )
        chosen, reason = POLICIES[self.policy](query)
        if self.policy == AUDITED and (suspect := self.audits.pick(candidates, chosen, tokens, query.hit_tokens, now)):
            chosen, reason = suspect, "holds it too, it says: tried"
        return Decision(
            chosen.node_id,
            self.policy,
            chosen.expected_tokens,
            reason,
            candidates,
            chosen.predicted_ttft_s,
            self._turn,
            now,
            tokens,
        )

    def _named(self, packed: bytes, candidates: tuple[Candidate, ...]) -> bytes:
        """A key for what the richest holder holds of the prompt: equal at every node that knows of the same holder."""
        end = max(candidate.held_tokens for candidate in candidates) * TOKEN_BYTES
        return self._keyed(end.to_bytes(8, "big") + packed[max(0, end - NAMED_BYTES) : end]) if end else b""

    def _keyed(self, name: bytes) -> bytes:
        """Nobody outside the group can choose prompts so that they fall on one node."""
        return blake2b(name, digest_size=16, key=self.index.space(self.index.generation).key).digest()

    def _report(self) -> None:
        self.sync.journal.report(self.beliefs.own_report())


def prompt_length(prompt: Prompt) -> int:
    """A prompt's tokens, however it is given."""
    return _tokens(prompt) if isinstance(prompt, bytes) else len(prompt)


def _packed(prompt: Prompt) -> bytes:
    return prompt if isinstance(prompt, bytes) else pack_tokens(prompt)


def _tokens(packed: bytes) -> int:
    """Text of which the last word is not full counts as one token more."""
    return -(-len(packed) // TOKEN_BYTES)
