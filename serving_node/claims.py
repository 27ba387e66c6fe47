"""What this node says its own engine holds: claimed when a prompt is admitted, taken back when the engine has evicted it.

Pure: writes the own paths into the shared index and their changes into the journal. See `docs/forwarding.md` section 4.6.
"""

from collections import OrderedDict

from network.hrtree.delta import ChangeKind
from network.hrtree.index import Held, HRIndex
from network.hrtree.journal import Journal
from network.hrtree.sentry import Sentry
from network.hrtree.sync import MAX_HELD_NODES
from serving_node.experience import SHORTFALL_TOKENS, Experience

REFRESH_S = 60.0
OWN_NODES = MAX_HELD_NODES // 2
REMEMBERED_ADMISSIONS = 1024
STALE_ADMISSION_S = 60.0
# The Sentry counts popular beginnings, which a sample shows as well: so many prompts at once, and so many a second.
WATCHED_AT_ONCE = 128
WATCHED_PER_S = 8.0


class Claims:
    """The own node's part of the tree. Prompts arrive packed; with `share` False one neither adds claims nor tests them.

    What is held under a salt is claimed under it.
    """

    __slots__ = ("_admitted", "_experience", "_index", "_journal", "_own", "_sentry", "_unwatched", "_watched_at")

    def __init__(
        self, own: bytes, index: HRIndex, journal: Journal, experience: Experience, sentry: Sentry | None = None
    ) -> None:
        self._own = own
        self._index = index
        self._journal = journal
        self._experience = experience
        self._sentry = sentry
        self._admitted: OrderedDict[bytes, tuple[float, int, float]] = OrderedDict()
        self._unwatched = float(WATCHED_AT_ONCE)
        self._watched_at = 0.0

    def admitted(self, packed: bytes, now: float, *, share: bool, salt: bytes = b"") -> None:
        """The engine is about to hold all of the prompt, and peers may know."""
        if not share:
            return
        path = self._index.path(packed, salt)
        held = self._index.match(packed, salt).get(self._own)
        # Of two equal prompts at once the second finds the first's claim before the engine holds it: the first view counts,
        # unless it was left behind by an answer that never came.
        if path not in self._admitted or self._admitted[path][0] + STALE_ADMISSION_S < now:
            self._admitted[path] = (now, held.tokens if held else 0, now - held.touched if held else 0.0)
        if len(self._admitted) > REMEMBERED_ADMISSIONS:
            self._admitted.popitem(last=False)
        self._watch(packed, held.tokens if held else 0, now)
        self._hold(path, held, now)

    def served(self, packed: bytes, cached_tokens: int, now: float, *, share: bool, salt: bytes = b"") -> None:
        """The engine has answered: what it had evicted of our claims is taken back, and the prompt claimed anew."""
        if not share:  # it read no cache, so what it missed there says nothing of what is held
            return
        path = self._index.path(packed, salt)
        _, claimed, age_s = self._admitted.pop(path, (now, 0, 0.0))
        if claimed:
            self._experience.saw_cache(self._own, claimed, min(claimed, cached_tokens + SHORTFALL_TOKENS), now, age_s)
        if cached_tokens + SHORTFALL_TOKENS < claimed:
            self._drop_beyond(packed, salt, cached_tokens)
        self._hold(path, self._index.match(packed, salt).get(self._own), now)

    def void(self) -> None:
        """The engine has started anew, its cache is empty: everything claimed is taken back."""
        self._admitted.clear()
        for number in self._index.generations():
            for path in self._index.tree(number).trim(self._own, 0):
                self._journal.record(number, ChangeKind.DROP, path)

    def keep_within(self, cache_tokens: int) -> None:
        """Drops our least recently used paths beyond what the engine's cache can hold (0: unknown), and tells."""
        for number in self._index.generations():
            for path in self._index.tree(number).trim(self._own, OWN_NODES, cache_tokens or None):
                self._journal.record(number, ChangeKind.DROP, path)

    def _watch(self, packed: bytes, held: int, now: float) -> None:
        if self._sentry is None:
            return
        self._unwatched = min(self._unwatched + (now - self._watched_at) * WATCHED_PER_S, WATCHED_AT_ONCE)
        self._watched_at = now
        if self._unwatched >= 1:
            self._unwatched -= 1
            self._sentry.observe(packed, held, self._index.plan)

    def _hold(self, path: bytes, held: Held | None, now: float) -> None:
        if not path:
            return
        added = self._index.tree(self._index.generation).insert(path, self._own, now)
        if added or held is None or now - held.touched >= REFRESH_S:
            self._journal.record(self._index.generation, ChangeKind.HOLD, path)

    def _drop_beyond(self, packed: bytes, salt: bytes, cached_tokens: int) -> None:
        """An engine evicts from the leaves up: what it lacks of this prompt, it lacks of every prompt that parts later."""
        for number in self._index.generations():
            space = self._index.space(number)
            path, keep = space.path(packed, salt), space.plan.depth(cached_tokens)
            if self._index.tree(number).remove_path(path[: keep + 1], self._own):
                self._journal.record(number, ChangeKind.DROP, path[: keep + 1])
