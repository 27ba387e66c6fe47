"""The public of a simulated chain: keys that register nodes, renew and retire them, and sometimes send what they must not."""

import random
from dataclasses import dataclass, field, replace

from evals.ledger.simulator.world import CHAIN_ID, GROUP, MODEL_HASH, key
from network.chain_tx import MAX_TX_BYTES, RegisterNode, RetireNode, SignedTx, TxKind, UpdateNode, build_tx
from network.codec import Message, encode
from network.crypto import SigningKey, exchange_public, sha256
from network.ids import Role
from network.registration_work import solve

# Each is something that CheckTx or the block must refuse, without an exception and alike on every replica.
WRONGS = ("garbage", "other chain", "stale nonce", "signature", "field", "body", "kind", "bit", "oversize", "verifier's")


@dataclass
class Person:
    """One key of the public and its nonce; the same key always makes the same transactions from the same draws."""

    number: int
    role: Role = Role.USER
    nonce: int = 0
    key: SigningKey = field(init=False)

    def __post_init__(self) -> None:
        self.key = key("person", str(self.number))

    def sign(self, kind: TxKind, body: Message, chain_id: str = CHAIN_ID) -> bytes:
        """The transaction with the next nonce."""
        self.nonce += 1
        return build_tx(kind, body, key=self.key, chain_id=chain_id, nonce=self.nonce)

    def register(self, epoch: int = 0, bits: int = 0) -> bytes:
        """Join, with the puzzle of this epoch solved."""
        body = self._registration()
        counter = solve(CHAIN_ID, epoch, self.key.public, bits)
        return self.sign(TxKind.REGISTER_NODE, replace(body, work_epoch=epoch, work_counter=counter))

    def _registration(self) -> RegisterNode:
        name, onion = f"n{self.number}", exchange_public(sha256(b"onion", self.key.seed))
        if self.role == Role.USER:
            return RegisterNode(Role.USER, name, onion)
        address, family = f"10.0.0.{self.number % 250}:4000", f"f{self.number % 7}"
        if self.role == Role.RELAY:
            return RegisterNode(Role.RELAY, name, onion, address, family)
        return RegisterNode(Role.MODEL, name, onion, address, family, GROUP, MODEL_HASH)

    def update(self, draw: random.Random) -> bytes:
        """Renew, now and then under another address or onion key."""
        address = f"10.1.{draw.randrange(250)}.1:{draw.randrange(1, 65536)}" if draw.random() < 0.3 else ""
        onion = exchange_public(draw.randbytes(32)) if draw.random() < 0.3 else b""
        return self.sign(TxKind.UPDATE_NODE, UpdateNode(onion, address))

    def retire(self) -> bytes:
        """Leave."""
        return self.sign(TxKind.RETIRE_NODE, RetireNode())

    def wrong(self, draw: random.Random) -> bytes:
        """Something that must be refused."""
        wrong = draw.choice(WRONGS)
        good = self.update(draw)
        match wrong:
            case "garbage":
                return draw.randbytes(draw.randrange(1, 400))
            case "other chain":
                return self.sign(TxKind.UPDATE_NODE, UpdateNode(), chain_id="another")
            case "stale nonce":
                return build_tx(TxKind.UPDATE_NODE, UpdateNode(), key=self.key, chain_id=CHAIN_ID, nonce=0)
            case "signature":
                return good[:-1] + bytes([good[-1] ^ 1])
            case "field":
                return self.sign(TxKind.REGISTER_NODE, RegisterNode(Role.USER, "Not A Label"))
            case "body":
                return encode(SignedTx(TxKind.UPDATE_NODE, self.nonce + 1, self.key.public, b"\xff\x01", bytes(64)))
            case "kind":
                return encode(SignedTx(200, self.nonce + 1, self.key.public, b"", bytes(64)))
            case "oversize":
                return bytes(MAX_TX_BYTES + 1)
            case "verifier's":
                return build_tx(TxKind.RETIRE_NODE, RetireNode(), key=key("verifier", "0"), chain_id=CHAIN_ID, nonce=1)
        at = draw.randrange(len(good))
        return good[:at] + bytes([good[at] ^ 1 << draw.randrange(8)]) + good[at + 1 :]


class Public:
    """All persons, drawn from as a seed says: a third model nodes, a third relays, a third users. Who retires is replaced
    by a new key, so that their number stays; `leaving` is the share of such transactions."""

    def __init__(self, draw: random.Random, count: int, leaving: float) -> None:
        self._draw = draw
        self._leaving = leaving
        self._keys = count
        self.epoch, self.bits = 0, 0  # of the registration puzzle
        self.people = [Person(number, (Role.MODEL, Role.RELAY, Role.USER)[number % 3]) for number in range(count)]
        self._joined: set[int] = set()

    def models(self) -> list[SigningKey]:
        """The keys that register as model nodes; those never retire."""
        return [person.key for person in self.people if person.role == Role.MODEL]

    def some(self, count: int) -> list[bytes]:
        """This many transactions: joining first, then renewals, retirements and wrongs."""
        return [self._one() for _ in range(count)]

    def _one(self) -> bytes:
        at = self._draw.randrange(len(self.people))
        person = self.people[at]
        luck = self._draw.random()
        if person.number not in self._joined and luck < 0.8:
            self._joined.add(person.number)
            return person.register(self.epoch, self.bits)
        if luck < self._leaving and person.role != Role.MODEL:
            self.people[at] = Person(self._keys, person.role)
            self._keys += 1
            return person.retire()
        if luck < 0.2:
            return person.wrong(self._draw)
        if luck < 0.23:
            return person.register(self.epoch, self._draw.choice((0, self.bits)))
        return person.update(self._draw)
