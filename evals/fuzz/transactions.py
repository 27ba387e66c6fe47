"""Target of the rules: bent bodies under right signatures, applied to a chain in the middle of an epoch.

A bent envelope never reaches a handler, because its signature is wrong; so the bodies are bent and signed again, by whom
they were signed or by somebody else, and each is applied in a block of its own at every window of an epoch.
"""

import random
from dataclasses import fields

from abci_app.state.context import BlockContext
from abci_app.state.state import Reader, State
from abci_app.state.transition import Block, apply_block
from evals.fuzz.abci import application, grown_town
from evals.fuzz.engine import Target
from evals.fuzz.mutate import bend, varied
from evals.ledger.simulator.town import Town
from evals.ledger.simulator.world import CHAIN_ID, member
from network.chain_tx import BODIES, SignedTx, TxKind, decode_tx, sign_bytes
from network.codec import decode, encode
from network.crypto import SigningKey, sha256
from network.errors import DecodeError

LATE = 2**62  # greater than every nonce that the town has used


def targets() -> list[Target]:
    """The state machine's handlers."""
    return [_handlers()]


def _handlers() -> Target:
    """An input is kind u8 | signer u8 | window u8 | body."""
    town = grown_town(27)
    states = _windows(town)
    people = [person.key for person in town.public.people] + [member(number).verifier for number in range(5)]
    numbers = {key.public: number for number, key in enumerate(people)}

    def run(raw: bytes) -> str:
        if len(raw) < 3:
            return "too short"
        kinds = list(TxKind)
        kind, key = kinds[raw[0] % len(kinds)], people[raw[1] % len(people)]
        height, reader = states[raw[2] % len(states)]
        tx = _signed(kind, raw[3:], key)
        context = BlockContext(CHAIN_ID, height + 1, sha256(b"block", raw), sha256(b"commit"))
        before = State(reader)
        after, result = apply_block(before, Block(context, (tx,)))
        assert not before.changes(), "applying a block changed the state it began from"
        again, second = apply_block(State(reader), Block(context, (tx,)))
        assert (again.changes(), second) == (after.changes(), result), "the same block came out otherwise [APP-DET-1]"
        outcome = result.tx_results[0]
        if outcome.code == 0:
            assert encode(decode(BODIES[kind], raw[3:])) == raw[3:]
            return f"{kind.name} taken"
        return f"{kind.name}: {outcome.log}"

    seeds: list[bytes] = []
    for block in town.sim.chain:
        for raw in block.request.txs:
            try:
                tx = decode_tx(raw)
            except DecodeError:
                continue
            if tx.signer in numbers:
                place = next(
                    at for at, (height, _) in enumerate(states) if height >= min(block.request.height - 1, states[-1][0])
                )
                kind = [int(kind) for kind in TxKind].index(tx.kind)
                seeds.append(bytes((kind, numbers[tx.signer], place)) + tx.body)
    draw = random.Random("handlers")
    return Target(
        "rules/bodies",
        "bodies of every kind, rightly signed, in every window",
        draw.sample(seeds, min(250, len(seeds))),
        run,
        _bend_body,
    )


def _signed(kind: TxKind, body: bytes, key: SigningKey) -> bytes:
    unsigned = SignedTx(kind, LATE, key.public, body[:60_000])
    return encode(SignedTx(kind, LATE, key.public, unsigned.body, key.sign(sign_bytes(unsigned, CHAIN_ID))))


def _windows(town: Town) -> list[tuple[int, Reader]]:
    """(height, state) of every height of an epoch, as the town goes through it."""
    found: list[tuple[int, Reader]] = []
    for _ in range(12):
        store = application(town).store
        found.append((store.height, store.version(store.height)))
        town.live(2)
    return found


def _bend_body(raw: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """Another signer, another window, a field of the body filled anew; or any bytes."""
    luck = draw.random()
    if luck < 0.2 or len(raw) < 3:
        return bend(raw, draw, others)
    if luck < 0.4:
        at = draw.randrange(1, 3)
        return raw[:at] + bytes([draw.randrange(256)]) + raw[at + 1 :]
    kinds = list(TxKind)
    try:
        body = decode(BODIES[kinds[raw[0] % len(kinds)]], raw[3:])
        return raw[:3] + encode(varied(body, draw)) if fields(body) else raw  # type: ignore[arg-type]
    except (DecodeError, ValueError):
        return bend(raw, draw, others)
