"""What a proposal's title may be; changes have tests of their own."""

import pytest

from abci_app.state.errors import BAD_FIELD, TxError
from abci_app.state.txs.propose import check_stateless
from network.chain_tx import Propose


@pytest.mark.parametrize("title", ["x", "Größere Blöcke, s'il vous plaît", "日本"])
def test_sound_titles(title: str) -> None:
    check_stateless(Propose(title, cancel="next"))


@pytest.mark.parametrize("title", ["", "a\nb", "\x1b[2J", "a\x7f", "\x9b2J"])
def test_titles_that_would_move_a_terminal_are_refused(title: str) -> None:
    with pytest.raises(TxError) as caught:
        check_stateless(Propose(title, cancel="next"))
    assert caught.value.code == BAD_FIELD


def test_a_proposal_changes_something() -> None:
    with pytest.raises(TxError, match="exactly one"):
        check_stateless(Propose("x"))
