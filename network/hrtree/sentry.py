"""The Sentry: finds, in live traffic, the lengths at which prompts stop being alike, and the chunk plan that fits them.

It keeps no prompt. Of each it takes keyed 64-bit sums of its first words at every 16 tokens, under a key that never leaves this
node, and counts those that come again; that tells how far a *popular* prefix reaches. How far the prompt matched in the
HR-Tree tells of prefixes that only grow. Memory is bounded and old counts decay. `docs/forwarding.md` section 8.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from network.hrtree.fingerprint import TOKEN_BYTES, ChunkPlan
from network.hrtree.multilinear import Sums
from network.hrtree.terms import LONGEST, MAX_LENGTHS, SHORTEST, Proposal, is_sane, plan_of

GRID = 16  # tokens: how finely boundaries are found, and the small chunk d that follows one
DEEPEST = 8192  # tokens: beyond, chunks are of one length
WINDOW = 1024  # prompts, after which all counts are halved
ENOUGH = 64
MOST_COUNTERS = 16_384
FRONTIER = 16  # new counters a prompt may begin
POPULAR = 8.0
POPULAR_SHARE = 0.01
MOST_BOUNDARIES = 16
WORTH_A_BOUNDARY = 1.0  # tokens more that a prompt matches, on average
WORTH_A_CHUNK = 0.05
UNTOUCHED = 128  # tokens: a hit needs two chunks, so the first ones stay
LONG = 512  # tokens: what chunks that nobody parts in are merged to
CHANCE = 0.25  # how often a prompt that parts from many others seems to share the chunk after that, too


class Sentry:
    """Watches the prompts that one node's engine takes."""

    def __init__(self, key: bytes, default: ChunkPlan) -> None:
        self.prompts = 0
        self._default = default
        self._sums = Sums(key)
        self._grid = [end for end in range(GRID, DEEPEST + 1, GRID)]
        self._counts: dict[bytes, float] = {}
        self._final: dict[int, float] = {}
        self._seen = 0
        self._total = 0.0

    def observe(self, packed: bytes, matched: int, plan: ChunkPlan) -> None:
        """One prompt; `matched` of its tokens, as far as `plan` can tell, our engine was believed to hold."""
        self._seen += 1
        self._total += 1
        points = self._points(packed)
        popular, known = self._popular(points)
        for point in points[known : known + FRONTIER]:
            self._counts[point] = 1.0
        depth = plan.depth(matched)
        # Where many prompts part, the next symbol is often alike by chance: one chunk beyond the popular prefix is none.
        if popular and popular >= plan.tokens(max(0, depth - 1)):
            final = popular
        else:
            final = self._spread(matched, plan.tokens(depth + 1))
        self._final[final] = self._final.get(final, 0.0) + 1
        if self._seen % WINDOW == 0:
            self._decay()
        if len(self._counts) > MOST_COUNTERS:
            self._shed()
        self.prompts = min(self.prompts + 1, WINDOW)

    def propose(self) -> Proposal:
        """The plan that what was seen asks for; one without prompts as long as too few were seen."""
        if self.prompts < ENOUGH:
            return Proposal()
        lengths, fixed = plan_for(self._final, self._total, self._default)
        return Proposal(self.prompts, lengths, fixed) if is_sane(lengths, fixed) else Proposal(self.prompts)

    def __len__(self) -> int:
        """Counters in use."""
        return len(self._counts)

    def _points(self, packed: bytes) -> list[bytes]:
        tokens = min(len(packed) // TOKEN_BYTES, DEEPEST)
        blocks = self._sums.blocks(packed, self._grid[: tokens // GRID])
        return [blocks[at : at + 16] for at in range(0, len(blocks), 16)]

    def _popular(self, points: Sequence[bytes]) -> tuple[int, int]:
        """How many leading tokens many prompts share with this one, and how many of its points were counted before."""
        enough = max(POPULAR, self._total * POPULAR_SHARE)
        counts, popular = self._counts, 0
        for at, point in enumerate(points):
            count = counts.get(point)
            if count is None:
                return popular, at
            counts[point] = count + 1
            if count >= enough:
                popular = (at + 1) * GRID
        return popular, len(points)

    def _spread(self, matched: int, until: int) -> int:
        """Where in a chunk of the present plan this prompt parted: the ends of the default plan take turns."""
        ends = [end for end in self._default.ends(until) if matched < end < until]
        return [matched, *ends][self._seen % (len(ends) + 1)] if ends else matched

    def _decay(self) -> None:
        self._total /= 2
        self._counts = {point: count / 2 for point, count in self._counts.items() if count >= 2}
        self._final = {length: mass / 2 for length, mass in self._final.items() if mass >= 0.5}

    def _shed(self) -> None:
        """Forgets what came least often, down to half of the room. A prefix comes as often as what it begins, or oftener."""
        least = sorted(self._counts.values())[len(self._counts) // 2]
        self._counts = {point: count for point, count in self._counts.items() if count > least}


def plan_for(final: Mapping[int, float], total: float, default: ChunkPlan) -> tuple[tuple[int, ...], int]:
    """Lengths and fixed length for prompts that part after `final` tokens, so and so many of `total` each.

    No lengths at all mean the default plan: nothing was found that is worth another.
    """
    mass = _Mass(final, total)
    ends = list(default.ends(DEEPEST))
    found = _with_boundaries(ends, mass)
    return (_lengths(_thinned(found, set(ends), mass)), default.fixed) if found != ends else ((), 0)


def merge(votes: Iterable[tuple[int, Proposal]], default: ChunkPlan) -> Proposal:
    """What more than half of the voters, by weight, have in common. Who has seen too little does not vote."""
    cast = [(weight, found) for weight, found in votes if found.prompts >= ENOUGH and is_sane(found.lengths, found.fixed)]
    half = sum(weight for weight, _ in cast) / 2
    weights: dict[int, int] = {}
    for weight, found in cast:
        for end in plan_of(found, default).ends(DEEPEST):
            weights[end] = weights.get(end, 0) + weight
    ends = _closed([end for end, weight in sorted(weights.items()) if weight > half], default)
    lengths = _lengths(ends)
    if not cast or ends == list(default.ends(DEEPEST)) or not is_sane(lengths, default.fixed):
        return Proposal()
    return Proposal(0, lengths, default.fixed)


class _Mass:
    """The share of prompts that part within a run of tokens."""

    def __init__(self, final: Mapping[int, float], total: float) -> None:
        self.lengths = sorted(final)
        self._sums = [0.0]
        for length in self.lengths:
            self._sums.append(self._sums[-1] + final[length] / max(total, 1.0))

    def between(self, start: int, end: int) -> float:
        """Of those that part at `start` tokens or later, and before `end`."""
        return self._sums[bisect_left(self.lengths, end)] - self._sums[bisect_left(self.lengths, start)]


def _with_boundaries(ends: Sequence[int], mass: _Mass) -> list[int]:
    """The ends, and where many prompts part between two of them an end just there, and another a small chunk later."""
    found = list(ends)
    for _ in range(MOST_BOUNDARIES):
        gain, boundary = max(((_gain(found, at, mass), at) for at in mass.lengths if _fits(found, at)), default=(0.0, 0))
        if gain < WORTH_A_BOUNDARY:
            break
        found.insert(bisect_left(found, boundary), boundary)
        if _fits(found, boundary + GRID):
            found.insert(bisect_left(found, boundary + GRID), boundary + GRID)
    return found


def _fits(ends: Sequence[int], at: int) -> bool:
    place = bisect_left(ends, at)
    if not SHORTEST <= at < DEEPEST or place == len(ends):
        return False
    before = ends[place - 1] if place else 0
    return at - before >= SHORTEST and ends[place] - at >= SHORTEST


def _gain(ends: Sequence[int], at: int, mass: _Mass) -> float:
    """How many tokens more an average prompt would match with an end at `at`."""
    place = bisect_right(ends, at)
    before = ends[place - 1] if place else 0
    return mass.between(at, ends[place]) * (at - before)


def _thinned(ends: Sequence[int], usual: set[int], mass: _Mass) -> list[int]:
    """Without the usual ends before the last boundary at which next to nobody parts, as long as chunks do not get too long.

    Without an end its chunk is lost to who parts in it, and who parts before it may be thought to share more.
    """
    kept: list[int] = []
    before, last = 0, max(set(ends) - usual)
    for end, following in pairwise(ends):
        lost = mass.between(end, following) * (end - before)
        false = mass.between(before, end) * CHANCE * (following - end)
        if UNTOUCHED < end < last and end in usual and lost + false < WORTH_A_CHUNK and following - before <= LONG:
            continue
        kept.append(end)
        before = end
    return [*kept, ends[-1]] if ends else kept


def _closed(ends: Sequence[int], default: ChunkPlan) -> list[int]:
    """The ends, with those of the default plan where they leave too much between them, and without any too close."""
    kept: list[int] = []
    usual = default.ends(DEEPEST)
    for end in sorted({*ends, usual[-1]}) if usual else ():
        before = kept[-1] if kept else 0
        if end - before > LONGEST:
            kept += [each for each in usual if before < each < end]
            before = kept[-1] if kept else 0
        if end - before >= SHORTEST:
            kept.append(end)
    return kept[:MAX_LENGTHS]


def _lengths(ends: Sequence[int]) -> tuple[int, ...]:
    return tuple(end - before for before, end in pairwise((0, *ends)))
