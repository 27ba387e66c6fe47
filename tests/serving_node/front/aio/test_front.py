"""One front beside one engine: what callers may send, what they get back, and what happens when either side fails."""

import asyncio
import json
from typing import Any

import pytest

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello " * 100}]}
STREAM = {**CHAT, "stream": True}


async def test_an_answer_passes_untouched_and_says_who_gave_it(cluster: Any) -> None:
    await cluster.start(1)
    caller = await cluster.call()
    answer = await caller.ask(CHAT)
    assert (answer.status, answer.node, answer.fields[b"x-planetserve-route"]) == (200, "f0", b"f0")
    assert answer.document["served_by"] == cluster.configs[0].engine.port
    first, fields, body = cluster.engines[0].asked[0]
    assert first == b"POST /v1/chat/completions HTTP/1.1" and body == json.dumps(CHAT).encode()
    assert fields[b"host"] == str(cluster.configs[0].engine).encode()


async def test_connections_are_kept_on_both_sides(cluster: Any) -> None:
    await cluster.start(1)
    caller = await cluster.call()
    for _ in range(5):
        assert (await caller.ask(CHAT)).status == 200
        assert (await caller.ask(STREAM)).status == 200
    assert cluster.engines[0].connections == 1


async def test_a_stream_passes_chunk_by_chunk(cluster: Any) -> None:
    await cluster.start(1)
    answer = await (await cluster.call()).ask(STREAM)
    events = answer.body.decode().split("\n\n")
    assert [json.loads(event[6:])["piece"] for event in events[:3]] == [0, 1, 2] and events[4] == "data: [DONE]"


