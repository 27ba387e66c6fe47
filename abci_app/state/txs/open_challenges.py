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
from network.chain_records import (
    EpochRecord,
    NodeRecord,
    OpenedChallenges,
    TranscriptRecord,
    commitment_key,
    node_key,
    opened_key,
    transcript_key,
)
from network.chain_tx import Challenge, CommitChallenges, OpenChallenges, challenge_hash
from network.codec import Message


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
    opened = state.load(OpenedChallenges, opened_key(epoch.number, validator)) or OpenedChallenges()
    pairs = _pairs(state, epoch.number, opened)
    for challenge in body.challenges:
        _require_own(challenge, committed, output, epoch, state)
        if (challenge.node_id, challenge.slot) in pairs:
            raise TxError(DUPLICATE, f"{challenge.node_id.hex()} slot {challenge.slot}")
        pairs.append((challenge.node_id, challenge.slot))
        name = challenge_hash(challenge)
        opened = OpenedChallenges((*opened.names, name))
        state.save(transcript_key(epoch.number, name), TranscriptRecord(validator, challenge))
    state.save(opened_key(epoch.number, validator), opened)
    return [
        Event(
            "challenges_opened",
            (("epoch", str(epoch.number)), ("validator", validator.hex()), ("count", str(len(body.challenges)))),
        )
    ]


def _require_own(challenge: Challenge, committed: CommitChallenges, output: bytes, epoch: EpochRecord, state: State) -> None:
    """It was committed, its node may be challenged, and the output selects the pair and gives the nonce."""
    name = challenge_hash(challenge)
    if name not in committed.commitments:
        raise TxError(BAD_OPENING, name.hex())
    node = state.load(NodeRecord, node_key(challenge.node_id))
    if node is None or not may_be_challenged(node, epoch):
        raise TxError(NOT_ASSIGNED, f"{challenge.node_id.hex()} is not a model node registered before this epoch")
    if not owns(output, challenge.node_id, challenge.slot, parameters(state)):
        raise TxError(NOT_ASSIGNED, f"{challenge.node_id.hex()} slot {challenge.slot}")
    if challenge.nonce != challenge_nonce(output, challenge.node_id, challenge.slot):
        raise TxError(BAD_OPENING, "the nonce is not the one that the VRF output gives")


def _pairs(state: State, epoch: int, opened: OpenedChallenges) -> list[tuple[bytes, int]]:
    """The pairs behind what this author opened earlier in the epoch; at most one row per slot is read."""
    found: list[tuple[bytes, int]] = []
    for name in opened.names:
        record = state.load(TranscriptRecord, transcript_key(epoch, name))
        assert record is not None
        found.append((record.challenge.node_id, record.challenge.slot))
    return found
