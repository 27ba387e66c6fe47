"""docs/ledger.md names every code, kind, parameter and key as the code has them."""

from dataclasses import fields
from pathlib import Path

from abci_app.state import errors
from abci_app.state.params import DEFAULT
from network.chain_tx import TxKind

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "ledger.md").read_text()


def test_every_code_is_documented() -> None:
    names = {value: name for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    for code in errors.meanings():
        assert f"| {code} | {names[code]} |" in TEXT


def test_every_kind_and_parameter_is_documented() -> None:
    for kind in TxKind:
        assert f"| {kind.value} {''.join(word.title() for word in kind.name.split('_'))} |" in TEXT
    for field in fields(DEFAULT):
        assert f"`{field.name}`" in TEXT, field.name
