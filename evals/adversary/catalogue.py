"""Every attack, in the order of `docs/attacks.md`."""

from evals.adversary.attack import Attack
from evals.adversary.attacks.cells import CELLS
from evals.adversary.attacks.cloves import CLOVES
from evals.adversary.attacks.handshakes import HANDSHAKES
from evals.adversary.attacks.paths import PATHS
from evals.adversary.attacks.rebuilding import REBUILDING
from evals.adversary.attacks.sockets import SOCKETS

ATTACKS: tuple[Attack, ...] = (*CELLS, *CLOVES, *HANDSHAKES, *PATHS, *REBUILDING, *SOCKETS)
