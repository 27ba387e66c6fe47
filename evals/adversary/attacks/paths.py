"""What is tried with the choice of paths: being chosen more often, being first sooner or later, losing what does not suit."""

import random
from collections.abc import Sequence
from typing import Any

from evals.adversary.attack import Attack, Outcome, standing
from evals.adversary.town import NOW, Town
from network.chain_records import DirectoryEntry
from network.freshness import Rng
from network.geometry import GEOMETRY
from network.guards import GuardRules, GuardSet
from network.liveness import Liveness
from network.path_chooser import PathChooser
from network.paths import PathSet, RelayHistory, choose_paths

SETS = 40
USERS = 30


def draw_anyhow(relays: Any, count: int, rng: Rng, *, beside: Sequence[DirectoryEntry] = (), rank: Any = None) -> Any:
    """Any relays that are not yet there, whoever runs them and wherever they are."""
    left = [relay for relay in relays if relay.node_id not in {other.node_id for other in beside}]
    return sorted(left, key=lambda _: rng(8))[:count]


def _anyhow() -> dict[str, Any]:
    return {"network__paths__draw_disjoint": draw_anyhow, "network__guards__draw_disjoint": draw_anyhow}


def _path_sets(town: Town, count: int, seed: int) -> list[PathSet]:
    """So many path sets of one user, guards and all; all circuits stand."""
    chooser, directory = PathChooser(GuardSet(GuardRules()), random.Random(seed).randbytes), town.directory()
    sets = []
    for number in range(count):
        now = NOW + 600.0 * number
        sets.append(chooser.choose(directory, now))
        for path in sets[-1].paths:
            chooser.built(path, 0.3, now)
            chooser.ended_well(path)
    return sets


def _most_evil(town: Town, sets: Sequence[PathSet]) -> int:
    return max(sum(town.is_evil(relay) for path in each.paths for relay in path) for each in sets)


def one_family(defended: bool) -> Outcome:
    """One operator lists 60 relays beside 24 honest ones, each in a network of its own."""
    with standing(defended, **_anyhow()):
        town = Town(1).add(24).add(60, families=["sybil"], evil=True)
        most = _most_evil(town, _path_sets(town, SETS, seed=1))
        return Outcome(most > 1, f"most of its relays in one of {SETS} path sets: {most} of {GEOMETRY.n * GEOMETRY.hops}")


def one_network(defended: bool) -> Outcome:
    """Somebody lists 60 relays under 60 names, all in one /16."""
    with standing(defended, **_anyhow()):
        town = Town(2).add(24).add(60, network="203.1", evil=True)
        most = _most_evil(town, _path_sets(town, SETS, seed=2))
        return Outcome(most > 1, f"most of its relays in one of {SETS} path sets: {most} of {GEOMETRY.n * GEOMETRY.hops}")


def predecessor(defended: bool) -> Outcome:
    """Six of 60 relays note who connects to them; users build 40 path sets each."""
    town, exposed = Town(3).add(54).add(6, evil=True), 0
    for user in range(USERS):
        if defended:
            sets = _path_sets(town, SETS, seed=user)
        else:
            draw, directory = random.Random(user).randbytes, town.directory()
            sets = [choose_paths(directory, RelayHistory(), NOW, draw) for _ in range(SETS)]
        exposed += any(town.is_evil(path[0]) for each in sets for path in each.paths)
    return Outcome(exposed > 0.75 * USERS, f"users that some malicious relay saw come: {exposed} of {USERS}")


def fingerprint(defended: bool) -> Outcome:
    """The model node compares the proxies of two requests of each user."""
    town, right = Town(4).add(60), 0
    proxies: list[list[frozenset[bytes]]] = []
    for user in range(USERS):
        sets = _path_sets(town, 2, seed=user)
        seen = [frozenset(path[-1].node_id for path in each.paths) for each in (sets if defended else [sets[0]] * 2)]
        proxies.append(seen)
    for user in range(USERS):
        overlaps = [len(proxies[user][1] & proxies[other][0]) for other in range(USERS)]
        right += overlaps[user] == max(overlaps) and overlaps.count(max(overlaps)) == 1
    return Outcome(right > 0.5 * USERS, f"second requests given to their user: {right} of {USERS}")


