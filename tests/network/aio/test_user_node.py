"""The overlay end to end on loopback: a user node, sixteen relays, an echoing model node."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from network.errors import ModelUnreachable, NoCircuits, ReplyTimeout, ReplyTruncated, RequestTooLong
from network.inference import FrameKind, ReplyFrame
from network.modes import Mode
from network.sealing import Sealing

PATIENCE = 20.0


async def echo(request: bytes, stream: Any) -> None:
    stream.send(ReplyFrame(kind=FrameKind.ACCEPTED))
    for at in range(0, len(request), 1000):
        stream.send(ReplyFrame(kind=FrameKind.DELTA, payload=request[at : at + 1000]))
        await asyncio.sleep(0)
    stream.send(ReplyFrame(kind=FrameKind.FINAL, payload=b"bye"))


class Slow:
    """A model node that answers one delta each time it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Semaphore(0)
        self.cancelled = asyncio.Event()

    async def __call__(self, request: bytes, stream: Any) -> None:
        try:
            stream.send(ReplyFrame(kind=FrameKind.ACCEPTED))
            for number in range(6):
                await self.go.acquire()
                stream.send(ReplyFrame(kind=FrameKind.DELTA, payload=bytes([number])))
            stream.send(ReplyFrame(kind=FrameKind.FINAL))
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


async def collect(frames: Any) -> list[ReplyFrame]:
    return [frame async for frame in frames]


@pytest.mark.parametrize(
    ("size", "sealing"),
    [(0, Sealing()), (100, Sealing("x25519")), (2500, Sealing("hybrid", "padme")), (100_000, Sealing())],
)
async def test_requests_of_every_size_come_back_whole(overlay: Any, size: int, sealing: Sealing) -> None:
    server, entry = await overlay.add_model_node(echo, hybrid=True)
    user = await overlay.add_user(sealing=sealing)
    request = overlay.draw(size)
    frames = await collect(user.ask(request, entry))
    assert [frame.sequence for frame in frames] == list(range(len(frames)))
    assert frames[0].kind == FrameKind.ACCEPTED and frames[-1] == ReplyFrame(len(frames) - 1, FrameKind.FINAL, b"bye")
    assert b"".join(frame.payload for frame in frames[1:-1]) == request
    assert server.counts["requests"] == 1 and server.counts["cloves"] >= 3
    assert not any(name.startswith("dropped") for name in server.counts)


async def test_many_requests_at_once_and_nothing_stays_behind(overlay: Any) -> None:
    server, entry = await overlay.add_model_node(echo)
    user = await overlay.add_user()
    requests = [overlay.draw(3000) for _ in range(12)]
    answers = await asyncio.gather(*(collect(user.ask(request, entry)) for request in requests))
    for request, frames in zip(requests, answers, strict=True):
        assert b"".join(frame.payload for frame in frames[1:-1]) == request
    assert server.sessions == 0 and user.status().sessions == 0
    await _until(lambda: not user._lingering)
    await user.close()
    async with asyncio.timeout(PATIENCE):
        while any(len(core.circuits) for _, core, _ in overlay.relays.values()):
            await asyncio.sleep(0.02)
    assert all(
        not name.startswith("dropped")
        for _, core, _ in overlay.relays.values()
        for name in core.counts
        if name != "dropped_unknown_circuit"
    )


