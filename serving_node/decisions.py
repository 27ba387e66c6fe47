"""The last routing decisions and what came of them, so that each can be explained. Holds no prompt, and nothing made of one.

Pure: told the time. `docs/forwarding.md` section 10 says what the rows mean.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace

from serving_node.routing import Decision

KEPT = 512
# Of a large group the best are kept, and the chosen: what was far behind explains nothing.
KEPT_CANDIDATES = 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a prompt ended: who answered, what its engine had cached, when the first text came. Empty `failure`: answered."""

    node_id: bytes
    cached_tokens: int
    ttft_s: float
    failure: str = ""

    def explain(self) -> dict[str, object]:
        """As JSON-ready values."""
        return {
            "node_id": self.node_id.hex(),
            "cached_tokens": self.cached_tokens,
            "ttft_s": round(self.ttft_s, 4),
            "failure": self.failure,
        }


class DecisionLog:
    """The newest decisions by id, each with what was tried before the answer and the answer."""

    __slots__ = ("_kept", "_rows")

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._rows: OrderedDict[int, tuple[Decision, list[Outcome]]] = OrderedDict()

    def decided(self, decision: Decision) -> None:
        """A decision was taken; the oldest beyond the bound is forgotten."""
        self._rows[decision.id] = (_short(decision), [])
        if len(self._rows) > self._kept:
            self._rows.popitem(last=False)

    def ended(self, decision: Decision, outcome: Outcome) -> None:
        """A node has answered, or failed, what was decided. Decisions forgotten by now stay forgotten."""
        row = self._rows.get(decision.id)
        if row is not None:
            row[1].append(outcome)

    def explain(self, now: float, last: int = KEPT, number: int | None = None) -> list[dict[str, object]]:
        """The newest decisions first, or the one that is asked for; none when it is not kept."""
        if number is not None:
            found = [self._rows[number]] if number in self._rows else []
        else:
            found = list(self._rows.values())[-last:][::-1] if last > 0 else []
        return [
            {**decision.explain(), "ago_s": round(now - decision.at, 3), "outcomes": [one.explain() for one in outcomes]}
            for decision, outcomes in found
        ]


def _short(decision: Decision) -> Decision:
    """The decision with its best candidates, the chosen one always among them."""
    if len(decision.candidates) <= KEPT_CANDIDATES:
        return decision
    scores = sorted(candidate.score_s for candidate in decision.candidates)
    most, chosen = scores[KEPT_CANDIDATES - 2], decision.node_id
    best = [each for each in decision.candidates if each.score_s <= most or each.node_id == chosen]
    if len(best) > KEPT_CANDIDATES:  # equals go, but never the chosen one
        best = [each for each in best if each.node_id != chosen][: KEPT_CANDIDATES - 1]
        best += [each for each in decision.candidates if each.node_id == chosen]
    return replace(decision, candidates=tuple(best))
