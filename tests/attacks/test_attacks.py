"""Every attack fails against the overlay as it is, and succeeds once the one defence that is named is switched off."""

import re
from pathlib import Path

import pytest

from evals.adversary.attack import Attack
from evals.adversary.catalogue import ATTACKS
from evals.adversary.document import rows

ROOT = Path(__file__).parents[2]
NAMES = [attack.name for attack in ATTACKS]


@pytest.mark.parametrize("attack", ATTACKS, ids=NAMES)
def test_the_defence_holds(attack: Attack) -> None:
    outcome = attack.run(True)
    assert not outcome.won, outcome.says


@pytest.mark.parametrize("attack", ATTACKS, ids=NAMES)
def test_without_the_defence_the_attack_succeeds(attack: Attack) -> None:
    outcome = attack.run(False)
    assert outcome.won, outcome.says


def test_the_page_lists_the_attacks() -> None:
    """`python -m evals.adversary --output document > docs/attacks.md` writes it again."""
    listed = [line for line in (ROOT / "docs" / "attacks.md").read_text().splitlines() if line.count("|") == 6]
    assert listed[2:] == rows(ATTACKS)


def test_the_files_that_defend_exist() -> None:
    named = {name for attack in ATTACKS for name in re.findall(r"`([^`]+\.py)`", attack.defence)}
    assert named and all((ROOT / name).is_file() for name in named)
    assert len(set(NAMES)) == len(NAMES)
