"""Every attack fails against the overlay as it is, and succeeds once the one defence that is named is switched off."""

import pytest

from evals.adversary.attack import Attack
from evals.adversary.catalogue import ATTACKS

NAMES = [attack.name for attack in ATTACKS]


@pytest.mark.parametrize("attack", ATTACKS, ids=NAMES)
def test_the_defence_holds(attack: Attack) -> None:
    outcome = attack.run(True)
    assert not outcome.won, outcome.says


@pytest.mark.parametrize("attack", ATTACKS, ids=NAMES)
def test_without_the_defence_the_attack_succeeds(attack: Attack) -> None:
    outcome = attack.run(False)
    assert outcome.won, outcome.says
