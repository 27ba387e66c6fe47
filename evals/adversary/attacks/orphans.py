"""Cloves without sisters."""

from evals.adversary.attack import Attack, Outcome, standing
from evals.adversary.network import VirtualNetwork
from evals.adversary.user import UserMachine
from evals.adversary.wires import Carries
from network.clove import Clove, seal_clove
from network.commands import Command
from network.freshness import minute_of
from network.geometry import GEOMETRY, KEY, MESSAGE_ID, TOKEN
from network.handover import Handover, encode_handover
from network.sida import Slice
from serving_node.inbox import Inbox

ORPHANS, ORPHAN_LINKS = 4400, 20


def _orphan(user: UserMachine, key: bytes, now: float) -> bytes:
    """A sound clove of a message that has no others."""
    token, fragment = user.rng(TOKEN), user.rng(16)
    part = Slice(0, user.rng(KEY), fragment)
    clove = Clove(GEOMETRY.n, GEOMETRY.k, minute_of(now), user.rng(MESSAGE_ID), token, GEOMETRY.k * len(fragment), part)
    return encode_handover(Handover.CLOVE, token, seal_clove(clove, key))


def first_come(inbox: Inbox, clove: Clove, link: int) -> list[Command] | None:
    """A full inbox refuses whoever comes."""
    return None if inbox._is_full(clove) else []


def orphan_cloves(defended: bool) -> Outcome:
    """Somebody brings thousands of cloves that will never be whole, over links of its own, while a user asks."""
    with standing(defended, serving_node__inbox__Inbox___make_room=first_come):
        network = VirtualNetwork()
        user, flooder, model = network.add_user(), network.add_user(), network.model
        circuits = user.path_set(network.paths())
        links = [flooder.new_link() for _ in range(ORPHAN_LINKS)]
        for link in links:
            network.connect((flooder.name, link), model.entry, Carries.CLOVES)
        for number in range(ORPHANS):
            flooder.put(links[number % ORPHAN_LINKS], _orphan(flooder, model.entry.onion_key, network.clock.now))
        network.run(1.0)
        held = len(model.inbox)
        asked = user.ask(b"a question", model.entry, circuits)
        assert network.run_until(lambda: asked.ended)
        return Outcome(
            not asked.whole, f"orphans held: {held} of {ORPHANS}; honest prompt answered: {'yes' if asked.whole else 'no'}"
        )


ORPHAN_CLOVES = (
    Attack(
        "orphan-cloves",
        "DoS: orphan cloves at the model node",
        "who brings cloves that will never be whole, over twenty links",
        "counts per link, 10 s, and links that bring much make room for others (`serving_node/inbox.py`)",
        "a full table refuses whoever comes",
        orphan_cloves,
    ),
)
