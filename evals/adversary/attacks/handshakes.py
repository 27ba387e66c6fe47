"""What is tried with set-ups: recorded ones and stolen keys, and users who were shown a directory of their own."""

from typing import Any
from unittest.mock import patch

from evals.adversary.attack import Attack, Outcome, standing
from evals.adversary.network import CHAIN, VirtualNetwork
from network.chain_records import DirectoryRecord
from network.crypto import exchange
from network.directory import Directory
from network.geometry import DIRECTORY_NAME, GEOMETRY, KEY, KIND, LINK_ID
from network.handshake import OnionKey, RelayHandshake

BODY = LINK_ID + KIND
EPHEMERAL_AND_CONFIRMATION = GEOMETRY.created_slot


def stolen_onion_key(defended: bool) -> Outcome:
    """Who recorded a first relay's link steals that relay's onion key afterwards, and looks for the circuit's keys."""
    network = VirtualNetwork()
    relay = network.relays["r00"]
    long_lived = {each.entry.onion_key for each in network.relays.values()}
    privates = {each.private for each in network.relays.values()}

    def without_ephemeral(private: bytes, public: bytes) -> bytes:
        return exchange(private, public) if public in long_lived or private in privates else bytes(KEY)

    with standing(defended, network__handshake__exchange=without_ephemeral):
        seen = network.tap(at=["u00"])
        network.add_user().opened(network.path("r00", "r01", "r02"))
        create, created = (s.cells()[0][BODY:] for s in seen)
        # The thief answers the recorded CREATE as the relay did. It knows all but the relay's own ephemeral secret.
        with patch("network.handshake.exchange_public", lambda private: created[:KEY]):
            names, draw = network.directory.names, network.rng("thief")
            keys = OnionKey(relay.private, relay.entry.onion_key)
            mine = RelayHandshake(create, relay.entry.node_id, keys, names, network.clock.now, draw)
        same = mine.created(bytes(GEOMETRY.cell_body))[:EPHEMERAL_AND_CONFIRMATION] == created[:EPHEMERAL_AND_CONFIRMATION]
        return Outcome(
            same, f"next hop read: {'yes' if mine.next_hop else 'no'}; circuit's keys found: {'yes' if same else 'no'}"
        )


class _Anything(tuple[bytes, ...]):
    def __contains__(self, name: object) -> bool:
        return True


class _Gullible(Directory):
    """A directory that knows every name: what a relay has that does not compare."""

    __slots__ = ()

    @property
    def names(self) -> Any:
        """Whatever is asked for."""
        return _Anything((self.hash[:DIRECTORY_NAME],))

    @names.setter
    def names(self, names: object) -> None:
        """What it is called makes no difference."""


def partitioned_user(defended: bool) -> Outcome:
    """A user is shown a list of its own: the attacker's relays, and a few honest ones it is to be recognised at."""
    network = VirtualNetwork(relays=15)
    user = network.add_user()
    kept = {relay.entry.node_id for name, relay in network.relays.items() if name not in ("r12", "r13", "r14")}
    entries = tuple(entry for entry in network.directory.record.entries if entry.node_id in kept)
    forged = Directory(DirectoryRecord(CHAIN, 1, network.directory.height, bytes(32), entries), network.directory.height)
    network.views["u00"] = forged
    if not defended:
        for name in network.relays:
            network.views[name] = _Gullible(network.directory.record, network.directory.height)
    circuits = user.path_set(network.paths())
    opened = sum(circuit.is_open for circuit in circuits)
    refused = sum(relay.dropped.get("foreign_directory", 0) for relay in network.relays.values())
    return Outcome(opened > 0, f"circuits opened: {opened} of {len(circuits)}; refused by honest relays: {refused}")


HANDSHAKES = (
    Attack(
        "stolen-onion-key",
        "Compelled or stolen onion key",
        "who recorded a link and steals its relay's onion key later",
        "data keys need both ephemeral secrets, which are forgotten (`network/handshake.py`)",
        "keys follow from the onion key and the user's ephemeral key alone",
        stolen_onion_key,
    ),
    Attack(
        "partitioned-user",
        "List partitioning",
        "who can show one user a directory of its own",
        "every set-up names its directory, relays refuse names they never saw (`network/handshake.py`)",
        "relays accept any name",
        partitioned_user,
    ),
)
