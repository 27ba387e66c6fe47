"""Every attack, by kind, in the order of `docs/attacks.md`; and the kinds against which there is no defence yet."""

from evals.adversary.attack import Attack
from evals.adversary.attacks.cells import CELLS
from evals.adversary.attacks.cloves import CLOVES
from evals.adversary.attacks.floods import FLOODS
from evals.adversary.attacks.group_messages import GROUP_MESSAGES
from evals.adversary.attacks.handshakes import HANDSHAKES
from evals.adversary.attacks.liars import LIARS
from evals.adversary.attacks.orphans import ORPHAN_CLOVES
from evals.adversary.attacks.paths import PATHS
from evals.adversary.attacks.rebuilding import REBUILDING
from evals.adversary.attacks.sockets import SOCKETS
from evals.adversary.attacks.timing import TIMING

KINDS = (
    "Tagging",
    "Replay of data cells",
    "Replay of handshakes",
    "Path bias",
    "Selective denial of service",
    "Sybil",
    "Predecessor and intersection",
    "List partitioning",
    "Timing correlation across the four cloves",
    "Clove-length correlation",
    "Path-id linkability",
    "Proxy learns destination",
    "Model node sees proxies",
    "Drop or corrupt cloves",
    "DoS: CREATE flood",
    "DoS: cell flood, slow reader",
    "DoS: orphan cloves at the model node",
    "Session id at the model node",
    "Prefix-cache probing",
    "Response traffic analysis",
    "First-hop compromise",
    "First-hop tapping by an ISP",
    "Compelled or stolen onion key",
    "Harvest now, decrypt later",
    "Crash and log leakage",
    "Withheld heartbeats",
    "Lying model node",
    "Replay of a group's messages",
    "DoS: flooded tree",
)
_ALL = (*CELLS, *CLOVES, *FLOODS, *GROUP_MESSAGES, *HANDSHAKES, *LIARS, *ORPHAN_CLOVES, *PATHS, *REBUILDING, *SOCKETS, *TIMING)
ATTACKS: tuple[Attack, ...] = tuple(sorted(_ALL, key=lambda attack: KINDS.index(attack.row)))

UNDEFENDED = (
    (
        "Prefix-cache probing by another user",
        "A user can find out from the time to its own first token whether somebody asked the same node something with the "
        "same beginning: model nodes share their prefix cache among all who ask, on purpose (forwarding lives from it). "
        "Whoever only watches the wire sees ticks, not that time (`cached-prefix`). Who minds asks with `no-share` or a salt: "
        "gateway.md, section 7.",
    ),
    (
        "A global observer",
        "Who sees both ends of enough paths can correlate volume and time. Modes make that dearer, no mode prevents it.",
    ),
)
