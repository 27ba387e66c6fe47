"""Which model node answers a prompt: five policies behind one interface, every choice with its numbers.

A policy sees one `Query`: the prompt's size and the trusted candidates as this node believes them to be. It never sees the
prompt, and cannot tell a challenge from a user's prompt, as nobody can. Rules and reasons: `docs/forwarding.md` section 5.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serving_node.spread import draw, pour, rendezvous

OVERLOAD_PERCENTILE = 0.8
# Predictions closer than this are equal: measured first tokens scatter by more.
TIE_SHARE = 0.05
TIE_S = 0.005
# What a forward costs beside the round trip: signing, a second admission, frames relayed one more time.
FORWARD_COST_S = 0.02
# A cached token costs this share of a computed one. Without it a full hit would be free, and no lateness could count.
CACHED_COST = 1 / 32
# What the next prompt with the same beginning may save, as shares of that beginning's price: at the second and third holder.
REPLICA_WORTH = (0.5, 0.25)
# What a conversation's own node may cost more, as a share of the prompt's price, before the conversation moves.
SESSION_WORTH = 0.5


class Candidate(NamedTuple):
    """One model node as seen from here. Tokens are prompt tokens; `held` is claimed, `expected` what we believe of it.

    `survival` is the chance that a claim of this age is still cached, `risk_s` the price of not knowing, `warmth` the share of
    new work that a node just started may get.
    """

    node_id: bytes
    own: bool
    reputation: int
    held_tokens: int
    expected_tokens: int
    age_s: float
    load_factor: float
    queue_s: float
    rtt_s: float
    token_s: float
    confidence: float
    slowness: float
    predicted_ttft_s: float
    survival: float = 1.0
    risk_s: float = 0.0
    warmth: float = 1.0

    @property
    def score_s(self) -> float:
        """What `ttft` compares: the prediction and the price of not knowing."""
        return self.predicted_ttft_s + self.risk_s


@dataclass(frozen=True, slots=True)
class Query:
    """Everything a policy may look at. `candidates` are trusted, in node-id order, and never empty.

    `unseen_s()` is the work in seconds that other entry points may have handed out since the candidates last reported, `prefix`
    and `session` are keys, the same at every entry point, of what the richest holder holds of the prompt, and of its
    conversation.
    """

    prompt_tokens: int
    candidates: tuple[Candidate, ...]
    hit_tokens: int
    turn: int
    rng: Callable[[int], bytes]
    unseen_s: Callable[[], float] = float
    prefix: bytes = b""
    session: bytes = b""

    @property
    def own(self) -> Candidate | None:
        """This node among the candidates; None when it is not trusted."""
        return next((candidate for candidate in self.candidates if candidate.own), None)


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a prompt goes, and why. `candidates` are what the policy compared; `id` counts this node's decisions."""

    node_id: bytes
    policy: str
    predicted_cached_tokens: int
    reason: str
    candidates: tuple[Candidate, ...] = ()
    predicted_ttft_s: float = 0.0
    id: int = 0
    at: float = 0.0
    prompt_tokens: int = 0

    def candidate(self, node: bytes) -> Candidate | None:
        """What was believed of a node when this was decided."""
        return next((candidate for candidate in self.candidates if candidate.node_id == node), None)

    def explain(self) -> dict[str, object]:
        """The decision as JSON-ready values: node ids in hexadecimal, nothing of the prompt but its length."""
        rows = [
            {**_rounded(candidate._asdict()), "node_id": candidate.node_id.hex(), "score_s": round(candidate.score_s, 6)}
            for candidate in self.candidates
        ]
        return {
            "id": self.id,
            "node_id": self.node_id.hex(),
            "policy": self.policy,
            "reason": self.reason,
            "prompt_tokens": self.prompt_tokens,
            "predicted_cached_tokens": self.predicted_cached_tokens,
            "predicted_ttft_s": round(self.predicted_ttft_s, 6),
            "candidates": rows,
        }


