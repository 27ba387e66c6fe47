"""Every closed form of the overlay's anonymity, confidentiality and availability; pure, no randomness.

N nodes, a fraction f malicious, n paths of l hops, k cloves suffice. "Published" forms follow the evaluation scripts of the
published artifact, defects included; "sound" ones are the Bayesian posterior of an attacker who sees every malicious
relay's neighbours. Entropies are in bits; a normalised one is divided by log2 N. Derivations: `evals/anonymity/README.md`.
"""

from functools import cache
from itertools import product
from math import comb, log2


def h(x: float) -> float:
    """-x log2 x, and 0 at and below 0."""
    return 0.0 if x <= 0.0 else -x * log2(x)


def binomial(trials: int, p: float, wins: int) -> float:
    """P[Bin(trials, p) = wins]."""
    return comb(trials, wins) * p**wins * (1.0 - p) ** (trials - wins)


def malicious_nodes(nodes: int, f: float) -> int:
    """How many of N nodes are malicious."""
    return round(f * nodes)


# Confidentiality: the chance that fewer than k cloves are seen by the adversary.


def seen_on_any_hop(f: float, hops: int) -> float:
    """A clove's bytes are readable at every hop: chance that one path shows it to the adversary."""
    return 1.0 - (1.0 - f) ** hops


def confidentiality(p: float, n: int, k: int) -> float:
    """All adversaries pool what they see: P[fewer than k of n cloves are seen], each with chance p."""
    return sum(binomial(n, p, seen) for seen in range(k))


def confidentiality_4_3(p: float) -> float:
    """The same for (4, 3), written out."""
    return 1.0 - 4.0 * p**3 + 3.0 * p**4


def confidentiality_single_node(p: float, malicious: int) -> float:
    """Published variant, (4, 3): the adversaries do not pool; each seen clove is seen by one of them, chosen uniformly."""
    alone = 4.0 * p**3 * (1.0 - p) / malicious**2
    return 1.0 - alone - p**4 * (4.0 / malicious**2 - 3.0 / malicious**3)


def clean_paths(nodes: int, malicious: int, hops: int, n: int) -> list[float]:
    """P[exactly j of n disjoint paths of distinct relays hold no malicious one], j = 0..n; drawn without replacement."""
    honest = nodes - malicious

    def all_clean(paths: int) -> float:
        return comb(honest, hops * paths) / comb(nodes, hops * paths)

    return [sum((-1) ** (i - j) * comb(n, i) * comb(i, j) * all_clean(i) for i in range(j, n + 1)) for j in range(n + 1)]


def confidentiality_distinct(nodes: int, malicious: int, hops: int, n: int, k: int) -> float:
    """`confidentiality` for distinct relays: `hops` is how many hops of each path can read its clove (1: the last alone)."""
    return sum(clean_paths(nodes, malicious, hops, n)[n - k + 1 :])


# Published entropy.


def published_entropy(n: int, hops: int, f: float, nodes: int) -> float:
    """PlanetServe's and, with n = 1, onion routing's normalised entropy as published: colluders link within one path only."""
    per_path = [binomial(hops, f, bad) for bad in range(hops + 1)]
    expected = 0.0
    for bads in product(range(hops + 1), repeat=n):
        weight = 1.0
        for bad in bads:
            weight *= per_path[bad]
        expected += weight * _published_scenario(sum(1 for bad in bads if bad), n * hops - sum(bads), f, nodes)
    return expected / log2(nodes)


def published_entropy_garlic_cast(n: int, hops: int, f: float, nodes: int) -> float:
    """Garlic Cast's normalised entropy as published: one malicious relay anywhere exposes the predecessors of all n paths."""
    total = n * hops
    scenarios = ((bad, log2(nodes) if bad == 0 else _published_scenario(n, total - bad, f, nodes)) for bad in range(total + 1))
    return sum(binomial(total, f, bad) * entropy for bad, entropy in scenarios) / log2(nodes)


def _published_scenario(candidates: int, honest_positions: int, f: float, nodes: int) -> float:
    """H(c, S): c predecessors share c / (nl - S), the other honest nodes the rest (dropped where it is negative)."""
    if candidates == 0:
        return log2(nodes)
    if honest_positions == 0:
        return 0.0
    others = max(1, round((1.0 - f) * nodes) - candidates)
    return candidates * h(1.0 / honest_positions) + others * h((1.0 - candidates / honest_positions) / others)


