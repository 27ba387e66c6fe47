"""F16: the application takes seconds over a block: of one validator, or of all of them."""

from typing import Any

import pytest


def rounds(validator: Any, low: int, high: int) -> list[int]:
    return [int(validator.call("commit", height=str(h))["signed_header"]["commit"]["round"]) for h in range(low, high + 1)]


@pytest.mark.slow
@pytest.mark.parametrize("slow", [1, 4])
def test_f16_slow_applications_slow_the_chain_and_break_nothing(
    make_chain: Any, fast: Any, faults: Any, until: Any, stamp: Any, same_everywhere: Any, measured: Any, slow: int
) -> None:
    chain = make_chain(4, params=fast, interval_ms=200)
    orders = [faults(validator) for validator in chain.validators[:slow]]
    chain.start()
    chain.wait_height(3)
    for order in orders:
        order.order("delays", finalize_block=1.0, prepare_proposal=2.0)
    witness = chain.validators[3]
    low = witness.height() + 1
    until(lambda: witness.height() >= low + 10, witness.log)
    later = sum(at > 0 for at in rounds(witness, low, low + 10))
    seconds = (stamp(witness, low + 10) - stamp(witness, low)) / 10
    for order in orders:
        order.revoke("delays")
    recovered = until(lambda: min(v.height() for v in chain.validators) >= low + 12, chain.validators[0].log)
    measured("F16", slow=slow, block_s=round(seconds, 2), later_rounds_of_11=later, recovered_s=round(recovered, 2))
    same_everywhere(chain)
    assert "planetserve_abci_duration_seconds" in chain.validators[0].metrics()
