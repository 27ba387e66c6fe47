"""Can two relays that compare notes tell that they carry the same circuit, or the same prompt, by bytes and ids alone?

Claim: no. Gradient-boosted trees over what two non-adjacent relays see of real cells score an AUC of 0.50 +- 0.02; on the
published forwarding, where the bytes of a clove are the same on every link, the same trees score 1.
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evals.anonymity.present import Table, emit, judged, options
from evals.anonymity.scoring import Array, auc_error, cross_validated, fold_aucs
from evals.anonymity.views import BACKWARD, CREATE, FORWARD, HEAD, Circuit, record
from evals.report import Figure
from network.geometry import GEOMETRY, LINK_ID

WIDTH = GEOMETRY.cell
SHIFTS = (16, 32, GEOMETRY.created_slot, GEOMETRY.create_slot)
REGIONS = ((0, LINK_ID), (LINK_ID, HEAD), (HEAD, HEAD + GEOMETRY.tags), (HEAD + GEOMETRY.tags, WIDTH))
TOLERANCE = 0.02
SAME_CIRCUIT = {FORWARD: "forward", BACKWARD: "backward", CREATE: "create"}
LAST_HOP = GEOMETRY.hops - 1


@dataclass
class Pairs:
    """Pairs of views: `same` says whether they belong together, `run` which network they come from."""

    left: list[bytes]
    right: list[bytes]
    same: list[int]
    run: list[int]

    def add(self, left: bytes, right: bytes, same: bool, run: int) -> None:
        """One pair; views shorter than a cell (cloves) are compared as far as they go."""
        self.left.append(left[:WIDTH].ljust(WIDTH, b"\0"))
        self.right.append(right[:WIDTH].ljust(WIDTH, b"\0"))
        self.same.append(int(same))
        self.run.append(run)


def features(left: Array, right: Array) -> Array:
    """What a comparison of two views could use: equal bytes and bits by region and shift, shared strings, statistics."""
    changed = left ^ right
    columns = [(changed[:, start:end] == 0).sum(1) for start, end in REGIONS]
    columns += [np.unpackbits(changed[:, start:end], axis=1).sum(1) for start, end in REGIONS]
    for shift in SHIFTS:
        columns.append((left[:, shift:] == right[:, :-shift]).sum(1))
        columns.append((right[:, shift:] == left[:, :-shift]).sum(1))
    columns.append(np.array([_shared_strings(a, b) for a, b in zip(left, right, strict=True)]))
    means = left.mean(1) - right.mean(1)
    columns += [means, np.abs(means), np.abs(left.std(1) - right.std(1))]
    centred = (left - left.mean(1, keepdims=True)) * (right - right.mean(1, keepdims=True))
    columns.append(centred.mean(1))
    raw = np.concatenate([changed[:, :64], changed[:, -16:]], axis=1)
    return np.concatenate([np.stack(columns, 1).astype(np.float32), raw.astype(np.float32)], axis=1)


def _shared_strings(left: Array, right: Array) -> int:
    """Strings of four bytes that both views hold, wherever."""
    windows = [np.lib.stride_tricks.sliding_window_view(each, 4).copy().view(np.uint32).ravel() for each in (left, right)]
    return len(np.intersect1d(*windows))


def collect(runs: int, seed: int) -> dict[str, Pairs]:
    """Pairs of every question, half of them true. No view is used twice, so that pairs are independent of each other."""
    found: dict[str, Pairs] = {}
    chance = random.Random(seed)
    for run in range(runs):
        circuits = record(seed * 100_000 + run, request=300, answer=300)
        chance.shuffle(circuits)
        for (left, right), same in _couples(circuits):
            for kind, name in SAME_CIRCUIT.items():
                pairs = found.setdefault(f"same_circuit.{name}", Pairs([], [], [], []))
                pairs.add(left.at(kind, 0)[0], right.at(kind, LAST_HOP)[0], same, run)
            far = chance.randbytes(LINK_ID) + right.at(FORWARD, 0)[0][LINK_ID:]  # another path id, the same bytes
            found.setdefault("published", Pairs([], [], [], [])).add(left.at(FORWARD, 0)[0], far, same, run)
        for (left, right), same in _sisters(circuits):
            first = found.setdefault("same_prompt.first_relays", Pairs([], [], [], []))
            first.add(left.at(FORWARD, 0)[0], right.at(FORWARD, 0)[0], same, run)
            found.setdefault("same_prompt.proxies", Pairs([], [], [], [])).add(left.clove, right.clove, same, run)
    return found


def _couples(circuits: list[Circuit]) -> Iterator[tuple[tuple[Circuit, Circuit], bool]]:
    """Half of the circuits with themselves, the other half each with its neighbour."""
    half = len(circuits) // 2
    for at in range(half):
        yield (circuits[at], circuits[at]), True
        yield (circuits[half + at], circuits[half + (at + 1) % half]), False


def _sisters(circuits: list[Circuit]) -> Iterator[tuple[tuple[Circuit, Circuit], bool]]:
    """Of two users' four circuits each: two couples of one prompt, two of different prompts."""
    first, second = ([each for each in circuits if each.user == user] for user in sorted({each.user for each in circuits}))
    yield (first[0], first[1]), True
    yield (second[0], second[1]), True
    yield (first[2], second[2]), False
    yield (first[3], second[3]), False


def score(pairs: Pairs, seed: int) -> tuple[float, float, int]:
    """(AUC, its standard error under guessing, pairs)."""
    left, right = (np.frombuffer(b"".join(side), np.uint8).reshape(-1, WIDTH) for side in (pairs.left, pairs.right))
    labels, runs = np.array(pairs.same), np.array(pairs.run)
    scores = cross_validated(features(left, right), labels, runs, seed)
    wins = int(labels.sum())
    return float(np.mean(fold_aucs(labels, scores, runs, seed))), auc_error(wins, len(labels) - wins), len(labels)


def judge(name: str, found: float) -> Figure:
    """The baseline must be linked, ours must not."""
    if name == "published":
        return judged("linkage.published", found, "AUC", ">= 0.99: the trees find what is there", found >= 0.99)
    return judged(f"linkage.{name}", found, "AUC", f"0.50 +- {TOLERANCE}", abs(found - 0.5) <= TOLERANCE)


def main() -> int:
    parser = options(__doc__ or "")
    parser.add_argument("--runs", type=int, default=1_200, help="networks of two users with four circuits each (default: 1200)")
    args = parser.parse_args()
    found = {name: score(pairs, args.seed) for name, pairs in collect(args.runs, args.seed).items()}
    rows = [[name, f"{area:.4f}", f"{error:.4f}", str(count)] for name, (area, error, count) in found.items()]
    table = Table("Two relays compare bytes and ids", ["question", "AUC", "error under guessing", "pairs"], rows)
    return emit("anonymity.linkage", [table], [judge(name, area) for name, (area, _, _) in found.items()], args.output)


if __name__ == "__main__":
    sys.exit(main())
