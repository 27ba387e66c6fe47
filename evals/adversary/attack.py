"""What an attack is: who tries what, which defence stands against it, and how to take that defence away.

`run(True)` attacks the product as it is, `run(False)` the product with that one defence switched off, by a parameter where
there is one, else by replacing one function or class for the length of the attack. The product has no such switch.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether the attacker got what it wanted, and what it got, with figures."""

    won: bool
    says: str


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack. `row` groups those of one kind; `defence` names files of the product; `off` says what the switch does."""

    name: str
    row: str
    attacker: str
    defence: str
    off: str
    run: Callable[[bool], Outcome]


@contextmanager
def standing(defended: bool, **replacements: Any) -> Iterator[None]:
    """Within it, the defence stands; or, undefended, `package__module__name=replacement` is in force."""
    with ExitStack() as stack:
        if not defended:
            for name, replacement in replacements.items():
                stack.enter_context(patch(re.sub("__(?=_?[a-zA-Z])", ".", name), replacement))
        yield
