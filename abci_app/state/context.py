"""What a transaction or an epoch hook may know beside the state: the block it stands in, and how it reports."""

from dataclasses import dataclass
from typing import Protocol

from abci_app.state.state import State
from network.codec import Message


@dataclass(frozen=True, slots=True)
class Misbehavior:
    """An infraction that CometBFT has proven: 1 two votes in one round, 2 a light-client attack; by which consensus
    address (20 bytes), at which height."""

    kind: int
    address: bytes
    height: int


@dataclass(frozen=True, slots=True)
class BlockContext:
    """The block being applied. `last_commit_hash` is SHA-256 of its decided last commit, as the app derives it."""

    chain_id: str
    height: int
    block_hash: bytes
    last_commit_hash: bytes
    misbehavior: tuple[Misbehavior, ...] = ()


@dataclass(frozen=True, slots=True)
class ValidatorUpdate:
    """A new power for one consensus key in CometBFT's validator set; 0 removes it."""

    consensus_key: bytes
    power: int


@dataclass(frozen=True, slots=True)
class ConsensusChange:
    """What changes of CometBFT's consensus parameters; 0 leaves a value as it is."""

    app_version: int = 0
    block_max_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One ABCI event: lower-case kind, and attributes as strings in a fixed order."""

    kind: str
    attributes: tuple[tuple[str, str], ...]


class Handler(Protocol):
    """One file per transaction kind offers these two questions (as module-level functions)."""

    def check_stateless(self, body: Message) -> None:
        """Could it ever be valid? Raises TxError."""

    def check_and_execute(self, body: Message, signer: bytes, state: State, block: BlockContext) -> list[Event]:
        """Is it valid now, and what does it change? Raises TxError, in which case the fork is dropped."""
