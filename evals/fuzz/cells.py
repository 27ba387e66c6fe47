"""Targets of what a neighbour may put on a cell link: frames, cells, set-ups and their answers, altered cells, data cells."""

import random
from collections.abc import Sequence

from evals.fuzz.chain import NOW, RelayChain
from evals.fuzz.engine import Target
from network.cell import (
    CellKind,
    Command,
    HandOverReader,
    decode_cell,
    decode_data,
    encode_cell,
    encode_data,
    hand_over_cells,
    split_frame,
)
from network.commands import Command as Asked
from network.commands import SendCell, SendCells
from network.errors import CryptoError, DecodeError
from network.events import FrameArrived, LinkLost
from network.geometry import DATA_HEADER, GEOMETRY, KEY, LINK_ID, TOKEN
from network.handshake import RelayHandshake, UserHandshake
from network.onion import HopKeys, RelayLayer, UserLayers

MOST_CIRCUITS = 64


def targets() -> list[Target]:
    """One target per thing that arrives."""
    return [_frame(), _cell(), _relay(), _altered(), _create(), _created(), _data(), _hand_over()]


def _frame() -> Target:
    def run(raw: bytes) -> str:
        try:
            cells = split_frame(raw)
        except DecodeError as error:
            return str(error)
        assert b"".join(cells) == raw and 1 <= len(cells) <= 16
        return f"taken, {len(cells)} cells"

    draw = random.Random("frames")
    return Target("overlay/frame", "1 to 16 whole cells", [draw.randbytes(GEOMETRY.cell * count) for count in (1, 2, 16)], run)


def _cell() -> Target:
    def run(raw: bytes) -> str:
        try:
            link_id, kind, body = decode_cell(raw)
        except DecodeError as error:
            return str(error)
        assert encode_cell(link_id, kind, body) == raw
        return f"taken as {kind.name}"

    draw = random.Random("cells")
    seeds = [encode_cell(draw.randbytes(LINK_ID), kind, draw.randbytes(GEOMETRY.cell_body)) for kind in CellKind]
    return Target("overlay/cell", "decodes, and encodes to the same bytes, or is refused", seeds, run)


def _relay() -> Target:
    """A relay's core and one hostile link: whatever comes, tables stay bounded and a lost link takes everything along."""
    chain = RelayChain("hostile link", circuits_per_link=MOST_CIRCUITS)
    core, seen = chain.cores[0], 0
    link = core.new_link()

    def run(raw: bytes) -> str:
        nonlocal link, seen
        before = dict(core.counts)
        sent = [cell for command in core.on_event(FrameArrived(link, raw), NOW) for cell in cells_sent(command)]
        assert len(sent) <= 2 * len(raw) // GEOMETRY.cell and all(len(cell) == GEOMETRY.cell for cell in sent)
        assert len(core.circuits) <= MOST_CIRCUITS
        seen += 1
        if seen % 2_000 == 0:
            core.on_event(LinkLost(link), NOW)
            assert len(core.circuits) == 0
            link = core.new_link()
        changed = sorted(name for name, count in core.counts.items() if count != before.get(name, 0))
        return ("taken " if sent else "") + " ".join(changed)

    draw = random.Random("hostile link")
    seeds = [encode_cell(draw.randbytes(LINK_ID), kind, draw.randbytes(GEOMETRY.cell_body)) for kind in CellKind]
    seeds.append(b"".join(seeds))
    names = [draw.randbytes(LINK_ID) for _ in range(6)]
    seeds += [encode_cell(name, CellKind.CREATE, chain.create_body()) for name in names]
    seeds += [encode_cell(name, kind, draw.randbytes(GEOMETRY.cell_body)) for name in names for kind in CellKind]
    return Target("overlay/relay", "a relay's core under a hostile neighbour", seeds, run, chain.refreshing)