# Sound posterior: positions hidden, as in every circuit whose hops cannot tell their place.


def first_is_bad(f: float, hops: int) -> float:
    """q = P[the first malicious hop is hop 1 | the path has a malicious hop]."""
    return f / (1.0 - (1.0 - f) ** hops)


def entropy_one_path(f: float, hops: int, nodes: int) -> float:
    """Normalised entropy when each path is seen alone."""
    honest = (1.0 - f) * nodes
    clean = (1.0 - f) ** hops
    q = first_is_bad(f, hops)
    seen = h(q) + (honest - 1.0) * h((1.0 - q) / (honest - 1.0))
    return (clean * log2(honest) + (1.0 - clean) * seen) / log2(nodes)


def entropy_linked(n: int, hops: int, f: float, nodes: int) -> float:
    """Normalised entropy when the attacker can tell that n paths belong to one user."""
    honest = (1.0 - f) * nodes
    seen, q = 1.0 - (1.0 - f) ** hops, first_is_bad(f, hops)
    pairs = ((c, a) for c in range(n + 1) for a in range(c + 1))
    return sum(binomial(n, seen, c) * binomial(c, q, a) * linked_entropy(c, a, q, honest) for c, a in pairs) / log2(nodes)


def first_is_bad_distinct(nodes: int, malicious: int, hops: int) -> float:
    """q for distinct relays: drawn without replacement out of `nodes` relays."""
    return malicious / nodes / (1.0 - comb(nodes - malicious, hops) / comb(nodes, hops))


def linked_weights_distinct(nodes: int, malicious: int, hops: int, n: int) -> dict[tuple[int, int], float]:
    """P[(c, a)] for n disjoint paths of distinct relays: c paths with a malicious hop, a of them with hop 1 malicious."""
    # Ways to have t malicious relays in one path, by what its first malicious hop is.
    first = [comb(hops - 1, t - 1) if t else 0 for t in range(hops + 1)]
    later = [comb(hops - 1, t) if t else 0 for t in range(hops + 1)]
    ways: dict[tuple[int, int, int], int] = {(0, 0, 0): 1}
    for _ in range(n):
        grown: dict[tuple[int, int, int], int] = {}
        for (c, a, t), count in ways.items():
            steps = [((c, a, t), 1)]
            steps += [((c + 1, a + 1, t + bad), first[bad]) for bad in range(1, hops + 1)]
            steps += [((c + 1, a, t + bad), later[bad]) for bad in range(1, hops + 1)]
            for key, more in steps:
                grown[key] = grown.get(key, 0) + count * more
        ways = grown
    weights: dict[tuple[int, int], float] = {}
    everyone, used = comb(nodes, malicious), n * hops
    for (c, a, t), count in ways.items():
        if t <= malicious and used - t <= nodes - malicious:
            weights[c, a] = weights.get((c, a), 0.0) + count * (comb(nodes - used, malicious - t) / everyone)
    return weights


def entropy_linked_distinct(nodes: int, malicious: int, hops: int, n: int) -> float:
    """`entropy_linked` for distinct relays: the user is one of N nodes, the other N - 1 are the relays of the directory."""
    relays, honest = nodes - 1, float(nodes - malicious)
    q = first_is_bad_distinct(relays, malicious, hops)
    weights = linked_weights_distinct(relays, malicious, hops, n)
    return sum(weight * linked_entropy(c, a, q, honest) for (c, a), weight in weights.items()) / log2(nodes)


def linked_entropy(seen: int, at_first: int, q: float, honest: float) -> float:
    """H(c, a): of c paths with a malicious hop, a show the user as predecessor, the others c - a distinct strangers.

    A predecessor seen m times has weight w^m against an unseen honest node.
    """
    weight = q * (honest - 1.0) / (1.0 - q)
    strangers = seen - at_first
    rest = honest - 1.0 - strangers
    total = weight**at_first + strangers * weight + rest
    return h(weight**at_first / total) + strangers * h(weight / total) + rest * h(1.0 / total)


