"""Whose terms count: one node's view of what its group agreed on for each generation of fingerprints.

Pure. Of two terms of one generation those of the issuer with the lesser lot count, so members that hear of each other's terms
come to hold the same ones whatever the order. Only trusted members of the directory issue terms or are told a secret. The rules
of time, and what happens while a generation has no terms: `docs/forwarding.md` section 8.
"""

from collections import Counter
from collections.abc import Callable

from network.chain_records import DirectoryEntry
from network.crypto import SigningKey
from network.directory import Directory
from network.hpke import Opener
from network.hrtree.delta import Refused
from network.hrtree.fingerprint import GENERATION_EPOCHS, ChunkPlan, generation
from network.hrtree.sentry import merge
from network.hrtree.terms import (
    MOST_GIVEN,
    SECRET_LENGTH,
    Given,
    HeldTerms,
    Proposal,
    TermsAnswer,
    asked_id,
    decode_answer,
    decode_terms,
    encode_answer,
    give,
    is_sane,
    issue,
    rank,
    take,
    terms_id,
)

Rng = Callable[[int], bytes]
TURN_S = 3.0
MOST_REPLACED = 8
ANSWER_PAUSE_S = 0.25


class TermsBook:
    """The terms a node holds, takes, gives and issues. `proposal` is what its own Sentry asks for."""

    def __init__(self, own: bytes, key: SigningKey, group: str, default: ChunkPlan, opener: Opener, rng: Rng) -> None:
        self.own = own
        self.group = group
        self.counts: Counter[str] = Counter()
        self.proposal = Proposal()
        self.generation = 0
        self._key = key
        self._default = default
        self._opener = opener
        self._rng = rng
        self._chain_id = ""
        self._epoch = 0
        self._trusted: dict[bytes, DirectoryEntry] = {}
        self._held: dict[int, HeldTerms] = {}
        self._replaced: Counter[int] = Counter()
        self._proposals: dict[bytes, Proposal] = {}
        self._answered_at: dict[bytes, float] = {}
        self._missing_since: tuple[int, float] = (-1, 0.0)

    @property
    def id(self) -> bytes:
        """What our Hellos say that we hold."""
        return terms_id(tuple(self._held.values()))

    @property
    def trusted(self) -> bool:
        """Whether our own directory lists us as a trusted member: who is none holds no secret and issues nothing."""
        return self.own in self._trusted

    def held(self, number: int) -> HeldTerms | None:
        """The terms of a generation."""
        return self._held.get(number)

    def members(self) -> set[bytes]:
        """The trusted members but us: who may ask us for terms, and whom we ask."""
        return set(self._trusted) - {self.own}

    def on_directory(self, directory: Directory) -> None:
        """Follows the directory: who is trusted, which generation it is; terms that are too old are forgotten."""
        self._chain_id, self._epoch = directory.record.chain_id, directory.record.epoch
        self.generation = max(self.generation, generation(self._epoch))
        self._trusted = {entry.node_id: entry for entry in directory.models(self.group)}
        self._proposals = {node: found for node, found in self._proposals.items() if node in self._trusted}
        self._answered_at = {node: at for node, at in self._answered_at.items() if node in self._trusted}
        newest = max((number for number in self._held if number <= self.generation), default=0)
        for old in [number for number in self._held if number < min(self.generation - 1, newest)]:
            del self._held[old]
            self._replaced.pop(old, None)

    def due(self, reachable: Callable[[bytes], bool], now: float) -> int | None:
        """The generation whose terms we should issue now: the present one when nobody did, the next in its second half.

        Members whose lot is better and who can be reached go first, each with a turn of its own.
        """
        if not self.trusted:
            return None
        if self.generation not in self._held:
            if self._missing_since[0] != self.generation:
                self._missing_since = (self.generation, now)
            late = now - self._missing_since[1]
            return self.generation if late >= TURN_S * self._place(self.generation, reachable) else None
        following = self.generation + 1
        if following in self._held:
            return None
        passed = self._epoch % GENERATION_EPOCHS - GENERATION_EPOCHS // 2
        return following if passed >= self._place(following, reachable) else None

    def issue(self, number: int) -> HeldTerms:
        """Issues terms with the plan that most of the trusted members, by reputation, propose, and a fresh secret."""
        votes = [(self._trusted[node].reputation, found) for node, found in self._proposals.items()]
        votes.append((self._trusted[self.own].reputation, self.proposal))
        plan = merge(votes, self._default)
        held = issue(self.group, number, plan, self._rng(SECRET_LENGTH), self.own, self._key, self._chain_id)
        self._held[number] = held
        self.counts["issued"] += 1
        return held

    def answer(self, caller: bytes, hello: bytes, now: float) -> bytes:
        """All we hold, sealed to a trusted member, with our proposal. Raises Refused for anybody else."""
        entry = self._trusted.get(caller)
        if entry is None or not self.trusted:
            raise Refused("untrusted", "terms are for trusted members of the group, from one to another")
        if now < self._answered_at.get(caller, float("-inf")) + ANSWER_PAUSE_S:
            raise Refused("too-often", "terms were given to this member just now")
        self._answered_at[caller] = now
        newest = sorted(self._held)[-MOST_GIVEN:]
        given = tuple(give(self._held[number], entry, self._chain_id) for number in newest)
        return encode_answer(TermsAnswer(self.own, asked_id(hello), given, self.proposal), self._key, self._chain_id)

    def on_answer(self, peer: bytes, raw: bytes, hello: bytes) -> list[HeldTerms]:
        """Takes from a peer's answer to our Hello what is better than ours; returns it. Raises Refused for no answer at all."""
        entry = self._trusted.get(peer)
        if entry is None:
            raise Refused("untrusted", "terms from a node that is no trusted member")
        answer = decode_answer(raw, peer, entry.signing_key, hello, self._chain_id)
        if answer.proposal is not None and is_sane(answer.proposal.lengths, answer.proposal.fixed):
            self._proposals[peer] = answer.proposal
        taken: list[HeldTerms] = []
        for given in answer.given:
            try:
                better = self._take(given)
            except Refused as refused:
                self.counts[refused.reason] += 1
                continue
            if better is not None:
                taken.append(better)
        return taken

    def _take(self, given: Given) -> HeldTerms | None:
        terms = decode_terms(given.terms)
        if terms.group != self.group:
            raise Refused("foreign-group", "terms of another model group")
        number = terms.generation
        if abs(number - self.generation) > 1:
            return None
        issuer = self._trusted.get(terms.issuer)
        if issuer is None:
            # Perhaps our directory is a few blocks behind: what was refused is offered again.
            self.counts["unknown-issuer"] += 1
            return None
        held = HeldTerms(terms, given.terms, b"")
        current = self._held.get(number)
        if current is not None and current.rank <= held.rank:
            return None
        if self._replaced[number] >= MOST_REPLACED:
            self.counts["churn"] += 1
            return None
        better = take(given, terms, issuer.signing_key, self.own, self._opener, self._chain_id)
        self._replaced[number] += current is not None
        self._held[number] = better
        self.counts["taken"] += 1
        return better

    def _place(self, number: int, reachable: Callable[[bytes], bool]) -> int:
        """How many members go before us."""
        ours = rank(number, self.own)
        return sum(1 for node in self.members() if rank(number, node) < ours and reachable(node))
