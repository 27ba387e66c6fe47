"""Genesis export and import: a chain begun from an export has the same app hash, and goes on as the old one would."""

import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app.abci.order import KINDS
from abci_app.abci.pb import abci_pb2 as abci
from abci_app.state.export import exported_state
from evals.ledger.simulator.build import LocalProcess, build
from evals.ledger.simulator.replica import Decided
from evals.ledger.simulator.stores import MemoryStore
from evals.ledger.simulator.sync import MemoryShelf
from evals.ledger.simulator.town import Town
from evals.ledger.simulator.world import Genesis


@given(seed=st.integers(0, 2**32), at=st.integers(3, 30), more=st.integers(1, 14))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_the_same_hash_and_the_same_answers_to_every_later_block(seed: int, at: int, more: int) -> None:
    genesis = Genesis((10, 10, 10, 10))
    town = Town(genesis, build(genesis, [None] * 4), random.Random(seed))
    for _ in range(at):
        town.live(3)
    old = town.sim.replicas[0].process
    assert isinstance(old, LocalProcess)
    document = exported_state(old.store.version(at).scan(b""), at, old.store.app_hash)
    begin = genesis.init_chain()
    begin.initial_height = at + 1
    begin.app_state_bytes = json.dumps(document).encode()
    new = LocalProcess(MemoryStore(), begin.app_state_bytes, MemoryShelf())
    assert _ask(new, "init_chain", begin).app_hash == town.sim.chain[at - 1].app_hash
    for _ in range(more):
        town.live(3)
    for block in town.sim.chain[at:]:
        assert _answer(new, block) == block.response
    assert new.store.app_hash == town.sim.chain[-1].app_hash


def _answer(process: LocalProcess, block: Decided) -> bytes:
    answer: bytes = _ask(process, "finalize_block", block.request).SerializeToString(deterministic=True)
    _ask(process, "commit", abci.RequestCommit())
    return answer


def _ask(process: LocalProcess, method: str, request: Any) -> Any:
    raw = abci.Request(**{method: request}).SerializeToString()
    return getattr(abci.Response.FromString(process.ask(KINDS[method], raw)), method)
