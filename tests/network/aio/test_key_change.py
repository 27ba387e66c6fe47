"""Onion keys change under users' hands: no request fails before, between or after, on real sockets."""

from dataclasses import replace
from typing import Any

import pytest

from network.chain_records import DirectoryEntry
from network.crypto import exchange_public
from network.handshake import OnionKey
from network.hpke import OnionPrivate, hybrid_public
from network.inference import FrameKind, ReplyFrame
from network.modes import Mode
from network.session import NoCircuits


async def hello(request: bytes, stream: Any) -> None:
    stream.send(ReplyFrame(kind=FrameKind.FINAL, payload=request))


async def asked(overlay: Any, entry: DirectoryEntry) -> None:
    """A user who has just read the directory asks over circuits of its own."""
    user = await overlay.add_user(path_sets=1, mode=Mode.SPEEDY)
    frames = [frame async for frame in user.ask(b"hello", entry)]
    assert frames[-1] == ReplyFrame(len(frames) - 1, FrameKind.FINAL, b"hello")
    await user.close()


async def test_a_day_later_for_everybody(overlay: Any) -> None:
    server, model = await overlay.add_model_node(hello, hybrid=True)
    await asked(overlay, model)
    fresh = {entry.name: overlay.draw(32) for entry in overlay.entries}
    today = OnionPrivate(fresh["model-0"], overlay.draw(96))

    yesterday = OnionPrivate(*overlay.model_keys["model-0"])
    server.opener.turn(today, yesterday)
    for name, (_, core, _) in overlay.relays.items():
        core.use_onion_keys([OnionKey(fresh[name], exchange_public(fresh[name])), *core.onion_keys])
    await asked(overlay, model)

    overlay.entries[:] = [replace(each, onion_key=exchange_public(fresh[each.name])) for each in overlay.entries]
    overlay.entries[-1] = told = replace(overlay.entries[-1], hybrid_key=hybrid_public(today.hybrid))
    assert told.node_id == model.node_id and told.hybrid_key != model.hybrid_key
    await asked(overlay, told)
    await asked(overlay, model)

    server.opener.turn(today)
    for _, core, _ in overlay.relays.values():
        core.use_onion_keys(core.onion_keys[:1])
    await asked(overlay, told)
    with pytest.raises(NoCircuits):
        await asked(overlay, model)
