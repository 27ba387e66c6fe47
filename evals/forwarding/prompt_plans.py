"""The plans of the side by side: which prompt arrives when, and where. Everything follows from the seed.

`uniform`: prefixes equally likely, and the fleet's caches hold them all; nothing conflicts. `conflict`: Zipf 1.1 over more
prefixes than the caches hold, and one prompt in two begins with a system prompt that all share: its holder cannot serve
them all, and everybody else would have to read it first. `conversations`: turns that contain all turns before, each
at an entry drawn anew. `rate`: engines that hardly take time, and many requests of 8 KB: what a router's own work costs.
`embedded`: real engines on this machine's cores, few and slow.
Arrivals are Poisson. A word is four bytes, the token of a fake engine.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from evals.forwarding.fake_engine import BLOCK_TOKENS, EngineSpeed
from evals.forwarding.load import Ask

WARM_UP = 0.4


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of traffic: requests a second over the whole fleet, lengths and each engine's cache in tokens.

    Fake engines take 40 us to read a token, as 8B parameters on a large GPU do. Real ones are llama.cpp servers with two slots
    each, whose caches hold one prompt a slot."""

    name: str
    rate: float
    prefixes: int
    zipf: float
    prefix_tokens: int
    suffix_tokens: int
    cache_tokens: int
    shared_by: float = 0.0
    turns: int = 1
    think_s: float = 0.0
    answer_tokens: int = 8
    fleet: str = "fake"
    engines: int = 4
    token_us: float = 40.0
    step_ms: float = 2.0

    @property
    def speed(self) -> EngineSpeed:
        """The fake engines' settings."""
        return EngineSpeed(blocks=self.cache_tokens // BLOCK_TOKENS, token_us=self.token_us, step_ms=self.step_ms)


SCENARIOS = {
    each.name: each
    for each in (
        Scenario("uniform", 40, 48, 0.0, 3072, 256, 65536),
        Scenario("conflict", 44, 64, 1.1, 3072, 1024, 49152, shared_by=0.5),
        Scenario("conversations", 40, 400, 0.0, 1024, 384, 65536, turns=6, think_s=1.0),
        Scenario("rate", 250, 48, 0.0, 1792, 256, 65536, answer_tokens=2, token_us=1.0, step_ms=0.1),
        Scenario("embedded", 0.5, 4, 0.0, 120, 16, 0, answer_tokens=4, fleet="embedded", engines=2),
    )
}


def words(rng: random.Random, tokens: int) -> str:
    """Text of so many words of three letters and a space."""
    letters = rng.choices("abcdefghijklmnopqrstuvwxyz", k=3 * tokens)
    return "".join(f"{a}{b}{c} " for a, b, c in zip(*[iter(letters)] * 3, strict=True))


def plan(scenario: Scenario, seconds: float, entries: int, seed: int, model: str) -> list[Ask]:
    """The requests of so many seconds, by time. The first two fifths of them warm up."""
    rng = random.Random(f"{scenario.name} {seed}")
    chats = _conversations if scenario.turns > 1 else _singles
    asked = sorted(chats(scenario, seconds, rng), key=lambda each: each[0])
    warm = WARM_UP * seconds
    return [
        Ask(due, rng.randrange(entries), _body(turns, model, scenario.answer_tokens), due >= warm)
        for due, turns in asked
        if due < seconds
    ]


def _arrivals(rate: float, seconds: float, rng: random.Random) -> Iterator[float]:
    now = rng.expovariate(rate)
    while now < seconds:
        yield now
        now += rng.expovariate(rate)


def _singles(scenario: Scenario, seconds: float, rng: random.Random) -> Iterator[tuple[float, list[dict[str, str]]]]:
    shared = words(rng, scenario.prefix_tokens)
    prefixes = [words(rng, scenario.prefix_tokens) for _ in range(scenario.prefixes)]
    draw = _zipf(prefixes, scenario.zipf, rng)
    for due in _arrivals(scenario.rate, seconds, rng):
        system = shared if rng.random() < scenario.shared_by else draw()
        yield due, [_turn("system", system), _turn("user", words(rng, scenario.suffix_tokens))]


def _zipf(things: Sequence[str], exponent: float, rng: random.Random) -> Callable[[], str]:
    weights = list(accumulate((number + 1) ** -exponent for number in range(len(things))))
    return lambda: rng.choices(things, cum_weights=weights)[0]


def _conversations(scenario: Scenario, seconds: float, rng: random.Random) -> Iterator[tuple[float, list[dict[str, str]]]]:
    """Conversations begin evenly, also before the first second, so that all turns are met from the start."""
    system = _turn("system", words(rng, scenario.prefix_tokens))
    long = scenario.turns * scenario.think_s
    for begun in _arrivals(scenario.rate / scenario.turns, seconds + long, rng):
        due, turns = begun - long, [system]
        for _ in range(scenario.turns):
            turns = [*turns, _turn("user", words(rng, scenario.suffix_tokens))]
            if due >= 0:
                yield due, turns
            turns = [*turns, _turn("assistant", words(rng, scenario.answer_tokens))]
            due += rng.expovariate(1 / scenario.think_s)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _body(turns: list[dict[str, str]], model: str, answer_tokens: int) -> bytes:
    body = {"model": model, "messages": turns, "stream": True, "max_tokens": answer_tokens, "temperature": 0}
    return json.dumps({**body, "stream_options": {"include_usage": True}}).encode()
