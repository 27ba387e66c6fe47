"""How many entry points share nodes without talking: work poured over predicted seconds, and replicas all can name.

Pure arithmetic behind the `ttft` policy; the reasons are in `docs/forwarding.md` section 5.5.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b


def pour(scores: Sequence[float], work_s: float) -> list[float]:
    """Each node's share of `work_s` seconds that all entry points together are about to hand out, as probabilities.

    Work runs to the lowest score like water, and fills up what lies below one common level. Without work the lowest score
    takes all; with much more work than the scores differ by, all take alike.
    """
    order = sorted(range(len(scores)), key=scores.__getitem__)
    below, wet = 0.0, 0
    for at in order:
        if wet and (work_s + below) / wet <= scores[at]:
            break
        below += scores[at]
        wet += 1
    level = (max(0.0, work_s) + below) / wet
    depths = [max(0.0, level - score) for score in scores]
    total = sum(depths)
    if not total:
        return [float(at == order[0]) for at in range(len(scores))]
    return [depth / total for depth in depths]


def draw(shares: Sequence[float], random: bytes) -> int:
    """One index, with the probability of its share."""
    left = int.from_bytes(random, "big") / (1 << 8 * len(random)) * sum(shares)
    for at, share in enumerate(shares):
        left -= share
        if left < 0:
            return at
    return max(range(len(shares)), key=shares.__getitem__)


def rendezvous(key: bytes, nodes: Iterable[bytes]) -> list[bytes]:
    """The nodes in the order in which they are to hold what `key` names: the same at every entry point, even for each node."""
    return sorted(nodes, key=lambda node: blake2b(node, digest_size=8, key=key[:64]).digest(), reverse=True)
