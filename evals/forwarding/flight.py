"""What is simulated, and a prompt's way through it: fleet, decisions, turns, outcomes, and the `Mind` that decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from evals.forwarding.engines import Job, Speed
from evals.forwarding.traces import Request, Trace
from serving_node.admission import Ticket
from serving_node.load_factor import EngineLoad

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is simulated. Seconds; `sync_s` is how often a node tells its peers, NEVER for not at all.

    `forward_s` is what passing a prompt on costs beside the round trip. `fail_every_s` is the mean time between two failures
    in the whole fleet, `away_s` how long a node that failed stays away; it comes back with an empty cache.
    """

    nodes: int = 8
    entries: int = 8
    sync_s: float = 5.0
    load_s: float = 1.0
    rtt_s: float = 0.02
    forward_s: float = 0.02
    cache_blocks: int = 2048
    slots: int = 64
    speed: Speed = field(default_factory=Speed)
    fail_every_s: float = NEVER
    away_s: float = 60.0
    seed: int = 1


class Prompt:
    """A request of the trace on its way, its tokens made when somebody looks at them."""

    def __init__(self, trace: Trace, request: Request) -> None:
        self.request = request
        self._trace = trace

    @cached_property
    def tokens(self) -> Sequence[int]:
        """The prompt as token ids."""
        return self._trace.tokens(self.request)


@dataclass(frozen=True, slots=True)
class Choice:
    """The node to ask, and how many cached tokens it is thought to have; the mind's own note.

    `outside`: the deciding router is no node, so that every prompt pays the way.
    """

    node: int
    held_tokens: int = 0
    expected_tokens: int = 0
    note: Any = None
    outside: bool = False


class Mind(Protocol):
    """Decides where prompts go, and is told what comes of it. Nodes are numbers."""

    def decide(self, entry: int, prompt: Prompt, now: float) -> Choice:
        """Where a prompt that entered at `entry` goes."""

    def admitted(self, node: int, prompt: Prompt, now: float) -> None:
        """A node's engine takes a prompt."""

    def served(self, node: int, flight: "Flight", now: float) -> None:
        """A node's engine has answered."""

    def answered(self, turn: "Turn", asked: int, flight: "Flight", ttft_s: float, now: float) -> None:
        """An answer came by way of the node that the decider of a turn had asked."""

    def failed(self, node: int, flight: "Flight", full: bool, now: float) -> None:
        """A node was full, or it could not be reached or broke off: the last decider's to see."""

    def next_best(self, flight: "Flight", now: float) -> int | None:
        """The next node to ask when those in `flight.tried` have not answered."""

    def loaded(self, node: int, load: EngineLoad, now: float) -> None:
        """A sample of a node's load."""

    def tell(self, node: int, now: float) -> None:
        """A node's time to speak to its peers."""

    def restarted(self, node: int, now: float) -> None:
        """A node is back after a failure and knows nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one prompt. A refused one has no node."""

    request: Request
    entry: int
    node: int | None
    ttft_s: float
    total_s: float
    cached_tokens: int
    ever_held_tokens: int
    held_tokens: int
    expected_tokens: int
    tries: int


@dataclass(eq=False, slots=True)
class Turn:
    """One node's decision about a prompt, when it was made, and whom it has asked since."""

    decider: int
    choice: Choice
    at: float
    tried: list[int] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Flight:
    """A prompt between its entry and its answer, with the turns of the nodes that decided: the entry's first."""

    prompt: Prompt
    entry: int
    turns: list[Turn]
    ticket: Ticket | None = None
    job: Job | None = None
    first_at: float = 0.0

    @property
    def turn(self) -> Turn:
        """The last decision."""
        return self.turns[-1]

    @property
    def choice(self) -> Choice:
        """What was last decided."""
        return self.turn.choice

    @property
    def tried(self) -> list[int]:
        """Whom the last to decide has asked."""
        return self.turn.tried
