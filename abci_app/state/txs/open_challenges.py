"""OpenChallenges: after the send window a verifier shows what it asked, and proves that these pairs were its own."""

from abci_app.state.challenge import (
    MAX_CHALLENGE_TOKENS,
    assignment_input,
    challenge_nonce,
    may_be_challenged,
    owns,
    parameters,
    require_window,
    running_epoch,
)
from abci_app.state.committee import validator_of
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import BAD_FIELD, BAD_OPENING, BAD_PROOF, DUPLICATE, NO_COMMITMENT, NOT_ASSIGNED, TxError
from abci_app.state.state import State
from network import vrf
from network.chain_records import NodeRecord, TranscriptRecord, commitment_key, node_key, transcript_key
from network.chain_tx import Challenge, CommitChallenges, OpenChallenges, challenge_hash
from network.codec import Message, decode
from network.ids import NodeId


def check_stateless(body: Message) -> None:
    """Every challenge is complete, small, and of the epoch that the transaction names."""
    assert isinstance(body, OpenChallenges)
    if len(body.proof) != vrf.PROOF_LENGTH:
        raise TxError(BAD_FIELD, "proof")
    if not body.challenges:
        raise TxError(BAD_FIELD, "challenges")
    for challenge in body.challenges:
        complete = challenge.node_id and challenge.nonce and challenge.body and challenge.salt and challenge.sampling
        if not complete or challenge.epoch != body.epoch:
            raise TxError(BAD_FIELD, f"challenge of {challenge.node_id.hex()}")
        if not 1 <= challenge.sampling.max_tokens <= MAX_CHALLENGE_TOKENS:
            raise TxError(BAD_FIELD, f"max_tokens {challenge.sampling.max_tokens}")


def check_and_execute(body: Message, signer: bytes, state: State, block: BlockContext) -> list[Event]:
    """Each challenge was committed, is its author's by the VRF, and is opened once; records it for its transcript."""
    assert isinstance(body, OpenChallenges)
    epoch, params = running_epoch(state), parameters(state)
    validator = validator_of(signer, state)
    require_window(body.epoch, params.send_end, params.publish_end, epoch, block.height)
    committed = state.load(CommitChallenges, commitment_key(epoch.number, validator))
    if committed is None:
        raise TxError(NO_COMMITMENT, validator.hex())
    output = vrf.verify(signer, assignment_input(epoch.beacon), body.proof)
    if output is None:
        raise TxError(BAD_PROOF, validator.hex())
    opened = _opened_pairs(state, epoch.number, validator)
    for challenge in body.challenges:
        name = challenge_hash(challenge)
        if name not in committed.commitments:
            raise TxError(BAD_OPENING, name.hex())
        pair = (challenge.node_id, challenge.slot)
        if pair in opened:
            raise TxError(DUPLICATE, f"{challenge.node_id.hex()} slot {challenge.slot}")
        node = state.load(NodeRecord, node_key(challenge.node_id))
        if node is None or not may_be_challenged(node, epoch):
            raise TxError(NOT_ASSIGNED, f"{challenge.node_id.hex()} is not a model node registered before this epoch")
        if not owns(output, challenge.node_id, challenge.slot, params):
            raise TxError(NOT_ASSIGNED, f"{challenge.node_id.hex()} slot {challenge.slot}")
        if challenge.nonce != challenge_nonce(output, challenge.node_id, challenge.slot):
            raise TxError(BAD_OPENING, "the nonce is not the one that the VRF output gives")
        opened[pair] = challenge
        state.save(transcript_key(epoch.number, name), TranscriptRecord(validator, challenge))
    return [
        Event(
            "challenges_opened",
            (("epoch", str(epoch.number)), ("validator", validator.hex()), ("count", str(len(body.challenges)))),
        )
    ]


def _opened_pairs(state: State, epoch: int, author: NodeId) -> dict[tuple[bytes, int], Challenge]:
    """What this author opened earlier in the epoch; at most slots x members rows are read."""
    found: dict[tuple[bytes, int], Challenge] = {}
    for _, value in state.scan(transcript_key(epoch, b"")):
        record = decode(TranscriptRecord, value)
        if record.author == author:
            found[(record.challenge.node_id, record.challenge.slot)] = record.challenge
    return found
