"""Who takes part in a simulated chain: keys, the genesis document, and the small parameters that make epochs short."""

import json
from dataclasses import dataclass, field

from abci_app.abci.pb import abci_pb2 as abci
from abci_app.abci.pb import types_pb2 as types
from network.chain_tx import TxKind, build_tx
from network.codec import Message
from network.crypto import SigningKey, sha256
from network.ids import NodeId, node_id

CHAIN_ID = "simulated"
GENESIS_TIME = 1_800_000_000
MAX_BLOCK_BYTES = 1 << 20
GROUP, MODEL_HASH, SCHEME = "tiny", sha256(b"tiny"), "llamacpp-mt19937-v1"
# An epoch of 12 blocks in which every window is open for two at least, so that a round lost does not lose the window.
PARAMS: dict[str, object] = {
    "epoch_blocks": 12,
    "vrf_end": 2,
    "commit_end": 3,
    "send_end": 4,
    "publish_end": 7,
    "score_end": 9,
    "reveal_end": 12,
    "slots": 8,
    "lifetime_epochs": 2,
    "directory_blocks": 3,
    "max_nodes": 64,
    "registration_work": 3,
    "voting_blocks": 8,
    "registrations_per_block": 10_000,
    "tx_quota": 1_000_000,
}


def key(*words: str) -> SigningKey:
    """A key that every run of every simulation derives alike."""
    return SigningKey(sha256("/".join(("simulator", *words)).encode()))


@dataclass(frozen=True)
class Member:
    """One validator: its consensus key and the key its verifier signs with."""

    name: str
    consensus: SigningKey
    verifier: SigningKey

    @property
    def address(self) -> NodeId:
        """How CometBFT and the ledger name it."""
        return node_id(self.consensus.public)


def member(number: int) -> Member:
    """The validator with this number, in the genesis committee or not."""
    return Member(f"v{number}", key("consensus", str(number)), key("verifier", str(number)))


class Nonces:
    """The next nonce of every verifier key: its verifier and its politics share them."""

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}

    def sign(self, member: Member, kind: TxKind, body: Message) -> bytes:
        """The member's next transaction."""
        public = member.verifier.public
        self._last[public] = self._last.get(public, 0) + 1
        return build_tx(kind, body, key=member.verifier, chain_id=CHAIN_ID, nonce=self._last[public])


@dataclass(frozen=True)
class Genesis:
    """What all replicas start from."""

    powers: tuple[int, ...]
    params: dict[str, object] = field(default_factory=lambda: dict(PARAMS))

    @property
    def members(self) -> tuple[Member, ...]:
        """The genesis committee."""
        return tuple(member(number) for number in range(len(self.powers)))

    def app_state(self) -> bytes:
        """The genesis document's `app_state`."""
        verifiers = [
            {"consensus_key": one.consensus.public.hex(), "verifier_key": one.verifier.public.hex(), "name": one.name}
            for one in self.members
        ]
        groups = [{"name": GROUP, "model_hash": MODEL_HASH.hex(), "scheme": SCHEME}]
        return json.dumps({"params": self.params, "verifiers": verifiers, "groups": groups}, sort_keys=True).encode()

    def document(self) -> str:
        """The parts of the genesis file that the application reads."""
        return json.dumps({"chain_id": CHAIN_ID, "app_state": json.loads(self.app_state())})

    def init_chain(self) -> abci.RequestInitChain:
        """CometBFT's InitChain of this genesis."""
        request = abci.RequestInitChain(chain_id=CHAIN_ID, initial_height=1, app_state_bytes=self.app_state())
        request.time.seconds = GENESIS_TIME
        request.consensus_params.block.max_bytes = MAX_BLOCK_BYTES
        request.consensus_params.block.max_gas = -1
        request.consensus_params.evidence.max_age_num_blocks = 100_000
        request.consensus_params.evidence.max_age_duration.seconds = 172_800
        request.consensus_params.validator.pub_key_types.append("ed25519")
        request.consensus_params.version.app = 1
        request.validators.extend(
            types.ValidatorUpdate(pub_key=types.PublicKey(ed25519=one.consensus.public), power=power)
            for one, power in zip(self.members, self.powers, strict=True)
        )
        return request
