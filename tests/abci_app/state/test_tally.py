"""One node's epoch in numbers: means, cheats, and what needs more than f authors."""

from typing import Any

from abci_app.state.committee import members
from abci_app.state.tally import NodeTally


def test_credit_is_the_mean_rounded_down(chain: Any) -> None:
    committee = members(chain.state)
    assert NodeTally(credits=[3, 4, 4]).credit(committee) == 3
    assert NodeTally().credit(committee) is None
    assert NodeTally(credits=[9, 9], cheated=True).credit(committee) == 0


def test_one_author_alone_cannot_accuse(chain: Any) -> None:
    committee = members(chain.state)
    alone = NodeTally(credits=[8], missing_authors=[b"a", b"a"], other_prompt_authors=[b"a", b"a"])
    assert alone.credit(committee) == 8 and alone.missing(committee) == 0
    both = NodeTally(credits=[8], missing_authors=[b"a", b"b"], other_prompt_authors=[b"a", b"b", b"b"])
    assert both.credit(committee) == 2 and both.missing(committee) == 2
