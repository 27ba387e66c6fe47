"""The owner's fronts as a directory: what the group exchange and the forwarder ask the ledger for elsewhere.

Also the word with which one front vouches to another that it has decided already, so that a request moves once. The word
is a signature over the pair and the hour: made and checked once an hour, carried as a header, worthless to third parties.
"""

from collections.abc import Sequence

from network.chain_records import UNIT, DirectoryEntry, DirectoryRecord
from network.crypto import SigningKey, exchange_key_of, sha256, verify
from network.directory import Directory
from network.errors import ConfigError, CryptoError
from network.hpke import OnionPrivate, Opener
from network.ids import NODE_ID_LENGTH, NodeId, Role, node_id
from serving_node.front.config import FrontConfig, Member

HOUR_S = 3600
_DOMAIN = b"planetserve/front/1"
_MAX_HOP = 512


def directory_of(config: FrontConfig, epoch: int = 0) -> Directory:
    """Every listed front as a trusted model node of one group."""
    entries = [
        DirectoryEntry(
            node_id=node_id(member.key),
            signing_key=member.key,
            onion_key=_onion_key(member),
            role=Role.MODEL,
            name=member.name,
            address=str(member.address),
            group=config.group,
            reputation=UNIT,
            trusted=True,
        )
        for member in config.members
    ]
    record = DirectoryRecord(chain_id=f"front/{config.group}"[:64], epoch=epoch, entries=tuple(sorted(entries, key=_by_id)))
    return Directory(record, 1)


def opener_of(key: SigningKey) -> Opener:
    """Opens what fellows seal to this front: a front is known by its signing key alone."""
    return Opener(OnionPrivate(key.exchange_private()))


def check_own(config: FrontConfig, public: bytes) -> NodeId:
    """This front's id. Raises ConfigError when its row lists another key than its file holds."""
    own = next(member for member in config.members if member.name == config.name)
    if own.key != public:
        raise ConfigError(
            f"member {config.name!r} is listed with another key than {config.keys} holds; its key is {public.hex()}"
        )
    return node_id(public)


class Hops:
    """Writes and reads `x-planetserve-hop: SENDER HOUR WORDS SIGNATURE`, where WORDS are expected to be cached."""

    __slots__ = ("_key", "_known", "_members", "_own", "_written")

    def __init__(self, key: SigningKey, members: Sequence[Member]) -> None:
        self._key = key
        self._own = node_id(key.public)
        self._members = {member.name.encode(): member for member in members if member.key != key.public}
        self._written: dict[bytes, tuple[int, bytes]] = {}
        self._known: dict[bytes, tuple[int, bytes]] = {}

    def write(self, name: str, receiver: bytes, expected_words: int, now_s: float) -> bytes:
        """The header line for one request to `receiver`; `name` is ours."""
        hour = int(now_s // HOUR_S)
        made_at, signature = self._written.get(receiver, (-1, b""))
        if made_at != hour:
            signature = self._key.sign(_statement(self._own, receiver, hour)).hex().encode()
            self._written[receiver] = (hour, signature)
        return b"x-planetserve-hop: %b %d %d %b\r\n" % (name.encode(), hour, expected_words, signature)

    def read(self, value: bytes | None, now_s: float) -> int | None:
        """How many words the sender expects to be cached; None when no fellow front vouches for this request."""
        parts = (value or b"").split(b" ")
        if len(parts) != 4 or len(value or b"") > _MAX_HOP or not (parts[1].isdigit() and parts[2].isdigit()):
            return None
        sender, hour, signature = parts[0], int(parts[1]), parts[3]
        if abs(hour - int(now_s // HOUR_S)) > 1 or sender not in self._members:
            return None
        if self._known.get(sender) != (hour, signature):
            if not self._holds(self._members[sender], hour, signature):
                return None
            self._known[sender] = (hour, signature)
        return int(parts[2])

    def _holds(self, sender: Member, hour: int, signature: bytes) -> bool:
        try:
            raw = bytes.fromhex(signature.decode("ascii"))
        except ValueError:
            return False
        return verify(sender.key, _statement(node_id(sender.key), self._own, hour), raw)


def _statement(sender: bytes, receiver: bytes, hour: int) -> bytes:
    assert len(sender) == len(receiver) == NODE_ID_LENGTH
    return sha256(_DOMAIN, sender, receiver, hour.to_bytes(8, "big"))


def _onion_key(member: Member) -> bytes:
    try:
        return exchange_key_of(member.key)
    except CryptoError as error:
        raise ConfigError(
            f"member {member.name!r}: its key is no Ed25519 public key; `planetserve keys show` says it"
        ) from error


def _by_id(entry: DirectoryEntry) -> bytes:
    return entry.node_id
