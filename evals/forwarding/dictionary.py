"""Who can confirm a prompt from fingerprints: `python -m evals.forwarding.dictionary [--trials N] [--output json]`.

The attacker has the symbols that a delta carries and a dictionary of prompts of equal length and equal beginning, one of which
was asked. It computes each candidate's path with what it knows and names the deepest match, at random among equals. For
an outsider, a member whose trust has ended, and members, on salted and unsalted prompts; beside it the chance of a guess.
"""

import argparse
import sys
from array import array
from collections.abc import Callable, Sequence
from math import log2
from pathlib import Path
from random import Random

from evals.forwarding.traces import CONVERSATION, TraceError, load
from evals.report import Row, missed, row, show
from network.hrtree.fingerprint import ChunkPlan, Space

CHAIN, GROUP, GENERATION = "eval", "m", 7
PREAMBLE = 192  # tokens that every candidate begins with: the attacker knows the template
PROMPT = 640
PLAN = ChunkPlan()


def spaces(rng: Random) -> tuple[Space, Space]:
    """The group's space of this generation and of the one before: a secret each, drawn apart."""
    now, before = rng.randbytes(32), rng.randbytes(32)
    return (
        Space(CHAIN, GROUP, GENERATION, plan=PLAN, secret=now),
        Space(CHAIN, GROUP, GENERATION - 1, plan=PLAN, secret=before),
    )


def candidates(rng: Random, count: int) -> list[bytes]:
    """Prompts of one length that part after the preamble."""
    preamble = _words(rng, PREAMBLE)
    return [array("I", preamble + _words(rng, PROMPT - PREAMBLE)).tobytes() for _ in range(count)]


def depth(one: bytes, two: bytes) -> int:
    """How many leading symbols are alike."""
    return next((at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def named(rng: Random, logged: bytes, paths: Sequence[bytes]) -> int:
    """The candidate that the attacker names."""
    depths = [depth(logged, path) for path in paths]
    best = max(depths)
    return rng.choice([at for at, each in enumerate(depths) if each == best])


def attackers(rng: Random) -> dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]]:
    """Of each: how the victim's delta came about, and how the attacker computes a path."""
    now, before = spaces(rng)
    salt, guess = rng.randbytes(16), rng.randbytes(16)
    public = Space(CHAIN, GROUP, GENERATION, plan=PLAN)
    other = Space(CHAIN, GROUP, GENERATION, plan=PLAN, secret=rng.randbytes(32))
    return {
        "outsider": (now.path, public.path),
        "outsider_guesses_a_secret": (now.path, other.path),
        "former_member": (now.path, before.path),
        "member_salted": (lambda packed: now.path(packed, salt), now.path),
        "member_guesses_a_salt": (lambda packed: now.path(packed, salt), lambda packed: now.path(packed, guess)),
        "member": (now.path, now.path),
    }


def success(rng: Random, trials: int, size: int) -> dict[str, float]:
    """The share of trials in which each attacker names the prompt that was asked."""
    right = dict.fromkeys(attackers(Random(0)), 0)
    for _ in range(trials):
        prompts = candidates(rng, size)
        for name, (made, computed) in attackers(rng).items():
            true = rng.randrange(size)
            right[name] += named(rng, made(prompts[true]), [computed(packed) for packed in prompts]) == true
    return {name: count / trials for name, count in right.items()}


def chance_agreement(rng: Random, count: int) -> list[float]:
    """How often a wrong candidate agrees with a logged path in at least 1, 2 symbols beyond what it truly shares."""
    space, _ = spaces(rng)
    logged, *others = (space.path(packed) for packed in candidates(rng, count + 1))
    shared = PLAN.depth(PREAMBLE)
    beyond = [depth(logged, path) - shared for path in others]
    return [sum(each >= symbols for each in beyond) / count for symbols in (1, 2)]


def length_bits(path: Path, count: int) -> float:
    """What a path's length alone tells of a prompt of the trace: the entropy of the number of chunks."""
    trace = load(path).first(count)
    depths = [PLAN.depth(request.prompt_tokens) for request in trace.requests]
    shares = [depths.count(each) / len(depths) for each in set(depths)]
    return -sum(share * log2(share) for share in shares)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when no goal is missed, 1 otherwise, 2 when the trace cannot be read."""
    options = _parser().parse_args(arguments)
    rng = Random(options.seed)
    guess = 1 / options.size
    # Three standard deviations above a guess's expectation: what chance alone stays below.
    bound = guess + 3 * (guess * (1 - guess) / options.trials) ** 0.5
    rows: list[Row] = []
    for name, share in success(rng, options.trials, options.size).items():
        limit = None if name == "member" else 100 * bound
        rows.append(row(name, 100 * share, "%", baseline="a guess", baseline_value=100 * guess, at_most=limit))
    for symbols, share in enumerate(chance_agreement(rng, options.candidates), 1):
        expected = 2.0 ** (-8 * symbols)
        said = "2^-8 a symbol"
        rows.append(row(f"agree_by_chance_{symbols}", 1e6 * share, "ppm", baseline=said, baseline_value=1e6 * expected))
    try:
        rows.append(row("length_tells", length_bits(options.trace, 0), "bits"))
    except TraceError as error:
        print(error, file=sys.stderr)
        return 2
    show("dictionary", rows, options.output)
    return 1 if missed(rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evals.forwarding.dictionary", description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--size", type=int, default=100, help="prompts in the dictionary")
    parser.add_argument("--candidates", type=int, default=200_000, help="wrong candidates for the chance of agreement")
    parser.add_argument("--trace", type=Path, default=CONVERSATION)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    return parser


def _words(rng: Random, count: int) -> list[int]:
    return rng.choices(range(1, 50_000), k=count)


if __name__ == "__main__":
    sys.exit(main())
