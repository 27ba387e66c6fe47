"""A chain of any length whose blocks are signed only when somebody asks for them, with a committee that changes."""

from dataclasses import replace

from network.crypto import SigningKey, sha256
from network.light_headers import (
    FLAG_COMMIT,
    BlockId,
    CommitSignature,
    Header,
    LightBlock,
    SignedHeader,
    Timestamp,
    Validator,
    ValidatorSet,
    header_hash,
    precommit_bytes,
)

CHAIN_ID = "bench"
START, BLOCK_S = 1_800_000_000, 1


class History:
    """Blocks 1, 2, ... with `members` equal validators, of which one is replaced every `churn` blocks."""

    def __init__(self, members: int, churn: int) -> None:
        self.now = 0.0
        self._members = members
        self._churn = churn
        self._blocks: dict[int, LightBlock] = {}

    def keys(self, height: int) -> list[SigningKey]:
        """Who signs this height."""
        first = height // self._churn
        return [SigningKey(sha256(b"bench", (first + at).to_bytes(8, "big"))) for at in range(self._members)]

    def block(self, height: int) -> LightBlock:
        """The block of this height; `now` follows the highest that was asked for."""
        self.now = max(self.now, START + height * BLOCK_S + 1.0)
        if height not in self._blocks:
            self._blocks[height] = self._sign(height)
        return self._blocks[height]

    def _sign(self, height: int) -> LightBlock:
        keys = {key.public: key for key in self.keys(height)}
        here, after = (ValidatorSet(Validator(key.public, 10) for key in self.keys(at)) for at in (height, height + 1))
        time, some = Timestamp(START + height * BLOCK_S, 0), sha256(b"some")
        header = Header(
            version_block=11,
            version_app=1,
            chain_id=CHAIN_ID,
            height=height,
            time=time,
            last_block_id=BlockId(some, 1, some),
            last_commit_hash=some,
            data_hash=some,
            validators_hash=here.hash,
            next_validators_hash=after.hash,
            consensus_hash=some,
            app_hash=some,
            last_results_hash=some,
            evidence_hash=some,
            proposer_address=here.validators[0].address,
        )
        unsigned = SignedHeader(header, height, 0, BlockId(header_hash(header), 1, some), ())
        message = precommit_bytes(unsigned, time, CHAIN_ID)
        places = tuple(
            CommitSignature(FLAG_COMMIT, entry.address, time, keys[entry.public_key].sign(message)) for entry in here.validators
        )
        return LightBlock(replace(unsigned, signatures=places), here)
