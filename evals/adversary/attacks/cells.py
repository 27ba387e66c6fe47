"""What colluding relays of one circuit try with the cells between them: mark them, repeat them, recognise them."""

from evals.adversary.attack import Attack, Outcome, standing
from evals.adversary.behaviour import Altered, Behaviour, Later
from evals.adversary.network import VirtualNetwork
from evals.adversary.weak import Unchecked, Uncounted
from network.cell import CellKind, Command, encode_data, hand_over_cells
from network.freshness import Rng
from network.geometry import GEOMETRY, KIND, LINK_ID, TOKEN

HEAD = LINK_ID + KIND
DATA_AT = HEAD + GEOMETRY.tags


def kind_of(cell: bytes) -> int:
    """A cell's kind, in clear on its link."""
    return cell[LINK_ID]


def _flipped(cell: bytes, at: int) -> bytes:
    return cell[:at] + bytes((cell[at] ^ 1,)) + cell[at + 1 :]


def tagging(defended: bool) -> Outcome:
    """The first relay flips the bit that the proxy will find to be zero; the honest middle one stands between them."""
    with standing(defended, network__onion__AESGCM=Unchecked):
        network = VirtualNetwork()
        user = network.add_user()
        circuit = user.opened(network.path("r00", "r01", "r02"))

        def mark(link: int, cell: bytes) -> list[bytes | Later]:
            return [_flipped(cell, DATA_AT + 1) if kind_of(cell) == CellKind.FORWARD else cell]

        network.relays["r00"].behave(Altered(outgoing=mark))
        circuit.send(encode_data(Command.HAND_OVER, bytes(100), GEOMETRY.forward_body))
        network.settle()
        found = network.relays["r02"].dropped.get("bad_data", 0)
        stopped = network.relays["r01"].dropped.get("altered", 0)
        return Outcome(
            found > 0, f"marks found by the proxy: {found}; marked cells dropped by the next honest relay: {stopped}"
        )


class _Watching(Behaviour):
    """Keeps every forward cell's data as it arrives."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def incoming(self, link: int, raw: bytes) -> list[bytes | Later]:
        if kind_of(raw) == CellKind.FORWARD:
            self.seen.append(raw[DATA_AT:])
        return [raw]


def replayed_cell(defended: bool) -> Outcome:
    """The first relay sends every cell twice; the proxy looks for twins."""
    with standing(defended, network__onion__AESGCM=Uncounted):
        network = VirtualNetwork()
        user = network.add_user()
        circuit = user.opened(network.path("r00", "r01", "r02"))
        watching = _Watching()
        network.relays["r02"].behave(watching)
        network.relays["r00"].behave(
            Altered(outgoing=lambda link, cell: [cell, cell] if kind_of(cell) == CellKind.FORWARD else [cell])
        )
        circuit.send(encode_data(Command.HAND_OVER, bytes(100), GEOMETRY.forward_body))
        network.settle()
        twins = len(watching.seen) - len(set(watching.seen))
        return Outcome(twins > 0, f"cells that came to the proxy: {len(watching.seen)} of 2; twins among them: {twins}")


def replayed_set_up(defended: bool) -> Outcome:
    """Somebody who recorded a CREATE sends it again to its relay, and sees where the relay extends to."""
    forgetful = {"network__replay__ReplaySet__admit": lambda *_: True, "network__replay__ReplaySet__has_seen": lambda *_: False}
    with standing(defended, **forgetful):
        network = VirtualNetwork()
        user, thief = network.add_user(), network.add_user()
        seen = network.tap(at=["r00"])
        user.opened(network.path("r00", "r01", "r02"))
        create = next(s for s in seen if s.source[0] == "u00").cells()[0]
        link = thief.link_to(network.relays["r00"].entry)
        seen.clear()
        thief.put(link, thief.rng(LINK_ID) + create[LINK_ID:])
        network.settle()
        onward = [s.target[0] for s in seen if s.source[0] == "r00" and s.target[0].startswith("r")]
        refused = network.relays["r00"].dropped.get("replayed_create", 0)
        return Outcome(bool(onward), f"next hop shown: {', '.join(onward) or 'none'}; replays refused: {refused}")


class _SameIds(Behaviour):
    """A relay whose links all know a circuit by one id, as if ids were not drawn for every link."""

    def __init__(self) -> None:
        self._last = b""

    def incoming(self, link: int, raw: bytes) -> list[bytes | Later]:
        if kind_of(raw) == CellKind.CREATE:
            self._last = raw[:LINK_ID]
        return [raw]

    def draw(self, honest: Rng) -> Rng:
        """The relay's randomness, but for link ids."""
        return lambda count: self._last if count == LINK_ID else honest(count)


def linked_ids(defended: bool) -> Outcome:
    """First relays and proxies put the ids they saw beside each other."""
    same = _SameIds()
    network = VirtualNetwork(relay_rng={} if defended else {"r01": same.draw, "r00": same.draw})
    if not defended:
        for name in ("r00", "r01"):
            network.relays[name].behave(same)
    seen = network.tap(at=["r00", "r02"])
    user = network.add_user()
    user.opened(network.path("r00", "r01", "r02"))
    near = {cell[:LINK_ID] for s in seen if "r00" in (s.source[0], s.target[0]) for cell in s.cells()}
    far = {cell[:LINK_ID] for s in seen if "r02" in (s.source[0], s.target[0]) for cell in s.cells()}
    return Outcome(bool(near & far), f"ids seen by both: {len(near & far)} of {len(near | far)}")


def first_relay(defended: bool) -> Outcome:
    """A first relay's operator knows its user's address, and looks for whom the user asks in all that passes its relays."""
    network = VirtualNetwork()
    user, model = network.add_user(), network.model.entry
    mine = ["r00"] if defended else ["r00", "r01", "r02"]
    circuit = user.opened(network.path("r00", "r01", "r02"))
    seen = network.tap(at=mine)
    for data in hand_over_cells(model.node_id, bytes(TOKEN), bytes(200)):
        circuit.send(data)
    network.settle()
    handed = sum(network.relays[name].core.counts["cloves_handed_over"] for name in mine)
    asked = handed + sum(model.node_id in s.raw for s in seen)
    assert any(s.source[0] == "u00" for s in seen)
    return Outcome(asked > 0, f"user's address known: yes; model node known: {'yes' if asked else 'no'}")


CELLS = (
    Attack(
        "tagging",
        "Tagging",
        "first relay and proxy of one circuit",
        "every hop checks an AEAD tag over the whole cell (`network/onion.py`)",
        "hops decrypt without looking at the tag",
        tagging,
    ),
    Attack(
        "replayed-cell",
        "Replay of data cells",
        "first relay and proxy of one circuit",
        "the count of cells is the nonce (`network/onion.py`)",
        "one nonce for all cells",
        replayed_cell,
    ),
    Attack(
        "replayed-set-up",
        "Replay of handshakes",
        "somebody who recorded a CREATE",
        "ephemeral keys are remembered exactly while they could be accepted (`network/replay.py`)",
        "nothing is remembered",
        replayed_set_up,
    ),
    Attack(
        "linked-ids",
        "Path-id linkability",
        "first relay and proxy of one circuit",
        "64 random bits name a circuit on each of its links (`relay/core.py`)",
        "relays pass the id on",
        linked_ids,
    ),
    Attack(
        "first-relay",
        "First-hop compromise",
        "a user's first relay",
        "three hops of three operators: who knows the user does not know whom it asks (`network/paths.py`)",
        "one operator runs all three",
        first_relay,
    ),
)
