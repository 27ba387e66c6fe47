"""`docs/attacks.md`, written from the attacks themselves and what came of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from evals.adversary.attack import Attack, Outcome
from evals.adversary.catalogue import UNDEFENDED

HEAD = """# Attacks

What is tried against the overlay, what stands against it, and what happens when that one defence is taken away. Each row
is an attack on the real code: relay cores, circuits, sessions and inboxes on a virtual clock, the user node and the clove
server as they run, model nodes' forwarders and the posts between them, or sockets on loopback where the attack needs them
([evals/adversary](../evals/adversary/README.md)).
The product has no switch for its defences: an attack without one runs with a parameter that turns it off where there is
such a parameter, else with one function replaced for its length.

```
python -m evals.adversary                    # all of them, with and without; --only NAME
pytest tests/attacks -k tagging              # one of them
python -m evals.adversary --output document  # this page
```

`tests/attacks` is part of `make test`: it fails when a defence fails, when an attack fails even *without* its defence (then
nothing was tested), and when this page's rows are not those of the code. What is not defended is in
[overlay.md](overlay.md), section 10.

"""

PROCESSES = """## Against real processes

`pytest -m slow tests/attacks -s` floods a relay process over real sockets and prints what came of it. One run, beside seven
other builds on a machine of two cores: 16 links sent 261,152 set-ups that nobody can open in 15 s; the relay asked 191,109
of them for a puzzle and opened 6,683 that a link may bring without one; 39 of 40 honest circuits through it were built
meanwhile; the relay grew by 10.6 MiB. A user who asked for 200,000 pieces of text and stopped reading after three: the relay
that grew most of twelve grew by 0.7 MiB, the model node gave the answer up, and every table was empty again.

`python -m evals.adversary.chaos` lets relays die, come back, drop, delay, alter and repeat cells at random while users ask, in
virtual time: every prompt must end, no answer may be wrong, and nothing may be left when all have gone.
"""


@dataclass(frozen=True, slots=True)
class Tried:
    """One attack, made twice."""

    attack: Attack
    defended: Outcome
    undefended: Outcome

    @property
    def holds(self) -> bool:
        """The defence stops it, and nothing else does."""
        return not self.defended.won and self.undefended.won


def rows(attacks: Sequence[Attack]) -> list[str]:
    """What of the table is known before any attack is made, line by line."""
    return [f"| `{a.name}` | {a.row} | {a.attacker} | {a.defence} | {a.off} |" for a in attacks]


def document(tried: Sequence[Tried]) -> str:
    """The page."""
    lines = [HEAD, "| attack | kind | who | defence | without it |", "| --- | --- | --- | --- | --- |"]
    lines += rows([each.attack for each in tried])
    lines += ["", "## What came of them", "", "| attack | with the defence | without |", "| --- | --- | --- |"]
    lines += [f"| `{each.attack.name}` | {each.defended.says} | {each.undefended.says} |" for each in tried]
    lines += ["", PROCESSES, "## What nothing stands against", "", *(f"- **{kind}.** {why}" for kind, why in UNDEFENDED)]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"
