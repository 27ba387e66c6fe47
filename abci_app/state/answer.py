"""Is a transcript the answer to its challenge? One rule for the ledger that accepts it and the verifier that publishes it."""

from typing import Protocol

from network.chain_tx import Challenge, Transcript
from network.crypto import verify
from network.ids import Role
from network.inference import STATEMENT_DOMAIN, statement_bytes


class Party(Protocol):
    """What is registered about a node: a ledger record or a directory entry."""

    @property
    def signing_key(self) -> bytes:
        """Its Ed25519 key."""

    @property
    def role(self) -> int:
        """Its role."""

    @property
    def group(self) -> str:
        """The model group it serves."""

    @property
    def model_hash(self) -> bytes:
        """The hash of the model it claims to serve."""


def fault(transcript: Transcript, challenge: Challenge, asked: Party | None, answered: Party | None) -> str:
    """What is wrong with a transcript that carries a statement; empty when it is the signed answer to the challenge.

    Another node than the asked one may answer: requests are forwarded within a model group.
    """
    if asked is None or answered is None or answered.role != Role.MODEL or answered.group != asked.group:
        return "the answering node does not serve the challenged model"
    statement = transcript.statement
    same = (
        statement.domain == STATEMENT_DOMAIN
        and statement.nonce == challenge.nonce
        and statement.sampling == challenge.sampling
        and statement.node_id == transcript.answered_by
        and statement.model_hash == answered.model_hash
        and statement.finish > 0
        and 1 <= len(statement.token_ids) <= challenge.sampling.max_tokens
    )
    if not same:
        return "the statement is about another request"
    if not verify(answered.signing_key, statement_bytes(statement), transcript.signature):
        return "the signature is not the answering node's"
    return ""