async def test_pipelined_requests_are_answered_in_turn(cluster: Any) -> None:
    await cluster.start(1)
    caller = await cluster.call()
    for number in range(4):
        caller.post({**CHAT, "user": str(number)})
    caller.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
    answers = [await caller.answer() for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert [json.loads(body)["user"] for _, _, body in cluster.engines[0].asked] == ["0", "1", "2", "3"]
    assert answers[4].document["ready"] is True


async def test_a_request_may_come_byte_by_byte_and_in_chunks(cluster: Any) -> None:
    await cluster.start(1)
    caller = await cluster.call()
    body = json.dumps(CHAT).encode()
    raw = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw += b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (7, body[:7], len(body) - 7, body[7:])
    for at in range(len(raw)):
        caller.send(raw[at : at + 1])
        if at % 50 == 0:
            await asyncio.sleep(0)
    assert (await caller.answer()).status == 200
    assert cluster.engines[0].asked[0][1][b"content-length"] == str(len(body)).encode()
    assert cluster.engines[0].asked[0][2] == body


async def test_a_caller_who_waits_for_leave_to_send_gets_it(cluster: Any) -> None:
    await cluster.start(1)
    caller = await cluster.call()
    body = json.dumps(CHAT).encode()
    caller.send(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    assert (await caller.answer()).status == 100
    caller.send(body)
    assert (await caller.answer()).status == 200
    assert b"expect" not in cluster.engines[0].asked[0][1]


BAD = {
    "no http": (b"hello\r\n\r\n", 400),
    "http/1.0": (b"GET / HTTP/1.0\r\nHost: h\r\n\r\n", 505),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "two lengths": (b"POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
    "length and chunks": (b"POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "another coding": (b"POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
    "a signed length": (b"POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", 400),
    "folded": (b"GET /health HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400),
    "space before colon": (b"GET /health HTTP/1.1\r\nHost : h\r\n\r\n", 400),
    "bare line feeds": (b"GET /health HTTP/1.1\nHost: h\n\n\r\n\r\n", 400),
    "a null": (b"GET /health HTTP/1.1\r\nHost: h\0\r\n\r\n", 400),
    "head too long": (b"GET /health HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 40_000, 431),
    "too many fields": (b"GET /health HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 120 + b"\r\n", 400),
    "body too long": (b"POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", 413),
    "chunks too long": (
        b"POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"80000\r\n" + b"a" * 0x80000 + b"\r\n90000\r\n" + b"a" * 0x90000 + b"\r\n",
        413,
    ),
    "a bad chunk": (b"POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "another expectation": (b"POST /v1/x HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n", 417),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_could_be_read_two_ways_is_refused_and_ends_the_connection(cluster: Any, name: str) -> None:
    await cluster.start(1)
    caller = await cluster.call()
    raw, status = BAD[name]
    caller.send(raw)
    answer = await caller.answer()
    assert answer.status == status and answer.document["error"]["message"]
    assert await caller.closed() and not cluster.engines[0].asked


async def test_a_request_of_another_kind_is_refused_and_the_connection_lives(cluster: Any) -> None:
    await cluster.start(1)
    caller = await cluster.call()
    assert (await caller.ask(b"{no json")).document["error"]["code"] == "invalid_json"
    assert (await caller.ask(b"[]")).status == 400
    assert (await caller.ask({**CHAT, "cache_salt": 3})).status == 400
    assert (await caller.ask(CHAT, path="/admin")).status == 404
    caller.send(b"GET /v1/chat/completions HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await caller.answer()).status == 405
    assert not cluster.engines[0].asked
    assert (await caller.ask(CHAT)).status == 200


async def test_what_an_engine_refuses_is_its_word(cluster: Any) -> None:
    await cluster.start(2)
    cluster.engines[0].status = cluster.engines[1].status = 400
    answer = await (await cluster.call()).ask(CHAT)
    assert answer.status == 400 and answer.document["error"]["message"] == "no"
    assert len(cluster.engines[0].asked) + len(cluster.engines[1].asked) == 1
    assert cluster.fronts[0].status()["ready"] is True


async def test_other_paths_go_to_the_own_engine(cluster: Any) -> None:
    await cluster.start(2)
    caller = await cluster.call(1)
    caller.send(b"GET /v1/models HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer k\r\n\r\n")
    answer = await caller.answer()
    assert answer.status == 200 and answer.node == "f1"
    first, fields, _ = cluster.engines[1].asked[0]
    assert first == b"GET /v1/models HTTP/1.1" and fields[b"authorization"] == b"Bearer k"


async def test_a_connection_that_the_engine_closed_meanwhile_is_no_failure(cluster: Any) -> None:
    await cluster.start(1)
    engine = cluster.engines[0]
    caller = await cluster.call()
    await caller.ask(CHAT)
    await engine.stop()
    await engine.start()
    assert (await caller.ask(CHAT)).status == 200 and engine.connections == 2
    engine.close = True
    assert (await caller.ask(CHAT)).status == (await caller.ask(CHAT)).status == 200 and engine.connections == 3


async def test_without_an_engine_the_answer_says_so_and_the_engine_is_found_again(cluster: Any) -> None:
    await cluster.start(1)
    engine, caller = cluster.engines[0], await cluster.call()
    await engine.stop()
    answer = await caller.ask(CHAT)
    assert answer.status == 502 and answer.document["error"]["code"] == "engine_failed"
    assert cluster.fronts[0].status()["ready"] is False
    await engine.start()
    await cluster.until(lambda: cluster.fronts[0].status()["ready"])
    assert (await (await cluster.call()).ask(CHAT)).status == 200


async def test_a_stream_that_breaks_ends_with_an_error_and_a_cut_connection(cluster: Any) -> None:
    await cluster.start(1)
    cluster.engines[0].break_after = 2
    caller = await cluster.call()
    caller.post(STREAM)
    raw = await caller.rest()
    assert b'"piece": 1' in raw and b"engine_lost" in raw and b"[DONE]" not in raw
    assert not raw.endswith(b"0\r\n\r\n"), "an incomplete stream must not look complete"


async def test_a_caller_who_leaves_ends_the_engines_work(cluster: Any) -> None:
    await cluster.start(1)
    engine = cluster.engines[0]
    engine.silent = True
    caller = await cluster.call()
    caller.post(STREAM)
    await cluster.until(lambda: engine.asked)
    caller.close()
    await cluster.until(lambda: engine.left == 1)
    assert cluster.fronts[0].status()["inside"] == 0


async def test_a_reader_that_stalls_is_cut_and_its_engine_freed(cluster: Any) -> None:
    await cluster.start(1)
    engine = cluster.engines[0]
    engine.pieces, engine.big = 400, 64 * 1024
    caller = await cluster.call()
    caller.writer.transport.pause_reading()
    caller.post(STREAM)
    await cluster.until(lambda: engine.left == 1)
    assert cluster.fronts[0].status()["inside"] == 0


async def test_a_full_engine_is_not_asked(cluster: Any) -> None:
    await cluster.start(1, most_inflight=2)
    engine = cluster.engines[0]
    engine.hold = asyncio.Event()
    callers = [await cluster.call() for _ in range(3)]
    for caller in callers[:2]:
        caller.post(CHAT)
    await cluster.until(lambda: len(engine.asked) == 2)
    refused = await callers[2].ask(CHAT)
    assert refused.status == 503 and refused.fields[b"retry-after"] == b"1"
    engine.hold.set()
    assert [(await caller.answer()).status for caller in callers[:2]] == [200, 200]


async def test_draining_ends_what_runs_and_takes_nothing_new(cluster: Any) -> None:
    await cluster.start(1)
    engine = cluster.engines[0]
    engine.hold = asyncio.Event()
    busy, idle = await cluster.call(), await cluster.call()
    busy.post(CHAT)
    await cluster.until(lambda: engine.asked)
    cluster.stops[0].set()
    assert await idle.closed()
    with pytest.raises(OSError):
        await cluster.call()
    engine.hold.set()
    answer = await busy.answer()
    assert answer.status == 200 and answer.fields[b"connection"] == b"close"
    await cluster.tasks[0]


async def test_large_bodies_pass_whole(cluster: Any) -> None:
    await cluster.start(1)
    cluster.engines[0].big = 3 << 20
    text = "long " * 150_000
    answer = await (await cluster.call()).ask({"model": "m", "messages": [{"role": "user", "content": text}]})
    assert answer.status == 200 and len(answer.document["padding"]) == 3 << 20
    assert json.loads(cluster.engines[0].asked[0][2])["messages"][0]["content"] == text
