"""ProveVrf: a verifier proves its VRF output on the epoch's beacon. The lowest output leads; all feed the next beacon."""

from dataclasses import replace

from abci_app.state.challenge import leader_input, parameters, require_window, running_epoch
from abci_app.state.committee import validator_of
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import BAD_FIELD, BAD_PROOF, DUPLICATE, TxError
from abci_app.state.state import State
from network import vrf
from network.chain_records import CURRENT_EPOCH_KEY, VrfRecord, vrf_key
from network.chain_tx import ProveVrf
from network.codec import Message


def check_stateless(body: Message) -> None:
    """A proof is there."""
    assert isinstance(body, ProveVrf)
    if len(body.proof) != vrf.PROOF_LENGTH:
        raise TxError(BAD_FIELD, "proof")


def check_and_execute(body: Message, signer: bytes, state: State, block: BlockContext) -> list[Event]:
    """The proof verifies for this epoch's beacon; records it and, if lowest so far, the leader."""
    assert isinstance(body, ProveVrf)
    epoch, params = running_epoch(state), parameters(state)
    validator = validator_of(signer, state)
    require_window(body.epoch, 0, params.vrf_end, epoch, block.height)
    if state.get(vrf_key(epoch.number, validator)) is not None:
        raise TxError(DUPLICATE, validator.hex())
    output = vrf.verify(signer, leader_input(epoch.beacon), body.proof)
    if output is None:
        raise TxError(BAD_PROOF, validator.hex())
    leading = state.load(VrfRecord, vrf_key(epoch.number, epoch.leader)) if epoch.leader else None
    if leading is None or output < leading.output:
        state.save(CURRENT_EPOCH_KEY, replace(epoch, leader=validator))
    state.save(vrf_key(epoch.number, validator), VrfRecord(body.proof, output))
    return [Event("vrf_proven", (("epoch", str(epoch.number)), ("validator", validator.hex())))]
