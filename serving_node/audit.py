"""Does a peer hold what it claims? Asked of the clock, since a reply's count of cached tokens is the peer's own word.

A hit and a miss of a long prefix lie far apart in time. So every answer of a peer that said it had no queue tells which it was;
and now and then a prompt goes to a peer that claims its beginning although another node is chosen, so that every claimant is
tried. The peer gets an ordinary prompt of an ordinary user at a moment it cannot foresee: nothing is invented, kept or marked
for an audit. Pure. `docs/forwarding.md` section 11.
"""

from collections.abc import Callable, Sequence
from math import sqrt

from serving_node.routing import FORWARD_COST_S, Candidate, prefill_tokens

# At most this share of decisions is given away.
SHARE = 1 / 256
# A miss takes this many times as long as a hit, and so much longer, or the clock says nothing.
APART = 3.0
GAP_S = 0.05
# What an audit may cost its user more than the node that was chosen.
DEAREST_S = 2.0


class Audits:
    """Whom this node has tried, and when."""

    __slots__ = ("_last", "_rng", "made")

    def __init__(self, rng: Callable[[int], bytes]) -> None:
        self._rng = rng
        self._last: dict[bytes, float] = {}
        self.made = 0

    def pick(
        self, candidates: Sequence[Candidate], chosen: Candidate, prompt_tokens: int, hit_tokens: int, now: float
    ) -> Candidate | None:
        """The claimant to try instead of the chosen node: that which was tried longest ago. Mostly None."""
        if chosen.expected_tokens < hit_tokens:
            return None
        suspects = [
            candidate
            for candidate in candidates
            if candidate is not chosen
            and candidate.held_tokens >= hit_tokens
            and tells(candidate, prompt_tokens)
            and _miss_s(candidate, prompt_tokens) <= chosen.predicted_ttft_s + DEAREST_S
        ]
        if not suspects or int.from_bytes(self._rng(8), "big") < (1 - SHARE) * 2**64:
            return None
        picked = min(suspects, key=lambda candidate: self._last.get(candidate.node_id, float("-inf")))
        self._last[picked.node_id] = now
        self.made += 1
        return picked

    def forget(self, node: bytes) -> None:
        """Drops what was noted of a node that has left."""
        self._last.pop(node, None)


def tells(candidate: Candidate, prompt_tokens: int) -> bool:
    """Whether the time of this peer's first token will tell a hit from a miss."""
    hit, miss = _hit_s(candidate, prompt_tokens), _miss_s(candidate, prompt_tokens)
    return not candidate.own and candidate.queue_s == 0 and miss >= APART * hit and miss - hit >= GAP_S


def was_hit(candidate: Candidate, prompt_tokens: int, ttft_s: float) -> bool | None:
    """What the clock says of a claim; None where it says nothing."""
    if not tells(candidate, prompt_tokens):
        return None
    return ttft_s < sqrt(_hit_s(candidate, prompt_tokens) * _miss_s(candidate, prompt_tokens))


def _hit_s(candidate: Candidate, prompt_tokens: int) -> float:
    work = prefill_tokens(prompt_tokens, candidate.held_tokens)
    return candidate.rtt_s + FORWARD_COST_S + work * candidate.token_s


def _miss_s(candidate: Candidate, prompt_tokens: int) -> float:
    return candidate.rtt_s + FORWARD_COST_S + prompt_tokens * candidate.token_s