def _rounded(row: dict[str, object]) -> dict[str, object]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}


Choice = tuple[Candidate, str]
Policy = Callable[[Query], Choice]


def predicted_ttft(
    prompt_tokens: int, expected_tokens: int, travel_s: float, queue_s: float, token_s: float, slowness: float
) -> float:
    """Seconds until the first token: the way there, the queue, the tokens to prefill, times what experience adds."""
    return travel_s + (queue_s + prefill_tokens(prompt_tokens, expected_tokens) * token_s) * slowness


def prefill_tokens(prompt_tokens: int, cached_tokens: int) -> float:
    """Tokens' worth of prefill: those that are not cached, and what it costs to read those that are."""
    cached = min(cached_tokens, prompt_tokens)
    return prompt_tokens - cached + cached * CACHED_COST


def serve_here(query: Query) -> Choice:
    """`none`: no forwarding."""
    own = query.own
    return (own, "no forwarding") if own else (_pick(query, query.candidates), "own node is not trusted")


def round_robin(query: Query) -> Choice:
    """`round-robin`: each trusted node in turn."""
    return query.candidates[query.turn % len(query.candidates)], "its turn"


def longest_prefix(query: Query) -> Choice:
    """`tree`: the deepest match, whatever the load; no hit is served where it came in."""
    deepest = max(candidate.held_tokens for candidate in query.candidates)
    if deepest < query.hit_tokens:
        return serve_here(query)[0], "no hit"
    return _pick(query, [c for c in query.candidates if c.held_tokens == deepest]), "longest prefix"


def paper(query: Query) -> Choice:
    """`paper`: the least loaded holder of a hit; without one, or when it is overloaded, the least loaded trusted node."""
    holders = [candidate for candidate in query.candidates if candidate.held_tokens >= query.hit_tokens]
    if holders:
        best = _least_loaded(query, holders)
        if best.load_factor <= percentile([c.load_factor for c in query.candidates], OVERLOAD_PERCENTILE):
            return best, "least loaded holder"
    return _least_loaded(query, query.candidates), "holders overloaded" if holders else "no hit"