async def _until(done: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not done():
            await asyncio.sleep(0.01)


async def _next(frames: Any) -> ReplyFrame:
    async with asyncio.timeout(PATIENCE):
        return await anext(frames)


def _carrying(overlay: Any) -> list[str]:
    """The proxies of the session's circuits."""
    return [name for name, (_, core, _) in overlay.relays.items() if core.counts["cloves_handed_over"]]


async def test_a_relay_that_dies_in_mid_answer_costs_nothing_and_path_sets_are_rebuilt(overlay: Any) -> None:
    slow = Slow()
    server, entry = await overlay.add_model_node(slow)
    user = await overlay.add_user()
    built = user.status().built
    async with aclosing(user.ask(b"hello", entry)) as frames:
        assert (await _next(frames)).kind == FrameKind.ACCEPTED
        slow.go.release()
        assert (await _next(frames)).payload == b"\x00"
        await overlay.kill_relay(_carrying(overlay)[0])
        for number in range(1, 6):
            slow.go.release()
            assert (await _next(frames)).payload == bytes([number])
        assert (await _next(frames)).kind == FrameKind.FINAL
    async with asyncio.timeout(PATIENCE):
        while user.status().path_sets_ready < 2 or user.status().built <= built:
            await asyncio.sleep(0.02)
    slow.go = asyncio.Semaphore(6)
    assert (await collect(user.ask(b"again", entry)))[-1].kind == FrameKind.FINAL
    assert server.counts["requests"] == 2


async def test_an_answer_survives_several_lost_circuits(overlay: Any) -> None:
    """Two proxies die at once, then one of those that stood in for them: fresh circuits join the same reply."""
    slow = Slow()
    server, entry = await overlay.add_model_node(slow)
    user = await overlay.add_user(mode=Mode.SPEEDY)
    async with aclosing(user.ask(b"hello", entry)) as frames:
        assert (await _next(frames)).kind == FrameKind.ACCEPTED
        for name in _carrying(overlay)[:2]:
            await overlay.kill_relay(name)
        for number in range(3):
            slow.go.release()
            assert (await _next(frames)).payload == bytes([number])
        assert server.counts["resumed"] >= 1
        await _until(lambda: server.counts["resumed"] == 2)
        await overlay.kill_relay(_carrying(overlay)[-1])
        for number in range(3, 6):
            slow.go.release()
            assert (await _next(frames)).payload == bytes([number])
        assert (await _next(frames)).kind == FrameKind.FINAL
    assert server.counts["requests"] == 1 and server.counts["cancelled"] == 0
    assert user.requests()[-1]["resumed"] >= 2 and user.requests()[-1]["outcome"] == "ok"


async def test_no_path_left_in_mid_answer_is_an_error_and_stops_the_model_node(overlay: Any) -> None:
    slow = Slow()
    _, entry = await overlay.add_model_node(slow)
    user = await overlay.add_user()
    with pytest.raises(ReplyTruncated) as caught:
        async with aclosing(user.ask(b"hello", entry)) as frames:
            await _next(frames)
            await asyncio.gather(*(overlay.kill_relay(name) for name in _carrying(overlay)))
            await _next(frames)
    assert caught.value.code == "reply_truncated" and user.requests()[-1]["outcome"] == "reply_truncated"
    async with asyncio.timeout(PATIENCE):
        await slow.cancelled.wait()


async def test_a_finished_answer_runs_on_to_its_bucket_in_the_background(overlay: Any) -> None:
    server, entry = await overlay.add_model_node(echo)
    user = await overlay.add_user(path_sets=1)
    frames = await collect(user.ask(b"hello", entry))
    assert frames[-1].kind == FrameKind.FINAL and user.status().sessions == 0 and server.sessions == 0
    (times,) = user.requests()
    assert times["mode"] == "default" and times["attempts"] == 1 and times["pieces"] < 8
    assert all(times[part] is not None for part in ("jitter_ms", "to_acceptance_ms", "to_first_text_ms", "streaming_ms"))
    await _until(lambda: user.status().circuits_open == 8)
    await _until(lambda: user.status().circuits_open == 4)
    assert server.counts["cancelled"] == 0, "the reply came to its own end"


async def test_closing_the_generator_cancels_at_the_model_node(overlay: Any) -> None:
    slow = Slow()
    server, entry = await overlay.add_model_node(slow)
    user = await overlay.add_user()
    async with aclosing(user.ask(b"hello", entry)) as frames:
        await _next(frames)
    async with asyncio.timeout(PATIENCE):
        await slow.cancelled.wait()
    assert server.counts["cancelled"] == 1


async def test_a_handler_that_fails_or_forgets_its_end_is_an_error_at_the_user(overlay: Any) -> None:
    async def fails(request: bytes, stream: Any) -> None:
        stream.send(ReplyFrame(kind=FrameKind.ACCEPTED))
        if request == b"raise":
            raise ValueError("a bug")

    server, entry = await overlay.add_model_node(fails)
    user = await overlay.add_user()
    for request in (b"raise", b"forget"):
        with pytest.raises(ReplyTruncated):
            await collect(user.ask(request, entry))
    assert server.counts["handler_failed"] == 1


async def test_no_circuit_is_left_behind_by_what_could_not_be_sent(overlay: Any) -> None:
    _, entry = await overlay.add_model_node(echo)
    user = await overlay.add_user(path_sets=1)
    with pytest.raises(ModelUnreachable):
        await collect(user.ask(b"hello", replace(entry, onion_key=bytes(32))))
    with pytest.raises(ModelUnreachable, match="key"):
        await collect(user.ask(b"hello", replace(entry, hybrid_key=b"\xff" * 1216)))
    with pytest.raises(RequestTooLong):
        await collect(user.ask(bytes(800_000), entry))
    async with asyncio.timeout(PATIENCE):
        while user.status().circuits_open != 4 or sum(len(core.circuits) for _, core, _ in overlay.relays.values()) != 12:
            await asyncio.sleep(0.02)


async def test_a_relay_that_falls_silent_in_mid_answer_costs_nothing(overlay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("network.circuit.BUILD_SECONDS", 0.5)
    slow = Slow()
    _, entry = await overlay.add_model_node(slow)
    user = await overlay.add_user()
    async with aclosing(user.ask(b"hello", entry)) as frames:
        await _next(frames)
        server, _, _ = overlay.relays[_carrying(overlay)[0]]
        monkeypatch.setattr(server._links, "send_cells", lambda link, cells: None)
        monkeypatch.setattr(server._links, "send_message", lambda link, raw: None)
        for number in range(6):
            slow.go.release()
            assert (await _next(frames)).payload == bytes([number])
        assert (await _next(frames)).kind == FrameKind.FINAL
    async with asyncio.timeout(PATIENCE):
        while user.status().path_sets_ready < 2:
            await asyncio.sleep(0.02)
    slow.go = asyncio.Semaphore(6)
    assert (await collect(user.ask(b"again", entry)))[-1].kind == FrameKind.FINAL


async def test_a_model_node_that_is_gone_is_unreachable(overlay: Any) -> None:
    server, entry = await overlay.add_model_node(echo)
    user = await overlay.add_user()
    for closer in overlay.closers[-2:]:
        await closer()
    with pytest.raises(ModelUnreachable):
        await collect(user.ask(b"hello", entry))
    assert server.counts["requests"] == 0


async def test_a_deadline_ends_a_silent_answer(overlay: Any) -> None:
    slow = Slow()
    _, entry = await overlay.add_model_node(slow)
    user = await overlay.add_user()
    assert await user.wait_ready(PATIENCE)  # or the deadline passes before the model node has heard of the prompt
    with pytest.raises(ReplyTimeout):
        await collect(user.ask(b"hello", entry, deadline_s=2.0))
    async with asyncio.timeout(PATIENCE):
        await slow.cancelled.wait()


async def test_too_few_relays_are_no_circuits(overlay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("network.aio.path_keeper.TAKE_SECONDS", 0.2)
    _, entry = await overlay.add_model_node(echo)
    overlay.entries[:] = [e for e in overlay.entries if e.name not in {f"relay-{i:02d}" for i in range(5)}]
    user = await overlay.add_user()
    assert not await user.wait_ready(0.1)
    with pytest.raises(NoCircuits, match="12 relays of 12 families"):
        await collect(user.ask(b"hello", entry))
    assert user.status().path_sets_ready == 0 and "12 relays" in user.status().reason


async def test_dead_relays_in_the_directory_are_avoided(overlay: Any) -> None:
    _, entry = await overlay.add_model_node(echo)
    for name in ("relay-03", "relay-07", "relay-11"):
        await overlay.kill_relay(name)
    user = await overlay.add_user()
    assert await user.wait_ready(PATIENCE)
    assert (await collect(user.ask(b"hello", entry)))[-1].kind == FrameKind.FINAL


async def test_garbage_on_real_links_is_dropped_and_counted(overlay: Any) -> None:
    server, entry = await overlay.add_model_node(echo)
    user = await overlay.add_user()
    relay = next(each for each in overlay.entries if each.name == "relay-00")
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"ws://{relay.address}/link") as socket:
            for raw in (b"", b"x", b"y" * 1024, b"z" * 5000):
                await socket.send_bytes(raw)
            await socket.send_bytes(b"w" * 100_000)
            assert (await socket.receive(PATIENCE)).type is aiohttp.WSMsgType.CLOSE, "an oversized frame ends the link"
        async with session.ws_connect(f"ws://{relay.address}/link") as socket:
            await socket.send_str("text")
            assert (await socket.receive(PATIENCE)).type is aiohttp.WSMsgType.CLOSE
        async with session.ws_connect(f"ws://{entry.address}/cloves") as socket:
            for raw in (b"", b"\x01" + b"t" * 16 + b"not sealed", b"\x09" * 40):
                await socket.send_bytes(raw)
            answer = await socket.receive_bytes(timeout=PATIENCE)
            assert answer == b"\x05" + b"t" * 16, "the proxy hears that its clove was refused"
    core = overlay.relays["relay-00"][1]
    assert core.counts["dropped_malformed"] == 4
    assert sum(value for name, value in server.counts.items() if name.startswith("dropped")) == 3
    assert (await collect(user.ask(b"still fine", entry)))[-1].kind == FrameKind.FINAL
