"""Model nodes that lie to their group about what they hold and how busy they are, to be given prompts they serve badly."""

from evals.adversary.attack import Attack, Outcome
from evals.forwarding.liars import LIES, Lie, measured, workload

ROW = "Lying model node"
PROMPTS = 160
# A liar whose word counts for more than this in the end has got what it wanted.
BELIEVED = 0.8
OFF = "nodes learn nothing from what came of their forwards"


def lying(lie: Lie, defended: bool) -> Outcome:
    """Two of eight nodes lie for forty seconds; what is their word worth then to those who tried it?"""
    damage = measured(lie, workload(PROMPTS), defended=defended)
    says = (
        f"the liars' word counts {damage.liars_weight:.2f}, an honest node's {damage.honest_weight:.2f}; first token of the "
        f"second half after {damage.later_s:.2f} s in the mean"
    )
    return Outcome(damage.liars_weight > BELIEVED, says)


def _attack(name: str, attacker: str, defence: str) -> Attack:
    lie = next(lie for lie in LIES if lie.name == name)
    return Attack(name, ROW, attacker, defence, OFF, lambda defended: lying(lie, defended))


LIARS = (
    _attack(
        "claims-all",
        "two of eight nodes without a cache that claim every prefix they hear of",
        "claims are compared with the cached tokens of the reply (`serving_node/experience.py`)",
    ),
    _attack(
        "claims-and-swears",
        "the same, and they sign that they had cached what they claimed",
        "a hit and a miss are told apart by the time of the first token, and claimants are tried (`serving_node/audit.py`)",
    ),
    _attack(
        "passes-on",
        "two nodes that claim everything and hand every prompt to somebody else",
        "who was asked is judged by what came, whoever answered (`serving_node/beliefs.py`)",
    ),
    _attack(
        "everything-at-once",
        "two nodes five times slower than the others that claim all, swear it, and report idle engines a hundred times as fast",
        "prices within a factor of 4, own prompts that a report hides count on, lateness (`serving_node/bookings.py`)",
    ),
)
