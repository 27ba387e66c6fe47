"""Labels: the short names that the ledger lets anybody choose."""

from abci_app.state.errors import BAD_FIELD, TxError

# Stripped of all of these, a text of nothing else is empty: one call for every character.
_LABEL = "abcdefghijklmnopqrstuvwxyz0123456789-_."


def require_label(label: str, field: str) -> None:
    """1 to 64 characters of a-z, 0-9, dash, underscore and dot: safe in paths, URLs and logs. Raises TxError."""
    if not label or label.strip(_LABEL):
        raise TxError(BAD_FIELD, f"{field}: 1 to 64 of a-z, 0-9, '-', '_' and '.'")