def path_bias(defended: bool) -> Outcome:
    """One of the user's guards ends every circuit, once it stands, whose proxy is not a friend; a fifth of relays are."""
    with standing(defended, network__path_scores__Score__record=lambda self, succeeded: None):
        town = Town(5).add(48).add(12)
        directory, draw = town.directory(), random.Random(5).randbytes
        chooser = PathChooser(GuardSet(GuardRules()), draw)
        guard = chooser.choose(directory, NOW).paths[0][0]
        town.evil = {guard.node_id} | set(random.Random(5).sample([e.node_id for e in town.entries], 12))
        caught = 0
        for number in range(300):
            for path in chooser.choose(directory, now := NOW + 60.0 * number).paths:
                chooser.built(path, 0.3, now)
                if path[0] is not guard or town.is_evil(path[-1]):
                    caught += path[0] is guard and number >= 250
                    chooser.ended_well(path)
                else:
                    chooser.lost(path, now, linked=True)
        return Outcome(caught > 0, f"circuits with both ends malicious among the last 50 path sets: {caught}")


def withheld_heartbeats(defended: bool) -> Outcome:
    """Whoever brings this user its gossip passes on the heartbeats of the attacker's relays only."""
    with standing(defended, network__liveness__Liveness__is_doubted=lambda self, now: False):
        town = Town(6).add(48)
        directory, now = town.add(12, evil=True).directory(), NOW
        liveness = Liveness(lambda: directory)
        chooser = PathChooser(GuardSet(GuardRules()), random.Random(6).randbytes, lambda relay: liveness.usable(relay, now))
        chooser.choose(directory, now)
        while now < NOW + 60.0:
            now += 2.0
            for node in sorted(town.evil):
                liveness.heard(node, now)
        relays = [relay for _ in range(SETS) for path in chooser.choose(directory, now).paths for relay in path[1:]]
        evil = sum(map(town.is_evil, relays))
        return Outcome(evil > len(relays) / 2, f"middles and proxies that are the attacker's: {evil} of {len(relays)}")


PATHS = (
    Attack(
        "sybil-family",
        "Sybil",
        "an operator with far more relays than everybody else",
        "one relay of a family in a whole path set (`network/relay_draw.py`)",
        "relays are drawn whoever runs them",
        one_family,
    ),
    Attack(
        "sybil-network",
        "Sybil",
        "many names in one network",
        "one relay of a /16 (IPv6: /32) in a whole path set (`network/relay_draw.py`)",
        "relays are drawn wherever they are",
        one_network,
    ),
    Attack(
        "predecessor",
        "Predecessor and intersection",
        "a tenth of all relays, for a long time",
        "four guards, kept for months (`network/guards.py`)",
        "first relays are drawn for every path set",
        predecessor,
    ),
    Attack(
        "path-bias",
        "Path bias",
        "a guard that loses circuits which do not suit it",
        "success is counted; who loses too much comes last (`network/path_scores.py`)",
        "nothing is counted",
        path_bias,
    ),
    Attack(
        "proxies-as-a-name",
        "Model node sees proxies",
        "a model node that compares requests",
        "every request has middles and proxies of its own (`network/paths.py`)",
        "a user keeps its path set",
        fingerprint,
    ),
    Attack(
        "withheld-heartbeats",
        "Withheld heartbeats",
        "who brings a user its gossip and runs a fifth of the relays",
        "when more than a third is silent, gossip is doubted and not they (`network/liveness.py`)",
        "who is silent is never used",
        withheld_heartbeats,
    ),
)
