"""PublishTranscripts: the author of opened challenges publishes the signed replies, or that none came."""

from dataclasses import replace

from abci_app.state.answer import fault
from abci_app.state.challenge import parameters, require_window, running_epoch
from abci_app.state.committee import validator_of
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import BAD_FIELD, BAD_TRANSCRIPT, DUPLICATE, NO_COMMITMENT, TxError
from abci_app.state.state import State
from network.chain_records import NodeRecord, TranscriptRecord, node_key, transcript_key
from network.chain_tx import Challenge, PublishTranscripts, Transcript
from network.codec import Message


def check_stateless(body: Message) -> None:
    """Each transcript names a challenge, and is either complete or empty."""
    assert isinstance(body, PublishTranscripts)
    if not body.transcripts:
        raise TxError(BAD_FIELD, "transcripts")
    for transcript in body.transcripts:
        answered = transcript.statement is not None
        if not transcript.challenge_hash or answered != bool(transcript.signature) or answered != bool(transcript.answered_by):
            raise TxError(BAD_FIELD, f"transcript of challenge {transcript.challenge_hash.hex()}")


def check_and_execute(body: Message, signer: bytes, state: State, block: BlockContext) -> list[Event]:
    """Each reply answers an opened challenge of its author and carries the answering node's signature."""
    assert isinstance(body, PublishTranscripts)
    epoch, params = running_epoch(state), parameters(state)
    validator = validator_of(signer, state)
    require_window(body.epoch, params.send_end, params.publish_end, epoch, block.height)
    for transcript in body.transcripts:
        key = transcript_key(epoch.number, transcript.challenge_hash)
        record = state.load(TranscriptRecord, key)
        if record is None or record.author != validator:
            raise TxError(NO_COMMITMENT, f"challenge {transcript.challenge_hash.hex()}")
        if record.transcript is not None:
            raise TxError(DUPLICATE, f"challenge {transcript.challenge_hash.hex()}")
        if transcript.statement is not None:
            _require_answer(transcript, record.challenge, state)
        state.save(key, replace(record, transcript=transcript))
    return [
        Event(
            "transcripts_published",
            (("epoch", str(epoch.number)), ("validator", validator.hex()), ("count", str(len(body.transcripts)))),
        )
    ]


def _require_answer(transcript: Transcript, challenge: Challenge, state: State) -> None:
    asked = state.load(NodeRecord, node_key(challenge.node_id))
    answered = state.load(NodeRecord, node_key(transcript.answered_by))
    wrong = fault(transcript, challenge, asked, answered)
    if wrong:
        raise TxError(BAD_TRANSCRIPT, wrong)
