"""RevealScores: the sheet behind a score commitment, bound to its voter, one score per transcript at most."""

from itertools import pairwise

from abci_app.state.challenge import parameters, require_window, running_epoch
from abci_app.state.committee import validator_of
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import BAD_FIELD, BAD_OPENING, DUPLICATE, NO_COMMITMENT, TxError
from abci_app.state.state import State
from network.chain_records import TranscriptRecord, score_commitment_key, sheet_key, transcript_key
from network.chain_tx import CommitScores, RevealScores, sheet_hash
from network.codec import Message


def check_stateless(body: Message) -> None:
    """A salted sheet whose scores are in strictly ascending order of challenge."""
    assert isinstance(body, RevealScores)
    if body.sheet is None or not body.sheet.salt or not body.sheet.verifier:
        raise TxError(BAD_FIELD, "sheet")
    names = [score.challenge_hash for score in body.sheet.scores]
    if not all(names) or not all(low < high for low, high in pairwise(names)):
        raise TxError(BAD_FIELD, "scores must be in ascending order of challenge, each once")


def check_and_execute(body: Message, signer: bytes, state: State, block: BlockContext) -> list[Event]:
    """The sheet is the signer's, matches its commitment, and scores published replies of this epoch only."""
    assert isinstance(body, RevealScores)
    epoch, params = running_epoch(state), parameters(state)
    validator = validator_of(signer, state)
    sheet = body.sheet
    require_window(sheet.epoch, params.score_end, params.reveal_end, epoch, block.height)
    committed = state.load(CommitScores, score_commitment_key(epoch.number, validator))
    if committed is None:
        raise TxError(NO_COMMITMENT, validator.hex())
    if sheet.verifier != validator or sheet_hash(sheet) != committed.commitment:
        raise TxError(BAD_OPENING, validator.hex())
    if state.get(sheet_key(epoch.number, validator)) is not None:
        raise TxError(DUPLICATE, validator.hex())
    for score in sheet.scores:
        record = state.load(TranscriptRecord, transcript_key(epoch.number, score.challenge_hash))
        if record is None or record.transcript is None or record.transcript.statement is None:
            raise TxError(BAD_FIELD, f"no published reply to challenge {score.challenge_hash.hex()}")
    state.save(sheet_key(epoch.number, validator), sheet)
    return [Event("scores_revealed", (("epoch", str(epoch.number)), ("validator", validator.hex())))]
