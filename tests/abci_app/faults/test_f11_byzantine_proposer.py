"""F11, and F14 of real blocks: one of four validators proposes what no honest one would. Its peers refuse the block, or
take it and give each bad transaction a code; nobody falls, and the chain goes on."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from abci_app.state import errors
from network.chain_tx import SignedTx, TxKind, UpdateNode, build_tx, decode_tx
from network.codec import encode
from network.crypto import SigningKey, sha256

CHAIN_ID = "ledger-test"
REFUSED = ("undecodable", "too large", "forged", "other chain", "trailing byte", "unknown kind", "one bad among good")


def update(key: SigningKey, nonce: int, chain_id: str = CHAIN_ID) -> bytes:
    return build_tx(TxKind.UPDATE_NODE, UpdateNode(), key=key, chain_id=chain_id, nonce=nonce)


def refused_blocks(good: bytes) -> dict[str, list[bytes]]:
    """Blocks that no honest PrepareProposal makes."""
    tx = decode_tx(good)
    forged = encode(SignedTx(tx.kind, tx.nonce + 1, tx.signer, tx.body, tx.signature))
    return {
        "undecodable": [b"garbage"],
        "too large": [bytes(70_000)],
        "forged": [forged],
        "other chain": [update(SigningKey(sha256(b"byzantine")), 1, "elsewhere")],
        "trailing byte": [good + b"\x00"],
        "unknown kind": [encode(SignedTx(99, tx.nonce, tx.signer, tx.body, tx.signature))],
        "one bad among good": [good, b"garbage"],
    }


def rounds(validator: Any, low: int, high: int) -> list[int]:
    """The round in which each of these heights was decided."""
    return [int(validator.call("commit", height=str(h))["signed_header"]["commit"]["round"]) for h in range(low, high + 1)]


def propose(chain: Any, fault: Any, until: Any, txs: list[bytes], blocks: int) -> tuple[int, int, float]:
    """Let the byzantine validator propose this while so many blocks are decided; first and last height, and the seconds."""
    low = chain.validators[1].height() + 1
    fault.order("proposer", txs=[raw.hex() for raw in txs])
    seconds = until(lambda: chain.validators[1].height() >= low + blocks, chain.validators[1].log)
    fault.revoke("proposer")
    return low, low + blocks - 1, seconds


def occurrences(validator: Any, raw: bytes, low: int, high: int) -> list[tuple[int, Any]]:
    """(height, tx_result) of each time the blocks have this transaction."""
    found = []
    wanted = base64.b64encode(raw).decode()
    for height in range(low, high + 1):
        txs = validator.call("block", height=str(height))["block"]["data"]["txs"]
        if wanted in txs:
            results = validator.call("block_results", height=str(height))["txs_results"]
            found += [(height, result) for tx, result in zip(txs, results, strict=True) if tx == wanted]
    return found


@pytest.fixture
def byzantine(make_chain: Any, fast: Any, faults: Any) -> tuple[Any, Any]:
    """Four running validators; the first one takes orders."""
    chain = make_chain(4, params=fast, interval_ms=200)
    fault = faults(chain.validators[0])
    chain.start()
    chain.wait_height(3)
    return chain, fault


@pytest.mark.slow
def test_f11_what_no_honest_proposer_makes_is_refused(
    byzantine: tuple[Any, Any], until: Any, registration: Callable[..., bytes], same_everywhere: Any, measured: Any
) -> None:
    chain, fault = byzantine
    blocks = refused_blocks(registration(900))
    assert tuple(blocks) == REFUSED
    for name, txs in blocks.items():
        low, high, seconds = propose(chain, fault, until, txs, 8)
        later = [at for at in rounds(chain.validators[1], low, high) if at > 0]
        assert later, f"{name}: the byzantine proposer was not even asked, or its block was taken"
        assert not any(occurrences(chain.validators[1], raw, low, high) for raw in txs)
        measured(
            "F11", proposal=name, outcome="refused", blocks=high - low + 1, later_rounds=len(later), took_s=round(seconds, 2)
        )
    same_everywhere(chain)
    assert all(validator.children() for validator in chain.validators)


@pytest.mark.slow
def test_f11_what_is_merely_worthless_gets_codes(
    byzantine: tuple[Any, Any],
    until: Any,
    registration: Callable[..., bytes],
    committed: Any,
    same_everywhere: Any,
    measured: Any,
) -> None:
    """Duplicates, replays, nonces out of order: the envelope opens, so the block stands, and the copies cost a code each."""
    chain, fault = byzantine
    witness = chain.validators[1]
    fresh, replayed = registration(901), registration(902)
    assert committed(witness, replayed).get("code", 0) == 0
    later, earlier = registration(903, nonce=2), registration(903, nonce=1)
    low, high, _ = propose(chain, fault, until, [fresh, fresh, replayed, later, earlier], 8)
    codes = [int(result.get("code", 0)) for _, result in occurrences(witness, fresh, low, high)]
    assert codes[0] == 0 and len(codes) >= 2 and set(codes[1:]) == {errors.STALE_NONCE}
    assert {result.get("code", 0) for _, result in occurrences(witness, replayed, low, high)} == {errors.STALE_NONCE}
    assert next(result.get("code", 0) for _, result in occurrences(witness, later, low, high)) == 0
    assert {result.get("code", 0) for _, result in occurrences(witness, earlier, low, high)} == {errors.STALE_NONCE}
    measured("F11", proposal="duplicate, replayed, reordered", outcome="a code each", copies=len(codes))
    same_everywhere(chain)


@pytest.mark.slow
def test_f11_thousands_of_worthless_transactions_cost_a_bounded_time(
    byzantine: tuple[Any, Any],
    until: Any,
    registration: Callable[..., bytes],
    committed: Any,
    same_everywhere: Any,
    measured: Any,
) -> None:
    chain, fault = byzantine
    witness = chain.validators[1]
    key = SigningKey(sha256(b"fault test", (904).to_bytes(4, "big")))
    assert committed(witness, registration(904, nonce=50_000)).get("code", 0) == 0
    stale = [update(key, nonce) for nonce in range(1, 5_001)]
    low, high, seconds = propose(chain, fault, until, stale, 4)
    assert occurrences(witness, stale[0], low, high), "the block was not decided"
    size = sum(len(raw) for raw in stale) / 1e6
    measured("F11", proposal="5,000 stale transactions", megabytes=round(size, 2), blocks=4, took_s=round(seconds, 2))
    same_everywhere(chain)


@pytest.mark.slow
def test_f11_more_than_fits_ends_the_proposer_alone(
    byzantine: tuple[Any, Any], until: Any, same_everywhere: Any, measured: Any
) -> None:
    """CometBFT itself ends a proposer whose application answers more bytes than it was asked for."""
    chain, fault = byzantine
    low, high, seconds = propose(chain, fault, until, [bytes([at]) * 60_000 for at in range(80)], 8)
    until(lambda: "decides nothing any more" in chain.validators[0].log(), chain.validators[0].log)
    assert chain.validators[1].height() > high
    measured("F11", proposal="over max_tx_bytes", outcome="the proposer's own node stops", took_s=round(seconds, 2), first=low)
    same_everywhere(chain)
