"""F16: the application takes seconds over a block: of one validator, or of all of them.

A proposal that takes longer than `timeout_propose` is too late for its round. Each further round waits longer, until one is
long enough: so the chain goes on when all are slow, at a round or two of waiting for each second."""

from typing import Any

import pytest


def rounds(validator: Any, low: int, high: int) -> list[int]:
    return [int(validator.call("commit", height=str(h))["signed_header"]["commit"]["round"]) for h in range(low, high + 1)]


@pytest.mark.slow
@pytest.mark.parametrize(("slow", "blocks"), [(1, 10), (4, 2)])
def test_f16_slow_applications_slow_the_chain_and_break_nothing(
    make_chain: Any, fast: Any, faults: Any, until: Any, stamp: Any, same_everywhere: Any, measured: Any, slow: int, blocks: int
) -> None:
    chain = make_chain(4, params=fast, interval_ms=200)
    orders = [faults(validator) for validator in chain.validators[:slow]]
    chain.start()
    chain.wait_height(3)
    for order in orders:
        order.order("delays", finalize_block=1.0, prepare_proposal=2.0)
    witness = chain.validators[3]
    low = witness.height() + 1
    until(lambda: witness.height() >= low + blocks, witness.log)
    later = max(rounds(witness, low, low + blocks))
    seconds = (stamp(witness, low + blocks) - stamp(witness, low)) / blocks
    for order in orders:
        order.revoke("delays")
    recovered = until(lambda: min(v.height() for v in chain.validators) >= low + blocks + 2, chain.validators[0].log)
    measured("F16", slow=slow, block_s=round(seconds, 2), highest_round=later, recovered_s=round(recovered, 2))
    same_everywhere(chain)
    assert "planetserve_abci_duration_seconds" in chain.validators[0].metrics()
