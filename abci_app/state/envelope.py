"""What every transaction must pass before admission looks at its signer, in this order: size, decoding, kind, signature.

All of it depends on the bytes and the chain id alone, so the outcome, an `OpenedTx`, may be remembered between CheckTx,
PrepareProposal, ProcessProposal and FinalizeBlock.
"""

from dataclasses import dataclass

from abci_app.state.errors import BAD_SIGNATURE, MALFORMED, TOO_LARGE, UNKNOWN_KIND, TxError
from network.chain_tx import BODIES, MAX_TX_BYTES, SignedTx, TxKind, decode_tx, verify_tx
from network.codec import Message, decode
from network.errors import DecodeError


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a transaction with a right signature can never be valid: what a TxError says, without its traceback."""

    code: int
    detail: str


@dataclass(frozen=True, slots=True)
class OpenedTx:
    """A transaction whose signature is right: its envelope, and its body, unless a fault says why it can never be valid."""

    tx: SignedTx
    body: Message | None
    fault: Fault | None = None


def open_envelope(raw: bytes, chain_id: str) -> SignedTx:
    """The envelope in `raw`, its signature verified. Raises TxError."""
    tx = parse_envelope(raw)
    if not verify_tx(tx, chain_id):
        raise TxError(BAD_SIGNATURE)
    return tx


def parse_envelope(raw: bytes) -> SignedTx:
    """The envelope in `raw`, its signature not looked at. Raises TxError."""
    if len(raw) > MAX_TX_BYTES:
        raise TxError(TOO_LARGE, f"{len(raw)} bytes")
    try:
        tx = decode_tx(raw)
    except DecodeError as error:
        raise TxError(MALFORMED, str(error)) from error
    try:
        TxKind(tx.kind)
    except ValueError as error:
        raise TxError(UNKNOWN_KIND, f"kind {tx.kind}") from error
    return tx


def decode_body(tx: SignedTx) -> Message:
    """The body of an envelope of a known kind. Raises TxError."""
    try:
        return decode(BODIES[TxKind(tx.kind)], tx.body)
    except DecodeError as error:
        raise TxError(MALFORMED, str(error)) from error
