"""Ids that the engine withheld are found again, or the ledger says that they are not."""

from serving_node.token_ledger import TokenLedger


def test_no_gap_no_question() -> None:
    ledger = TokenLedger()
    ledger.add([7], 1, "a")
    ledger.add([8], 2, "b")
    ledger.end(2)
    assert ledger.gaps == [] and ledger.ids() == (7, 8)


def test_a_gap_is_filled_by_the_tokens_of_its_text() -> None:
    ledger = TokenLedger()
    ledger.add([7], 1, "a")
    ledger.add([30], 4, "😊")
    (gap,) = ledger.gaps
    assert (gap.at, gap.missing, gap.text) == (3, 2, "😊")
    assert not ledger.try_fill(gap, [10, 20, 31])  # another last token than the engine told
    assert not ledger.try_fill(gap, [20, 30])  # another number of tokens
    assert ledger.try_fill(gap, [10, 20, 30])
    assert ledger.ids() == (7, 10, 20, 30)


def test_a_gap_at_the_end_needs_a_second_run() -> None:
    ledger = TokenLedger()
    ledger.add([7], 1, "a")
    ledger.end(3)
    (gap,) = ledger.gaps
    assert not ledger.try_fill(gap, [10, 20])
    assert not ledger.try_replace([7, 10])
    assert not ledger.try_replace([6, 10, 20])
    assert ledger.try_replace([7, 10, 20])
    assert ledger.ids() == (7, 10, 20)
