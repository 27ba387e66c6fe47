"""The profiles behind one interface: what turns a reply's tokens and the reference's logits into a score. Floats end there.

`seeded` asks whether the tokens are those that the request's nonce gives, `typical` whether they are as likely as the
declared sampler's, `paper` how plausible they are. Formulas and calibration: sections 4 and 8 of `docs/verification.md`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from abci_app.verifier.paper import PaperJudge
from abci_app.verifier.sampler import Matrix
from abci_app.verifier.seeded import SCHEME, SeededJudge
from abci_app.verifier.typical import TypicalJudge
from network.chain_tx import Challenge
from network.crypto import sha256
from network.inference import ReplyStatement, sampling_seed

_RANK_DOMAIN = b"planetserve/rank/1"


class Judge(Protocol):
    """Scores one reply. Positions come in order, each once; `score` is asked when all have come."""

    def add(self, logits: Matrix, tokens: Sequence[int]) -> None:
        """Take in the next answer positions: logits of shape (positions, vocabulary), one emitted token each."""

    def score(self) -> tuple[int, int]:
        """(credit in 1e-9, evidence in millinats with its offset)."""


def can_score(profile: str, scheme: str) -> bool:
    """Whether this verifier knows the profile, and for `seeded` the group's noise scheme."""
    return profile in _JUDGES and (profile != "seeded" or scheme == SCHEME)


def judge_for(profile: str, challenge: Challenge, statement: ReplyStatement, end_tokens: Sequence[int]) -> Judge:
    """What scores this reply to this challenge under a profile that `can_score` knows."""
    return _JUDGES[profile](challenge, statement, end_tokens)


def _seeded(challenge: Challenge, statement: ReplyStatement, end_tokens: Sequence[int]) -> Judge:
    seed = sampling_seed(statement.nonce, statement.node_id, statement.model_hash)
    return SeededJudge(statement.sampling, seed, len(statement.token_ids))


def _typical(challenge: Challenge, statement: ReplyStatement, end_tokens: Sequence[int]) -> Judge:
    if statement.sampling.temperature_milli == 0:  # nothing is drawn: the likeliest token or another one
        return _seeded(challenge, statement, end_tokens)
    return TypicalJudge(statement.sampling, sha256(_RANK_DOMAIN, challenge.salt, statement.nonce), end_tokens)


def _paper(challenge: Challenge, statement: ReplyStatement, end_tokens: Sequence[int]) -> Judge:
    return PaperJudge()


_JUDGES: dict[str, Callable[[Challenge, ReplyStatement, Sequence[int]], Judge]] = {
    "seeded": _seeded,
    "typical": _typical,
    "paper": _paper,
}
