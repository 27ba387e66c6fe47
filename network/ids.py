"""Names of things that several packages share: node ids, roles, heights and epochs.

A NodeId is the first 20 bytes of SHA-256 of an Ed25519 public key, which is also how CometBFT derives a
validator's address; it is shown as 40 lower-case hexadecimal digits.
"""

from enum import IntEnum
from hashlib import sha256
from typing import NewType

NodeId = NewType("NodeId", bytes)
Height = NewType("Height", int)
Epoch = NewType("Epoch", int)

NODE_ID_LENGTH = 20


class Role(IntEnum):
    """What a registered node does. The numbers are on the ledger and never reused."""

    USER = 1
    RELAY = 2
    MODEL = 3


# The words that every command, page and JSON document uses (the design's section 10).
ROLE_WORDS = {Role.USER: "gateway", Role.RELAY: "relay", Role.MODEL: "model"}


def node_id(signing_key: bytes) -> NodeId:
    """The id of the node that holds this 32-byte Ed25519 public key."""
    return NodeId(sha256(signing_key).digest()[:NODE_ID_LENGTH])


def parse_hex(text: str, size: int) -> bytes | None:
    """`size` bytes out of hexadecimal digits; None when the text says anything else."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if len(raw) == size else None
