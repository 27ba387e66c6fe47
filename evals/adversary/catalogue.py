"""Every attack, in the order of `docs/attacks.md`."""

from evals.adversary.attack import Attack
from evals.adversary.attacks.cells import CELLS
from evals.adversary.attacks.cloves import CLOVES

ATTACKS: tuple[Attack, ...] = (*CELLS, *CLOVES)