def soonest(query: Query) -> Choice:
    """`ttft`: the node that is predicted to give the first token soonest, others' unseen work and replicas considered.

    An own node without a queue keeps a prompt of which no other node is believed to hold a hit's worth more.
    """
    own = query.own
    expected = sorted(candidate.expected_tokens for candidate in query.candidates)
    if own is not None and own.queue_s == 0 and expected[-1] < own.expected_tokens + query.hit_tokens and not query.session:
        return own, "idle here, and no better cache elsewhere"
    # What most nodes hold, a system prompt that all prompts share, makes nobody a holder.
    return _Choosing(query, expected[(len(expected) - 1) // 2] + query.hit_tokens).choose()


class _Choosing:
    """One application of `ttft`. A holder has at least `bar` of the prompt's tokens."""

    __slots__ = ("_among", "_bar", "_query", "_scores")

    def __init__(self, query: Query, bar: int) -> None:
        self._query = query
        self._bar = bar
        self._among = self._warm()
        self._scores = [candidate.score_s for candidate in self._among]

    def choose(self) -> Choice:
        placed = self._place()
        best = min(self._scores)
        near = [c for c, score in zip(self._among, self._scores, strict=True) if score <= best * (1 + TIE_SHARE) + TIE_S]
        chosen = placed if placed in near else _pick(self._query, near)
        unseen_s = 0.0 if self._holds(chosen) else self._query.unseen_s()
        if unseen_s > 0:
            chosen = self._spread(unseen_s)
        return chosen, self._why(chosen, placed, chosen in near)

    def _holds(self, candidate: Candidate) -> bool:
        return candidate.expected_tokens >= self._bar

    def _warm(self) -> tuple[Candidate, ...]:
        """Those that may get this prompt: a node just started gets what it holds, and its share of the rest."""
        candidates = self._query.candidates
        if all(candidate.warmth >= 1 for candidate in candidates):
            return candidates
        chance = int.from_bytes(self._query.rng(8), "big") / 2**64
        return tuple(c for c in candidates if chance < c.warmth or self._holds(c)) or candidates

    def _place(self) -> Candidate | None:
        """Lowers the scores of where all entry points would put this prompt, by what that is worth; returns the first such.

        A prefix whose holders are too busy goes to its second, then its third holder; a named conversation to its own node.
        A bonus makes equals of nodes, and none is worth more than what it saves: a busy place is left.
        """
        worth = self._worth()
        least = min(self._scores)
        placed: tuple[float, Candidate] | None = None
        for at, candidate in enumerate(self._among if worth else ()):
            bonus = worth.get(candidate.node_id, 0.0)
            if bonus:
                self._scores[at] = max(least, self._scores[at] - bonus)
                if placed is None or self._scores[at] < placed[0]:
                    placed = (self._scores[at], candidate)
        return placed[1] if placed else None

    def _worth(self) -> dict[bytes, float]:
        """Seconds that a node may be worse by and still be the place to choose, by node id."""
        query = self._query
        if query.session:
            first = rendezvous(query.session, [candidate.node_id for candidate in query.candidates])[0]
            return {first: SESSION_WORTH * query.prompt_tokens * self._among[0].token_s}
        richest = max(self._among, key=lambda candidate: candidate.expected_tokens)
        soonest_at = min(range(len(self._scores)), key=self._scores.__getitem__)
        if not query.prefix or not self._holds(richest) or self._holds(self._among[soonest_at]):
            return {}
        held_at = min(score for c, score in zip(self._among, self._scores, strict=True) if self._holds(c))
        rest = {c.node_id: score for c, score in zip(self._among, self._scores, strict=True) if not self._holds(c)}
        saved = richest.expected_tokens * richest.token_s
        ranked = zip(rendezvous(query.prefix, rest), REPLICA_WORTH, strict=False)
        return {node: share * saved for node, share in ranked if rest[node] < held_at}

    def _spread(self, unseen_s: float) -> Candidate:
        """One of the nodes that hold nothing more: others are after the idlest of them as well, on the same old news."""
        rows = [(c, score) for c, score in zip(self._among, self._scores, strict=True) if not self._holds(c)]
        return rows[draw(pour([score for _, score in rows], unseen_s), self._query.rng(8))][0]

    def _why(self, chosen: Candidate, placed: Candidate | None, near: bool) -> str:
        if placed is chosen:
            return "the conversation's own node" if self._query.session else "holders busy: the next holder of this prefix"
        if not near:
            return "spread: others may be sending to the soonest"
        if chosen.own:
            return "as soon here as anywhere"
        if self._holds(chosen) or not any(self._holds(candidate) for candidate in self._among):
            return "soonest first token"
        return "holders busy: sooner computed anew"


POLICIES: dict[str, Policy] = {
    "none": serve_here,
    "round-robin": round_robin,
    "tree": longest_prefix,
    "paper": paper,
    "ttft": soonest,
}


def percentile(values: Sequence[float], share: float) -> float:
    """Linear interpolation between order statistics, as NumPy's default; the group is too small for ranks alone."""
    ordered = sorted(values)
    at = (len(ordered) - 1) * share
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def _least_loaded(query: Query, among: Sequence[Candidate]) -> Candidate:
    least = min(candidate.load_factor for candidate in among)
    return _pick(query, [candidate for candidate in among if candidate.load_factor == least])


def _pick(query: Query, equals: Sequence[Candidate]) -> Candidate:
    """One of equals: this node when it is among them, else any, at random, so that idle nodes share evenly."""
    for candidate in equals:
        if candidate.own:
            return candidate
    return equals[int.from_bytes(query.rng(8), "big") % len(equals)]