def best_guess_linked(n: int, hops: int, f: float, nodes: int) -> float:
    """The chance that an attacker who links n paths names the user at its first attempt; -log2 of it is the min-entropy."""
    honest = (1.0 - f) * nodes
    seen, q = 1.0 - (1.0 - f) ** hops, first_is_bad(f, hops)
    weight = q * (honest - 1.0) / (1.0 - q)
    total = 0.0
    for c in range(n + 1):
        for a in range(c + 1):
            z = weight**a + (c - a) * weight + honest - 1.0 - (c - a)
            total += binomial(n, seen, c) * binomial(c, q, a) * max(weight**a, weight if c > a else 1.0) / z
    return total


def entropy_position_known(f: float, nodes: int) -> float:
    """Normalised entropy when a malicious hop knows its position: the user is lost exactly when hop 1 is malicious."""
    honest = (1.0 - f) * nodes
    return (1.0 - f) * log2(honest) / log2(nodes)


def pattern_entropy(bad: tuple[bool, ...], honest: float) -> float:
    """Bits left after one path whose malicious hops are `bad`, when the last hop knows that it is the last and l is public.

    Colluders on one path know how many honest hops lie between them, and the last hop anchors them. Without it the run of
    malicious hops may begin at any place that leaves a hop behind it, and all these places are equally likely, since each has
    as many malicious and honest hops as the others: hop 1 has chance 1 / places.
    """
    return _pattern_bits(_first_hop_chance(bad), honest) if any(bad) else log2(honest)


def entropy_last_hop_knows(f: float, hops: int, nodes: int) -> float:
    """Normalised entropy of one path for our circuits: the last hop knows its place (it hands over), the others do not."""
    honest = (1.0 - f) * nodes
    expected = 0.0
    for bad in product((False, True), repeat=hops):
        weight = f ** sum(bad) * (1.0 - f) ** (hops - sum(bad))
        expected += weight * pattern_entropy(bad, honest)
    return expected / log2(nodes)


@cache
def _first_hop_chance(bad: tuple[bool, ...]) -> float:
    """Chance that the first malicious hop is hop 1, given what the malicious hops of one path know together."""
    if bad[-1]:
        return 1.0 if bad[0] else 0.0
    first, last = bad.index(True), len(bad) - 1 - bad[::-1].index(True)
    return 1.0 / (len(bad) - (last - first + 1))


def _pattern_bits(chance: float, honest: float) -> float:
    return h(chance) + (honest - 1.0) * h((1.0 - chance) / (honest - 1.0))


# Guards, correlation, availability.


def some_guard_bad(f: float, guards: int) -> float:
    """P[at least one kept first relay is malicious]: does not grow with use."""
    return 1.0 - (1.0 - f) ** guards


def some_first_hop_bad(f: float, n: int, sets: int) -> float:
    """The same without guards, after `sets` fresh path sets of n circuits."""
    return 1.0 - (1.0 - f) ** (n * sets)


def some_guard_bad_by(f: float, guards: int, days: float, least: float, most: float) -> float:
    """The same with guards replaced after a uniform lifetime of `least` to `most` days, `days` after the first use.

    Each guard slot is a renewal process; the mean of (1 - f)^(renewals) is solved on a grid of a quarter of a day.
    """
    step = 0.25
    first, last = round(least / step), round(most / step)
    alive: list[float] = []
    for at in range(round(days / step) + 1):
        # E[(1-f)^(guards held by time at)] for one slot, by the age of its first guard.
        passed = max(0, min(last, at) - first + 1) if at >= first else 0
        count = last - first + 1
        renewed = sum(alive[at - age] for age in range(first, min(last, at) + 1))
        alive.append((1.0 - f) * ((count - passed) + renewed) / count)
    return 1.0 - alive[-1] ** guards


def both_ends_bad(f: float, n: int, at_least: int = 1) -> float:
    """P[at least so many of n paths have a malicious first and last hop]: end-to-end timing can confirm them."""
    return sum(binomial(n, f * f, count) for count in range(at_least, n + 1))


def path_survival(failing: float, hops: int) -> float:
    """s: no hop of a path fails, each with chance phi."""
    return (1.0 - failing) ** hops


def delivery(s: float, n: int, k: int) -> float:
    """P[at least k of n paths survive], each with chance s; 4 s^3 - 3 s^4 for (4, 3)."""
    return sum(binomial(n, s, alive) for alive in range(k, n + 1))


CROSSOVER_4_3 = (1.0 + 13.0**0.5) / 6.0  # below this s, (4, 3) delivers less than one path: 4 s^3 - 3 s^4 = s
