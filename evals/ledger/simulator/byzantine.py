"""What a byzantine proposer makes of its block: too large, undecodable, repeated, reordered, replayed, forged, flooded.

The committed transactions of the chain so far are at hand, as they are to everybody.
"""

import random
from enum import Enum

from evals.ledger.simulator.nodes import Person
from evals.ledger.simulator.simulation import Forge
from evals.ledger.simulator.world import MAX_BLOCK_BYTES
from network.chain_tx import MAX_TX_BYTES


class Forgery(Enum):
    """One way to misbehave with a block's contents."""

    UNDECODABLE = "bytes that are no transaction"
    OVERSIZE = "a transaction beyond the limit"
    REPEATED = "every transaction twice"
    REORDERED = "the reverse order, so that nonces go backwards"
    REPLAYED = "transactions of earlier blocks"
    FORGED = "a signature that is not the signer's"
    FLOODED = "hundreds of transactions that must fail"
    EMPTY = "nothing, whatever waits"


def forge(kind: Forgery, draw: random.Random, committed: list[bytes]) -> Forge:
    """The forgery as the simulation applies it to an honest proposal."""

    def apply(honest: list[bytes], _pool: list[bytes]) -> list[bytes]:
        match kind:
            case Forgery.UNDECODABLE:
                return [*honest, draw.randbytes(draw.randrange(1, 200))]
            case Forgery.OVERSIZE:
                return [*honest, bytes(MAX_TX_BYTES + 1)]
            case Forgery.REPEATED:
                return [raw for raw in honest for _ in range(2)]
            case Forgery.REORDERED:
                return honest[::-1]
            case Forgery.REPLAYED:
                return [*honest, *draw.sample(committed, min(5, len(committed)))]
            case Forgery.FORGED:
                victim = Person(900 + draw.randrange(5)).register()
                return [*honest, victim[:-1] + bytes([victim[-1] ^ 1])]
            case Forgery.FLOODED:
                flood = [Person(1_000 + number).retire() for number in range(draw.randrange(50, 200))]
                return _within(MAX_BLOCK_BYTES, [*honest, *flood])
        return []

    return apply


def _within(room: int, txs: list[bytes]) -> list[bytes]:
    kept: list[bytes] = []
    for raw in txs:
        room -= len(raw) + 4
        if room < 0:
            break
        kept.append(raw)
    return kept
