"""The chain's parameters as a message: part of the ledger's state, and of the proposals that change them.

Defaults and rules are in `abci_app/state/params.py`, each field's meaning in `docs/ledger.md` section 6.
"""

from dataclasses import dataclass

from network.codec import Message, text, uint

UNIT = 1_000_000_000
MAX_NODES = 4096
MAX_WORK_BITS = 32
MAX_BLOCK_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Params(Message):
    """Consensus parameters. Block offsets count from an epoch's first block; each window ends before its offset."""

    epoch_blocks: int = uint(1)
    vrf_end: int = uint(2)
    commit_end: int = uint(3)
    send_end: int = uint(4)
    publish_end: int = uint(5)
    score_end: int = uint(6)
    reveal_end: int = uint(7)
    slots: int = uint(8, limit=64)
    assignment: int = uint(9, limit=UNIT)
    alpha: int = uint(10, limit=UNIT)
    beta: int = uint(11, limit=UNIT)
    tau: int = uint(12, limit=UNIT)
    gamma_inverse: int = uint(13, limit=1000)
    window: int = uint(14, limit=64)
    threshold: int = uint(15, limit=UNIT)
    initial_reputation: int = uint(16, limit=UNIT)
    evidence_limit: int = uint(17)
    lifetime_epochs: int = uint(18)
    directory_blocks: int = uint(19)
    profile: str = text(20, limit=32)
    max_nodes: int = uint(21, limit=MAX_NODES)
    tx_quota: int = uint(22)
    verifier_quota: int = uint(23)
    registration_work: int = uint(24, limit=MAX_WORK_BITS)
    registrations_per_block: int = uint(25)
    voting_blocks: int = uint(26)
    evidence_blocks: int = uint(27)
    max_block_bytes: int = uint(28, limit=MAX_BLOCK_BYTES)
    suspicion_limit: int = uint(29)
