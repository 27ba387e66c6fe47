"""The heartbeat: a relay's or model node's own signed word that it is there, at this address, at this time.

    signed = "planetserve/heartbeat/1" | chain id length 1 | chain id | the heartbeat without its signature

Signed with the key on the ledger, so whoever passes it on cannot invent, alter or postpone it. The chain is signed for but not
sent along: a heartbeat of another chain does not verify. Implements `docs/overlay.md` section 11.
"""

from dataclasses import dataclass, replace

from network.codec import Message, blob, encode, text, uint
from network.crypto import KEY_LENGTH, SigningKey, verify
from network.freshness import FRESH_MINUTES
from network.ids import NodeId, node_id

HEARTBEAT_LIMIT = 256
FRESH_MS = FRESH_MINUTES * 60_000

_LABEL = b"planetserve/heartbeat/1"


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """`time` is Unix milliseconds by the sender's clock, `height` that of the directory it routes by."""

    signing_key: bytes = blob(1, size=KEY_LENGTH)
    time: int = uint(2)
    address: str = text(3, limit=128)
    height: int = uint(4)
    signature: bytes = blob(5, size=64)

    @property
    def node_id(self) -> NodeId:
        """Who says so, once the signature is checked."""
        return node_id(self.signing_key)


def make_heartbeat(key: SigningKey, chain_id: str, now: float, address: str, height: int) -> Heartbeat:
    """This node's word at `now`."""
    bare = Heartbeat(key.public, int(now * 1000), address, height)
    return replace(bare, signature=key.sign(_signed(bare, chain_id)))


def is_authentic(beat: Heartbeat, chain_id: str) -> bool:
    """Whether the holder of the key signed this heartbeat for this chain: one Ed25519 verification."""
    return verify(beat.signing_key, _signed(beat, chain_id), beat.signature)


def is_timely(beat: Heartbeat, now: float) -> bool:
    """Whether its time is near enough to ours to be looked at; clocks may differ as everywhere in the overlay."""
    return abs(int(now * 1000) - beat.time) <= FRESH_MS


def _signed(beat: Heartbeat, chain_id: str) -> bytes:
    chain = chain_id.encode()
    return _LABEL + bytes((len(chain),)) + chain + encode(replace(beat, signature=b""))