def _altered() -> Target:
    """The first cell of a circuit, bent, at its first relay: it opens unaltered, or not at all."""
    draw = random.Random("altered cells")
    keys = [HopKeys(*(draw.randbytes(KEY) for _ in range(4))) for _ in range(GEOMETRY.hops)]
    whole = UserLayers(keys).wrap(bytes(GEOMETRY.forward_body))
    onward = RelayLayer(keys[0]).peel(whole)

    def run(raw: bytes) -> str:
        bent = raw[: len(whole)].ljust(len(whole), b"\0")
        try:
            passed = RelayLayer(keys[0]).peel(bent)
        except CryptoError as error:
            assert bent != whole
            return str(error)
        assert bent == whole and passed == onward, "an altered cell was passed on"
        return "taken, unaltered"

    return Target("overlay/altered", "no altered cell passes a relay", [whole], run)


def _create() -> Target:
    chain = RelayChain("creates")

    def run(raw: bytes) -> str:
        body = raw[: GEOMETRY.cell_body].ljust(GEOMETRY.cell_body, b"\0")
        try:
            handshake = RelayHandshake(body, chain.hops[0].node_id, chain.onion_keys[0], [chain.directory], NOW, chain.rng)
        except (CryptoError, DecodeError) as error:
            return str(error)
        assert len(handshake.rest) == GEOMETRY.cell_body
        assert len(handshake.created(bytes(GEOMETRY.cell_body))) == GEOMETRY.cell_body
        return "taken"

    return Target("overlay/create", "opens, or is refused in its own words", [chain.create_body() for _ in range(8)], run)


def _created() -> Target:
    chain = RelayChain("created")
    user = UserHandshake(chain.hops, chain.directory, chain.rng)
    whole = chain.answer(user.create(NOW, chain.rng))
    keys, answers = user.finish(whole), GEOMETRY.hops * GEOMETRY.created_slot

    def run(raw: bytes) -> str:
        bent = raw[: len(whole)].ljust(len(whole), b"\0")
        try:
            found = user.finish(bent)
        except (CryptoError, DecodeError) as error:
            return str(error)
        assert bent[:answers] == whole[:answers] and found == keys, "a made-up answer was believed"
        return "taken"

    return Target("overlay/created", "no made-up answer opens a circuit", [whole], run)


def _data() -> Target:
    def run(raw: bytes) -> str:
        if len(raw) < DATA_HEADER:
            return "short"
        try:
            command, payload = decode_data(raw)
        except DecodeError as error:
            return str(error)
        assert encode_data(command, payload, len(raw)) == raw
        return f"taken as {command.name}"

    seeds = [encode_data(command, b"payload", length) for command in Command for length in (967, 999)]
    return Target("overlay/data", "decodes, and encodes to the same bytes, or is refused", seeds, run)


def _hand_over() -> Target:
    """Payloads of the cells of one hand-over, joined by lengths: a proxy holds no more than was announced."""

    def run(raw: bytes) -> str:
        reader: HandOverReader | None = None
        taken = 0
        while raw:
            size = min(raw[0] * 4, GEOMETRY.forward_payload)
            payload, raw = raw[1 : 1 + size], raw[1 + size :]
            try:
                if reader is None:
                    reader = HandOverReader(payload)
                else:
                    reader.add(payload)
            except DecodeError as error:
                return str(error)
            taken += 1
            assert reader.held <= GEOMETRY.max_clove
            if (clove := reader.clove()) is not None:
                assert len(clove) == reader.held
                return f"taken, whole, {min(taken, 3)} cells"
        return "incomplete"

    draw = random.Random("hand-overs")
    seeds = []
    for size in (1, 700, 3_000):
        cells = [
            decode_data(data)[1] for data in hand_over_cells(draw.randbytes(20), draw.randbytes(TOKEN), draw.randbytes(size))
        ]
        stream = b"".join(cells)
        seeds.append(b"".join(bytes([240]) + stream[at : at + 960] for at in range(0, len(stream), 960)))
    return Target("overlay/hand_over", "cells of a hand-over at the proxy", seeds, run)


def cells_sent(command: Asked) -> Sequence[bytes]:
    """The cells that a command puts on a link."""
    if isinstance(command, SendCell):
        return [command.cell]
    return command.cells if isinstance(command, SendCells) else []
