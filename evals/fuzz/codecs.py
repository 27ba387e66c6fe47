"""Targets of the canonical codec: every message class there is, and the transaction's envelope."""

import random

from evals.fuzz.engine import Target
from evals.fuzz.mutate import filled
from network import (
    chain_records,
    chain_tx,
    directory_summary,
    gossip,
    heartbeat,
    inference,
    proof,
    reachability,
)
from network.chain_tx import BODIES, SignedTx, TxKind, build_tx
from network.codec import Message, decode, encode
from network.crypto import SigningKey, sha256
from network.errors import DecodeError
from network.hrtree import delta, terms

_MODULES = (chain_tx, chain_records, inference, proof, heartbeat, gossip, directory_summary, reachability, delta, terms)
_CHAIN_ID = "fuzz"


def message_classes() -> list[type[Message]]:
    """Every message class of the transactions, the records, what they carry, the proofs, and what nodes gossip."""
    found = {
        f"{module.__name__}.{name}": value
        for module in _MODULES
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Message)
        and value is not Message
        and value.__module__ == module.__name__
    }
    return [found[name] for name in sorted(found)]


def targets() -> list[Target]:
    """One target per message class, and one for whole signed transactions."""
    draw = random.Random("codec seeds")
    return [*(_message(kind, draw) for kind in message_classes()), _envelope(draw)]


def _message(kind: type[Message], draw: random.Random) -> Target:
    def run(raw: bytes) -> str:
        try:
            message = decode(kind, raw)
        except DecodeError as error:
            return str(error)
        assert encode(message) == raw, "what was decoded encodes to other bytes"
        assert decode(kind, raw) == message
        return "taken"

    seeds = [encode(filled(kind, draw)) for _ in range(20)]
    return Target(f"codec/{kind.__name__}", "decodes, and encodes to the same bytes, or is refused", seeds, run)


def _envelope(draw: random.Random) -> Target:
    """Decoded as CheckTx decodes: envelope, then body."""

    def run(raw: bytes) -> str:
        try:
            tx = chain_tx.decode_tx(raw)
            body = decode(BODIES[TxKind(tx.kind)], tx.body) if tx.kind in set(TxKind) else None
        except DecodeError as error:
            return str(error)
        assert encode(tx) == raw and (body is None or encode(body) == tx.body)
        return "taken" if chain_tx.verify_tx(tx, _CHAIN_ID) else f"kind {tx.kind} with a wrong signature"

    key = SigningKey(sha256(b"fuzz"))
    seeds = []
    for kind in TxKind:
        for nonce in (1, 2**63 - 1):
            seeds.append(build_tx(kind, filled(BODIES[kind], draw), key=key, chain_id=_CHAIN_ID, nonce=nonce))
    seeds.append(encode(SignedTx()))
    return Target("codec/transaction", "envelope and body of every kind", seeds, run)
