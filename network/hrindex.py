"""One node's copy of its group's HR-Tree: a tree per fingerprint generation, at most three, under one memory cap.

Fingerprint keys change every `GENERATION_EPOCHS` epochs. Nodes see the change a few blocks apart, so the generation before
stays matchable and the one after is accepted early; whoever is served under the new key moves into the new tree by itself.
See `docs/forwarding.md` section 2.3.
"""

from dataclasses import dataclass

from network.fingerprint import ChunkPlan, Space
from network.hrtree import NODE_BYTES, HRTree

KEPT_GENERATIONS = 3
DEFAULT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Held:
    """How many leading tokens of a prompt a node is believed to hold, and when anybody last used that prefix."""

    tokens: int
    touched: float


class HRIndex:
    """Matches packed prompts against every live generation. Trees of other generations do not exist here."""

    def __init__(self, chain_id: str, group: str, plan: ChunkPlan | None = None, max_bytes: int = DEFAULT_BYTES) -> None:
        self.chain_id = chain_id
        self.group = group
        self.plan = plan or ChunkPlan()
        self.generation = 0
        self._max_nodes = max(1, max_bytes // NODE_BYTES // KEPT_GENERATIONS)
        self._trees: dict[int, HRTree] = {}
        self._spaces: dict[int, Space] = {}

    def __len__(self) -> int:
        """Tree nodes over all generations."""
        return sum(len(tree) for tree in self._trees.values())

    def advance(self, generation: int) -> None:
        """*Changes the index*: makes `generation` the current one and drops every tree that is too old. Never goes back."""
        self.generation = max(self.generation, generation)
        for old in [number for number in self._trees if not self.accepts(number)]:
            del self._trees[old], self._spaces[old]

    def accepts(self, generation: int) -> bool:
        """Whether a section of this generation belongs here: the current one, the one before, the one after."""
        return abs(generation - self.generation) <= 1

    def space(self, generation: int) -> Space:
        """The fingerprint space of an accepted generation."""
        if generation not in self._spaces:
            self._spaces[generation] = Space(self.chain_id, self.group, generation, plan=self.plan)
        return self._spaces[generation]

    def tree(self, generation: int) -> HRTree:
        """The tree of an accepted generation, made on first use."""
        if generation not in self._trees:
            self._trees[generation] = HRTree(self._max_nodes)
        return self._trees[generation]

    def path(self, packed: bytes) -> bytes:
        """The path of a packed prompt in the current generation."""
        return self.space(self.generation).path(packed)

    def match(self, packed: bytes) -> dict[bytes, Held]:
        """Every node that holds a prefix of the prompt: the deepest over all generations. *Does not change the index.*"""
        best: dict[bytes, Held] = {}
        for generation, tree in self._trees.items():
            if not len(tree):
                continue
            for node, holding in tree.match(self.space(generation).path(packed)).items():
                held = Held(self.plan.tokens(holding.depth), holding.touched)
                if node not in best or (held.tokens, held.touched) > (best[node].tokens, best[node].touched):
                    best[node] = held
        return best

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

    def evicted(self) -> int:
        """Tree nodes evicted for want of room since the start of the live generations."""
        return sum(tree.evicted for tree in self._trees.values())

    def check_integrity(self) -> None:
        """Raises AssertionError when a tree is damaged. *Does not change the index.*"""
        for tree in self._trees.values():
            tree.check_integrity()
