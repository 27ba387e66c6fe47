"""Can others reach this node where it says it is? Messages, proof and verdict of the dial-back; sans-IO.

A node asks listed relays to call it back. A helper calls the host that asks and no other, at the port it names, and hands over
the node's nonce; only the node itself can have made the nonce, so a call that brings it proves itself. The signed answer
proves to the helper that it reached who asked. Implements `docs/overlay.md` section 11.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from network.chain_records import DirectoryEntry
from network.codec import Message, blob, flag, text, uint
from network.config import Address, parse_address
from network.crypto import KEY_LENGTH, SigningKey, verify
from network.errors import ConfigError
from network.freshness import Rng
from network.ids import node_id

REACHABILITY_PATH = "/reachability"
CALL_PATH = "/reachability/call"
NONCE = 32
MESSAGE_LIMIT = 256
WANTED = 2  # helpers that must have reached a node before it registers, where there are as many
MOST_ASKED = 6

_LABEL = b"planetserve/reachable/1"


@dataclass(frozen=True, slots=True)
class DialBackRequest(Message):
    """Call me back at the address that I call from, at this port, and bring this nonce."""

    signing_key: bytes = blob(1, size=KEY_LENGTH)
    port: int = uint(2, limit=65535)
    nonce: bytes = blob(3, size=NONCE)


@dataclass(frozen=True, slots=True)
class DialBackAnswer(Message):
    """Whom the helper called, and whether the holder of the signing key answered there."""

    called: str = text(1, limit=64)
    reached: bool = flag(2)


@dataclass(frozen=True, slots=True)
class Reachability:
    """What came of asking: `called` are the addresses that helpers saw the node call from, with the port they called."""

    address: str
    listed: int
    asked: int
    answered: int
    reached: int
    called: tuple[str, ...]

    @property
    def is_enough(self) -> bool:
        """Whether to register: enough helpers got through, or there is nobody to ask yet."""
        return self.reached >= min(WANTED, self.listed)

    @property
    def explanation(self) -> str:
        """What is wrong, and what to do; empty when nothing is."""
        if self.is_enough:
            return ""
        if not self.answered:
            return f"none of {self.asked} listed relays answered when asked to call back: check this machine's way out"
        tried = ", ".join(self.called) or "nothing"
        return (
            f"{self.reached} of {self.answered} listed relays could call back; they called {tried}, and this node advertises "
            f"{self.address}. Open or forward that port to this machine and set node.advertise to the outer address; "
            'behind a NAT that cannot forward, run a gateway only; node.reachability = "assume" registers unchecked'
        )


class OpenNonces:
    """The nonces that this node waits for, and which of them a caller has brought."""

    __slots__ = ("_brought", "_rng")

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._brought: dict[bytes, bool] = {}

    def open(self) -> bytes:
        """A nonce for one helper."""
        nonce = self._rng(NONCE)
        self._brought[nonce] = False
        return nonce

    def bring(self, nonce: bytes, key: SigningKey) -> bytes | None:
        """A caller brought this nonce: our proof, or None when we did not give it out."""
        if nonce not in self._brought:
            return None
        self._brought[nonce] = True
        return key.sign(_LABEL + nonce)

    def close(self, nonce: bytes) -> bool:
        """Whether it was brought; it is of no further use."""
        return self._brought.pop(nonce, False)


def is_proof(signing_key: bytes, nonce: bytes, proof: bytes) -> bool:
    """Whether the holder of the key was reached with this nonce."""
    return verify(signing_key, _LABEL + nonce, proof)


def called_node(request: DialBackRequest, host: str) -> DirectoryEntry | None:
    """The asking node as a node to call: its own host, whatever it says. None for a request that makes no sense."""
    if not request.port or len(request.signing_key) != KEY_LENGTH or len(request.nonce) != NONCE:
        return None
    plain = plain_host(host)
    if plain is None:
        return None
    return DirectoryEntry(node_id(request.signing_key), request.signing_key, address=str(Address(plain, request.port)))


def plain_host(host: str) -> str | None:
    """An IP address in its shortest form, IPv4 where it is one; None for anything else."""
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if found.version == 6 else None
    return str(mapped or found)


def is_called_right(called: str, advertised: Address, resolved: Iterable[str]) -> bool:
    """Whether a helper called the address that the node is going to register; a name counts as what it resolves to."""
    try:
        found = parse_address(called)
    except ConfigError:
        return False
    hosts = {plain_host(advertised.host), *(plain_host(host) for host in resolved)} - {None}
    return found.port == advertised.port and plain_host(found.host) in hosts


def helpers(relays: Iterable[DirectoryEntry], own_id: bytes, rng: Rng) -> list[DirectoryEntry]:
    """Whom to ask, in random order and of different families first."""
    shuffled = sorted((relay for relay in relays if relay.node_id != own_id), key=lambda _: rng(8))
    seen: set[str] = set()
    first: list[DirectoryEntry] = []
    rest: list[DirectoryEntry] = []
    for relay in shuffled:
        (rest if relay.family in seen else first).append(relay)
        seen.add(relay.family)
    return [*first, *rest][:MOST_ASKED]
