"""Monte Carlo: paths drawn relay by relay, an attacker who notes what it sees, Bayes' rule on the notes.

It shares no formula with `closed_forms.py` but the attacker's own estimate q, so agreement between the two means something.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import log2, sqrt

USER = -1


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error."""

    mean: float
    error: float

    def sigmas(self, expected: float) -> float:
        """How many standard errors it lies from `expected`; a sample without spread must hit it."""
        gap = abs(self.mean - expected)
        if self.error == 0.0:
            return 0.0 if gap < 1e-9 else float("inf")
        return gap / self.error

    def holds(self, expected: float, sigmas: float = 3.0) -> bool:
        """Whether it agrees with `expected`."""
        return self.sigmas(expected) <= sigmas


def estimate(samples: Sequence[float]) -> Estimate:
    """Mean and standard error of independent samples."""
    mean = sum(samples) / len(samples)
    spread = sum((sample - mean) ** 2 for sample in samples) / max(1, len(samples) - 1)
    return Estimate(mean, sqrt(spread / len(samples)))


def share(wins: int, runs: int) -> Estimate:
    """A frequency; where nothing (or everything) won, the error is that of one more (or fewer) win."""
    mean = wins / runs
    careful = min(max(wins, 1), runs - 1) / runs
    return Estimate(mean, sqrt(careful * (1.0 - careful) / runs))


@dataclass(frozen=True)
class View:
    """What the adversary holds after one path set: for each path with a malicious hop, the node before the first one."""

    predecessors: tuple[int, ...]

    def posterior(self, q: float, honest: int) -> "Posterior":
        """Who the user is, out of `honest` nodes, if each predecessor is the user with chance q and anyone else otherwise."""
        weight = q * (honest - 1) / (1.0 - q)
        seen = Counter(self.predecessors)
        weights = {node: weight**times for node, times in seen.items()}
        total = sum(weights.values()) + (honest - len(weights))
        return Posterior({node: each / total for node, each in weights.items()}, 1.0 / total, honest - len(weights))


@dataclass(frozen=True)
class Posterior:
    """Chances of the nodes that were seen; the `unseen` others have `each` apiece."""

    seen: dict[int, float]
    each: float
    unseen: int

    @property
    def entropy(self) -> float:
        """In bits."""
        bits = -sum(chance * log2(chance) for chance in self.seen.values() if chance > 0.0)
        return bits - (self.unseen * self.each * log2(self.each) if self.unseen else 0.0)

    @property
    def best(self) -> float:
        """The chance of the likeliest node: what the attacker's best guess is worth."""
        return max([*self.seen.values(), self.each if self.unseen else 0.0])

    @property
    def right(self) -> float:
        """The chance that the best guess is the user: 1 or 0 when one node is likeliest, less where several are."""
        likeliest = [node for node, chance in self.seen.items() if chance >= self.best]
        if likeliest and self.best > self.each:
            return float(USER in likeliest) / len(likeliest)
        return 0.0 if USER in self.seen else 1.0 / self.unseen


def view_of(paths: Iterable[Sequence[int]], malicious: Callable[[int], bool]) -> View:
    """The adversary's notes on paths of node numbers."""
    found = []
    for path in paths:
        bad = [place for place, node in enumerate(path) if malicious(node)]
        if bad:
            found.append(path[bad[0] - 1] if bad[0] else USER)
    return View(tuple(found))


def independent_paths(n: int, hops: int, malicious: int, nodes: int, rng: random.Random) -> list[list[int]]:
    """n paths whose hops are malicious independently, as the closed forms have it; nodes below `malicious` are."""
    chance = malicious / nodes
    honest = nodes - malicious - 1  # all but the user
    return [
        [rng.randrange(malicious) if rng.random() < chance else malicious + rng.randrange(honest) for _ in range(hops)]
        for _ in range(n)
    ]


@dataclass
class Tally:
    """What many path sets gave the attacker."""

    linked: list[float]
    alone: list[float]
    guesses: list[float]
    right: list[float]
    captured_any: list[int]
    captured_last: list[int]
    held_by_one: int = 0


def play(draws: Iterable[Sequence[Sequence[int]]], malicious: Callable[[int], bool], q: float, honest: int) -> Tally:
    """Notes, posteriors and seen cloves of many path sets."""
    tally = Tally([], [], [], [], [], [])
    for paths in draws:
        whole = view_of(paths, malicious).posterior(q, honest)
        tally.linked.append(whole.entropy)
        tally.guesses.append(whole.best)
        tally.right.append(whole.right)
        tally.alone.append(view_of(paths[:1], malicious).posterior(q, honest).entropy)
        tally.captured_any.append(sum(any(malicious(node) for node in path) for path in paths))
        tally.captured_last.append(sum(malicious(path[-1]) for path in paths))
        holders = Counter(node for path in paths for node in set(path) if malicious(node))
        tally.held_by_one = max(tally.held_by_one, max(holders.values(), default=0))
    return tally


def published_confidentiality(
    f: float, n: int, k: int, hops: int, malicious: int, runs: int, rng: random.Random
) -> tuple[Estimate, Estimate]:
    """(pooled, single observer) by the published model: a seen clove is seen by one malicious node, chosen uniformly."""
    seen_chance = 1.0 - (1.0 - f) ** hops
    pooled = alone = 0
    for _ in range(runs):
        observers = [rng.randrange(malicious) for _ in range(n) if rng.random() < seen_chance]
        pooled += len(observers) < k
        alone += max(Counter(observers).values(), default=0) < k
    return share(pooled, runs), share(alone, runs)
