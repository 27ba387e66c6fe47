"""F15: many times what the mempool takes, of garbage and of strangers' transactions; the committee's own still land."""

import re
import threading
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from network.chain_tx import TxKind, UpdateNode, build_tx

CHAIN_ID = "ledger-test"
POOL = 300


class Flood:
    """Threads that send without pause; `mixed` gives the transaction of a number."""

    def __init__(self, validator: Any, mixed: Any, threads: int) -> None:
        self.sent = self.refused = 0
        self._numbers, self._stop = count(1), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(validator, mixed), daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, validator: Any, mixed: Any) -> None:
        while not self._stop.is_set():
            self.sent += 1
            with suppress(OSError, ValueError):
                try:
                    self.refused += validator.send(mixed(next(self._numbers)))["code"] != 0
                except RuntimeError:
                    self.refused += 1  # the pool is full

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def interval(validator: Any, blocks: int, until: Any, stamp: Any) -> float:
    """The mean seconds between the next so many blocks, by their own times."""
    first = validator.height() + 1
    until(lambda: validator.height() >= first + blocks, validator.log)
    return float((stamp(validator, first + blocks) - stamp(validator, first)) / blocks)


@pytest.mark.slow
def test_f15_a_flood_neither_slows_blocks_much_nor_keeps_the_committee_out(
    make_chain: Any,
    fast: Any,
    registration: Any,
    until: Any,
    committed: Any,
    stamp: Any,
    same_as_undisturbed: Any,
    measured: Any,
) -> None:
    validator = make_chain(1, params=fast, interval_ms=500).validators[0]
    settings = validator.home / "comet" / "config" / "config.toml"
    settings.write_text(re.sub(r"^size = \d+$", f"size = {POOL}", settings.read_text(), flags=re.MULTILINE))
    validator.start()
    validator.wait_height(2)
    calm = interval(validator, 8, until, stamp)
    registered = registration(7)
    assert committed(validator, registered).get("code", 0) == 0
    garbage = bytes(range(200))

    def mixed(number: int) -> bytes:
        return bytes(registration(10_000 + number)) if number % 2 else garbage + number.to_bytes(4, "big")

    flood = Flood(validator, mixed, 6)
    until(lambda: flood.sent > 4 * POOL, validator.log)
    flooded = interval(validator, 12, until, stamp)
    before = validator.height()
    ours = build_tx(TxKind.UPDATE_NODE, UpdateNode(), key=validator.verifier_key, chain_id=CHAIN_ID, nonce=1)
    committed(validator, ours)
    landed = validator.height() - before
    flood.stop()
    measured(
        "F15",
        pool=POOL,
        sent=flood.sent,
        refused=flood.refused,
        calm_s=round(calm, 2),
        flooded_s=round(flooded, 2),
        landed_blocks=landed,
    )
    assert flooded <= 2 * calm, "blocks came at less than half the pace"
    assert landed <= 10
    same_as_undisturbed(validator)
