"""One node's copy of its group's HR-Tree: a tree per fingerprint generation, at most three, under one memory cap.

Fingerprint keys change every `GENERATION_EPOCHS` epochs. Nodes see the change a few blocks apart, so the generation before
stays matchable and the one after is accepted early; whoever is served under the new key moves into the new tree by itself.
Chunk plan and secret of a generation are adopted, not chosen here. See `docs/forwarding.md` section 2.3.
"""

from collections import OrderedDict
from typing import NamedTuple

from network.hrtree.fingerprint import ChunkPlan, Space, Unit
from network.hrtree.tree import PARTING, HRTree

KEPT_GENERATIONS = 3
DEFAULT_BYTES = 64 * 1024 * 1024
# Prompts whose paths are kept from their decision to their answer.
RECENT_PATHS, RECENT_BYTES = 64, 2 * 1024 * 1024


class Held(NamedTuple):
    """How many leading tokens of a prompt a node is believed to hold, and when anybody last used that prefix."""

    tokens: int
    touched: float


class HRIndex:
    """Matches packed prompts against every live generation. Trees of other generations do not exist here."""

    def __init__(
        self,
        chain_id: str,
        group: str,
        plan: ChunkPlan | None = None,
        max_bytes: int = DEFAULT_BYTES,
        unit: Unit = Unit.TOKENS,
    ) -> None:
        self.chain_id = chain_id
        self.group = group
        self.unit = unit
        self.generation = 0
        self._tree_bytes = max_bytes // KEPT_GENERATIONS
        self._trees: dict[int, HRTree] = {}
        self._spaces: dict[int, Space] = {}
        self._recent: OrderedDict[tuple[int, int], tuple[bytes, Space, bytes, bytes]] = OrderedDict()
        self._recent_bytes = 0
        self._terms: dict[int, tuple[ChunkPlan, bytes]] = {-1: (plan or ChunkPlan(), b"")}

    @property
    def plan(self) -> ChunkPlan:
        """The chunk plan of the current generation."""
        return self.space(self.generation).plan

    def __len__(self) -> int:
        """Tree nodes over all generations."""
        return sum(len(tree) for tree in self._trees.values())

    def advance(self, generation: int) -> None:
        """*Changes the index*: makes `generation` the current one and drops every tree that is too old. Never goes back."""
        self.generation = max(self.generation, generation)
        self._trees = {number: tree for number, tree in self._trees.items() if self.accepts(number)}
        self._spaces = {number: space for number, space in self._spaces.items() if self.accepts(number)}
        oldest = self._before(self.generation - 1)
        self._terms = {number: terms for number, terms in self._terms.items() if number >= oldest}

    def accepts(self, generation: int) -> bool:
        """Whether a section of this generation belongs here: the current one, the one before, the one after."""
        return abs(generation - self.generation) <= 1

    def adopt(self, generation: int, plan: ChunkPlan, secret: bytes) -> tuple[int, ...]:
        """*Changes the index*: what the group has agreed on for a generation, and for later ones until they have their own.

        Returns the accepted generations whose symbols changed: their trees are empty now, what we hold is to be said anew.
        Terms of a generation that is not accepted change nothing.
        """
        if not self.accepts(generation):
            return ()
        live = range(max(0, self.generation - 1), self.generation + 2)
        before = {number: self.space(number).id for number in live}
        self._terms[generation] = (plan, secret)
        self._spaces = {number: self._space(number) for number in live}
        changed = tuple(number for number in live if self._spaces[number].id != before[number])
        for number in changed:
            self._trees.pop(number, None)
        return changed

    def space(self, generation: int) -> Space:
        """The fingerprint space of an accepted generation."""
        if generation not in self._spaces:
            self._spaces[generation] = self._space(generation)
        return self._spaces[generation]

    def _space(self, generation: int) -> Space:
        plan, secret = self._terms[self._before(generation)]
        return Space(self.chain_id, self.group, generation, self.unit, plan, secret)

    def _before(self, generation: int) -> int:
        """The newest generation with terms that is no later than this one, or the oldest there is."""
        return max((number for number in self._terms if number <= generation), default=min(self._terms))

    def tree(self, generation: int) -> HRTree:
        """The tree of an accepted generation, made on first use."""
        if generation not in self._trees:
            self._trees[generation] = HRTree(self._tree_bytes, self.space(generation).plan.tokens)
        return self._trees[generation]

    def path(self, packed: bytes, salt: bytes = b"") -> bytes:
        """The path of a packed prompt in the current generation."""
        return self._path(self.space(self.generation), packed, salt)

    def match(self, packed: bytes, salt: bytes = b"") -> dict[bytes, Held]:
        """Every node that holds a prefix of the prompt: the deepest over all generations. *Does not change the index.*

        A match that ends where many prompts part is taken back by a chunk: `docs/forwarding.md` section 3.
        """
        best: dict[bytes, Held] = {}
        for generation, tree in self._trees.items():
            if not len(tree):
                continue
            space = self.space(generation)
            for node, holding in tree.match(self._path(space, packed, salt), PARTING).items():
                held = Held(space.plan.tokens(holding.depth), holding.touched)
                if node not in best or (held.tokens, held.touched) > (best[node].tokens, best[node].touched):
                    best[node] = held
        return best

    def _path(self, space: Space, packed: bytes, salt: bytes) -> bytes:
        """A prompt is matched, claimed and, once it is answered, claimed again: an object seen lately has the same path."""
        key = (id(packed), space.generation)  # what is kept keeps its id
        kept = self._recent.get(key)
        if kept is not None and kept[1] is space and kept[2] == salt:
            return kept[3]
        path = space.path(packed, salt)
        if kept is None:
            self._recent_bytes += len(packed)
        self._recent[key] = (packed, space, salt, path)
        while len(self._recent) > RECENT_PATHS or (self._recent_bytes > RECENT_BYTES and len(self._recent) > 1):
            self._recent_bytes -= len(self._recent.popitem(last=False)[1][0])
        return path

    def generations(self) -> tuple[int, ...]:
        """Generations that have a tree, ascending."""
        return tuple(sorted(self._trees))

    def held(self, node: bytes) -> int:
        """How many tree nodes a node holds, over all generations."""
        return sum(tree.held(node) for tree in self._trees.values())

    def holders(self) -> set[bytes]:
        """Every node that holds anything."""
        return {node for tree in self._trees.values() for node in tree.holders()}

    def remove_node(self, node: bytes) -> None:
        """*Changes the index*: forgets a node in every generation."""
        for tree in self._trees.values():
            tree.remove_node(node)

    def most_bytes(self) -> int:
        """No less than all trees take in memory, no more than the cap."""
        return sum(tree.most_bytes for tree in self._trees.values())

    def evicted(self) -> int:
        """Tree nodes evicted for want of room since the start of the live generations."""
        return sum(tree.evicted for tree in self._trees.values())

    def check_integrity(self) -> None:
        """Raises AssertionError when a tree is damaged. *Does not change the index.*"""
        for tree in self._trees.values():
            tree.check_integrity()
