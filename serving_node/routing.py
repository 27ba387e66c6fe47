"""Which model node answers a prompt: five policies behind one interface, every choice with its numbers.

A policy sees one `Query`: the prompt's size and the trusted candidates as this node believes them to be. It never sees the
prompt, and cannot tell a challenge from a user's prompt, as nobody can. Rules and reasons: `docs/forwarding.md` section 5.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

OVERLOAD_PERCENTILE = 0.8
# Predictions closer than this are equal: measured first tokens scatter by more.
TIE_SHARE = 0.05
TIE_S = 0.005
# What a forward costs beside the round trip: signing, a second admission, frames relayed one more time.
FORWARD_COST_S = 0.02


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model node as seen from here. Tokens are prompt tokens; `held` is claimed, `expected` what we believe of it."""

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


@dataclass(frozen=True, slots=True)
class Query:
    """Everything a policy may look at. `candidates` are trusted, in node-id order, and never empty."""

    prompt_tokens: int
    candidates: tuple[Candidate, ...]
    hit_tokens: int
    turn: int
    rng: Callable[[int], bytes]

    @property
    def own(self) -> Candidate | None:
        """This node among the candidates; None when it is not trusted."""
        return next((candidate for candidate in self.candidates if candidate.own), None)


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a prompt goes, and why. `candidates` are what the policy compared."""

    node_id: bytes
    policy: str
    predicted_cached_tokens: int
    reason: str
    candidates: tuple[Candidate, ...] = ()
    predicted_ttft_s: float = 0.0

    def explain(self) -> dict[str, object]:
        """The decision as JSON-ready values: node ids in hexadecimal, nothing of the prompt."""
        rows = [{**asdict(candidate), "node_id": candidate.node_id.hex()} for candidate in self.candidates]
        return {
            "node_id": self.node_id.hex(),
            "policy": self.policy,
            "reason": self.reason,
            "predicted_cached_tokens": self.predicted_cached_tokens,
            "predicted_ttft_s": self.predicted_ttft_s,
            "candidates": rows,
        }


Choice = tuple[Candidate, str]
Policy = Callable[[Query], Choice]


def predicted_ttft(
    prompt_tokens: int, expected_tokens: int, *, own: bool, rtt_s: float, queue_s: float, token_s: float, slowness: float
) -> float:
    """Seconds until the first token: the way there, the queue, the tokens to prefill, times what experience adds."""
    travel = 0.0 if own else rtt_s + FORWARD_COST_S
    return travel + (queue_s + max(0, prompt_tokens - expected_tokens) * token_s) * slowness


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
    """`ttft`: the node that is predicted to give the first token soonest.

    An own node without a queue keeps a prompt of which no other node is believed to hold a hit's worth more.
    """
    own = query.own
    richest = max(candidate.expected_tokens for candidate in query.candidates)
    if own and own.queue_s == 0 and richest < own.expected_tokens + query.hit_tokens:
        return own, "idle here, and no better cache elsewhere"
    best = min(candidate.predicted_ttft_s for candidate in query.candidates)
    near = [c for c in query.candidates if c.predicted_ttft_s <= best * (1 + TIE_SHARE) + TIE_S]
    chosen = _pick(query, near)
    return chosen, "as soon here as anywhere" if chosen.own else "soonest first token"


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
