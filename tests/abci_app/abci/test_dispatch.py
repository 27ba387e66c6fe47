"""What FinalizeBlock carries across the protobuf border, both ways."""

from collections.abc import Sequence
from typing import Any

import pytest

from abci_app.abci import dispatch
from abci_app.abci.pb import abci_pb2 as abci
from abci_app.abci.pb import types_pb2 as types
from abci_app.state.context import BlockContext, ConsensusChange, Misbehavior, ValidatorUpdate
from abci_app.state.genesis import Genesis
from abci_app.state.transition import BlockResult
from network.crypto import sha256
from network.errors import ConfigError


class Asked:
    """An application that notes the block it is given, and answers with a prepared result."""

    chain_id = "dispatch-test"

    def __init__(self, result: BlockResult) -> None:
        self.result = result
        self.block: BlockContext | None = None

    def init_chain(self, genesis: Genesis) -> bytes:
        return sha256(genesis.app_state)

    def max_block_bytes(self) -> int:
        return 2 << 20

    def finalize_block(self, block: BlockContext, txs: Sequence[bytes]) -> tuple[BlockResult, bytes]:
        self.block = block
        return self.result, bytes(32)


def finalize(result: BlockResult, request: abci.RequestFinalizeBlock) -> tuple[Asked, Any]:
    app = Asked(result)
    raw = dispatch.answer(app, "finalize_block", request)  # type: ignore[arg-type]
    return app, abci.Response.FromString(raw).finalize_block


def test_genesis_parameters_reach_the_engine_and_meet_its_limits() -> None:
    evidence = types.EvidenceParams(max_bytes=1 << 20)
    request = abci.RequestInitChain(chain_id="c", consensus_params=types.ConsensusParams(evidence=evidence))
    app = Asked(BlockResult((), ()))
    response = abci.Response.FromString(dispatch.answer(app, "init_chain", request)).init_chain  # type: ignore[arg-type]
    assert response.consensus_params.block.max_bytes == 2 << 20 and not response.consensus_params.HasField("evidence")
    request.consensus_params.evidence.max_bytes += 1
    with pytest.raises(ConfigError, match=r"evidence\.max_bytes"):
        dispatch.answer(app, "init_chain", request)  # type: ignore[arg-type]


def test_misbehavior_reaches_the_block() -> None:
    found = types.Misbehavior(type=1, validator=types.Validator(address=bytes(20), power=3), height=7)
    app, _ = finalize(BlockResult((), ()), abci.RequestFinalizeBlock(height=9, misbehavior=[found]))
    assert app.block is not None and app.block.misbehavior == (Misbehavior(1, bytes(20), 7),)


def test_validators_and_parameters_reach_the_engine() -> None:
    updates = (ValidatorUpdate(bytes(32), 0), ValidatorUpdate(b"\x01" * 32, 12))
    change = ConsensusChange(app_version=2, block_max_bytes=1 << 20)
    _, response = finalize(BlockResult((), (), updates, change), abci.RequestFinalizeBlock(height=1))
    assert [(entry.pub_key.ed25519, entry.power) for entry in response.validator_updates] == [
        (bytes(32), 0),
        (b"\x01" * 32, 12),
    ]
    params = response.consensus_param_updates
    assert (params.version.app, params.block.max_bytes, params.block.max_gas) == (2, 1 << 20, -1)
    assert not params.HasField("evidence") and not params.HasField("validator") and not params.HasField("abci")


def test_a_group_of_parameters_that_stays_is_not_named() -> None:
    _, response = finalize(BlockResult((), ()), abci.RequestFinalizeBlock(height=1))
    assert not response.HasField("consensus_param_updates")
    _, response = finalize(BlockResult((), (), (), ConsensusChange(app_version=3)), abci.RequestFinalizeBlock(height=1))
    assert response.consensus_param_updates.version.app == 3 and not response.consensus_param_updates.HasField("block")
