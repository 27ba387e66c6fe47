"""Records as documents: amounts, and transactions that cannot be read."""

import pytest

from network import chain_views as views


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0.000000000"), (1, "0.000000001"), (10**9, "1.000000000"), (512_345_678, "0.512345678")]
)
def test_amounts_are_decimal_strings(amount: int, text: str) -> None:
    assert views.decimal(amount) == text


def test_an_unreadable_transaction_is_still_told() -> None:
    assert views.tx_view(b"\xff")["kind"] == "unreadable"
