"""Four workloads for real engines, scaled down from the published ones: which prompt is due when. Everything follows the seed.

Published: 6,000 ToolBench prompts drawn by Zipf 1.1, Poisson arrivals of 72 a second over eight A100 with an 8B model, 128 new
tokens; and ToolBench, coding (APPS), long documents (LooGLE) and a mixture at mean gaps of 0.16 to 0.5 s, 50 new tokens. The
localnet's engines (135M parameters, one thread each, two cores for all) read some 300 tokens a second in all instead of
hundreds of thousands: prompts are 1/8 to 1/16 as long, arrivals 1/100 as dense, answers 12 to 32 tokens. What is kept is the
shape: who shares what with whom, Zipf 1.1, Poisson, and engines that are mostly busy without forwarding.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

ZIPF = 1.1
# Common words of which each is one token of SmolLM2's, so that a length in words is one in tokens.
_WORDS = (  # noqa: SIM905 - a list would take a line for each
    "time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system program question work government number night point home water room "
    "mother area money story fact month lot right study book eye job word business issue side kind head house "
    "service friend father power hour game line end member law car city community name president team minute idea "
    "body information back parent face others level office door health person art war history party result change "
    "morning reason research girl guy moment air teacher force education"
).split()


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request: due at a second, through one of the entries."""

    due_s: float
    entry: int
    system: str
    user: str
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of traffic. `shared` beginnings of `shared_tokens`; `rate` requests a second over four engines."""

    name: str
    rate: float
    shared: int
    shared_tokens: int
    own_tokens: int
    answer_tokens: int


TOOLBENCH = Workload("toolbench", 0.60, 16, 320, 32, 16)
CODING = Workload("coding", 0.50, 3, 200, 160, 32)
LONGDOC = Workload("longdoc", 0.36, 8, 800, 24, 12)
MIXED = Workload("mixed", 0.48, 0, 0, 0, 0)
WORKLOADS = {each.name: each for each in (TOOLBENCH, CODING, LONGDOC, MIXED)}


def plan(workload: Workload, seconds: float, entries: int, seed: int) -> list[Prompt]:
    """The requests of so many seconds, by time."""
    rng = random.Random(f"{workload.name} {seed}")
    kinds = (TOOLBENCH, CODING, LONGDOC) if workload is MIXED else (workload,)
    makers = [_maker(kind, rng) for kind in kinds]
    made = []
    for due in _arrivals(workload.rate, seconds, rng):
        kind, make = rng.choice(list(zip(kinds, makers, strict=True)))
        system, user = make()
        made.append(Prompt(due, rng.randrange(entries), system, user, kind.answer_tokens))
    return made


def _arrivals(rate: float, seconds: float, rng: random.Random) -> Iterator[float]:
    """A Poisson process."""
    now = rng.expovariate(rate)
    while now < seconds:
        yield now
        now += rng.expovariate(rate)


def _maker(kind: Workload, rng: random.Random) -> Callable[[], tuple[str, str]]:
    """Tools, examples or a document in the system's turn, a question of its own in the user's."""
    beginnings = [text(rng, kind.shared_tokens) for _ in range(kind.shared)]
    draw = _zipf(beginnings, rng)
    return lambda: (draw(), text(rng, kind.own_tokens))


def _zipf(things: Sequence[str], rng: random.Random) -> Callable[[], str]:
    weights = list(accumulate((number + 1) ** -ZIPF for number in range(len(things))))
    return lambda: rng.choices(things, cum_weights=weights)[0]


def text(rng: random.Random, words: int) -> str:
    """So many common words."""
    return " ".join(rng.choices(_WORDS, k=words))
