"""Requests through one or two model nodes: what comes back, what is signed, what happens when something fails."""

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from network.codec import decode, encode
from network.crypto import verify
from network.inference import (
    Endpoint,
    Finish,
    FrameKind,
    InferenceRequest,
    ReplyFailure,
    ReplyFinal,
    ReplyFrame,
    Sampling,
    prompt_hash,
    sampling_seed,
    statement_bytes,
)
from serving_node.aio import peers
from serving_node.breaker import State
from serving_node.generation import EngineSample

NONCE = bytes(range(32))
BODY = {"messages": [{"role": "user", "content": "Hi"}]}


def request(body: Any = BODY, **changes: Any) -> InferenceRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return replace(InferenceRequest("tiny", Endpoint.CHAT, NONCE, Sampling(600, 0, 0, 64), raw, 30_000), **changes)


def text_of(frames: list[ReplyFrame]) -> str:
    deltas = [json.loads(frame.payload) for frame in frames if frame.kind == FrameKind.DELTA]
    return "".join(d["delta"].get("content", "") if "delta" in d else d["text"] for d in deltas)


def failure(frames: list[ReplyFrame]) -> ReplyFailure:
    assert frames[-1].kind == FrameKind.FAILED
    return decode(ReplyFailure, frames[-1].payload)


def final(frames: list[ReplyFrame]) -> ReplyFinal:
    assert frames[-1].kind == FrameKind.FINAL, frames[-1]
    return decode(ReplyFinal, frames[-1].payload)


async def test_an_answer_is_announced_streamed_and_signed(net: Any) -> None:
    node = await net.add()
    frames = await node.ask(encode(request()))
    assert frames[0].kind == FrameKind.ACCEPTED and decode(ReplyFinal, frames[0].payload).route == (node.id,)
    assert text_of(frames) == "Hello there"
    end = final(frames)
    prompt = tuple(b"user: Hi\n")
    assert end.statement.token_ids == (*b"Hello there", 256) and end.statement.finish == Finish.STOP
    assert end.statement.prompt_hash == prompt_hash(prompt) and end.prompt_tokens == len(prompt)
    assert (end.completion_tokens, end.cached_tokens, end.route) == (12, 4, (node.id,))
    assert verify(node.key.public, statement_bytes(end.statement), end.signature)
    told = node.llama.asked[0]
    assert told["seed"] == sampling_seed(NONCE, node.id, end.statement.model_hash)
    assert told["samplers"] == ["temperature"] and told["prompt"] == list(prompt)


async def test_an_unshared_prompt_reads_no_cache_leaves_none_and_is_told_to_nobody(net: Any) -> None:
    node = await net.add()
    for wish in ({"no_share": 1}, {"cache_salt": b"\x05" * 16}):
        final(await node.ask(encode(request(**wish))))
        told = node.llama.asked[-1]
        assert told["cache_prompt"] is False and told["id_slot"] == 1 == node.llama.erased[-1]
        assert node.group.forwarder.index.held(node.id) == 0
    final(await node.ask(encode(request())))
    assert node.llama.asked[-1]["cache_prompt"] is True and "id_slot" not in node.llama.asked[-1]
    assert len(node.llama.erased) == 2


async def test_an_unshared_answer_is_erased_whatever_ends_it(net: Any, fake_llama: Any) -> None:
    node = await net.add(llama=fake_llama(text="ok 😊 and more", fail=500))
    assert failure(await node.ask(encode(request(no_share=1)))).code == "engine_failed"
    assert node.llama.erased == [1]
    node.llama.fail = 0
    # A hole in its ids makes more requests about the prompt: as unshared as the first, and erased again.
    node.llama.text, node.llama.merges = "a grüße 😊!", True
    assert text_of(await node.ask(encode(request(no_share=1)))) == "a grüße 😊!"
    assert all(told["cache_prompt"] is False for told in node.llama.asked) and node.llama.erased == [1, 1, 1]


async def test_ids_of_characters_of_several_tokens_are_found_again(net: Any, fake_llama: Any) -> None:
    node = await net.add(llama=fake_llama(text="grüße 😊!"))
    frames = await node.ask(encode(request()))
    assert text_of(frames) == "grüße 😊!"
    assert final(frames).statement.token_ids == (*"grüße 😊!".encode(), 256)
    assert len(node.llama.asked) == 1


async def test_ids_that_the_tokeniser_would_not_choose_are_found_by_their_likelihood(net: Any, fake_llama: Any) -> None:
    node = await net.add(llama=fake_llama(text="a grüße 😊!", merges=True))
    frames = await node.ask(encode(request()))
    assert text_of(frames) == "a grüße 😊!"
    assert final(frames).statement.token_ids == (*"a grüße 😊!".encode(), 256)
    assert not any(asked.get("n_predict") == len("a grüße 😊!".encode()) + 1 for asked in node.llama.asked[1:])


async def test_an_answer_cut_inside_a_character_has_all_its_ids(net: Any, fake_llama: Any) -> None:
    node = await net.add(llama=fake_llama(text="ok 😊 and more"))
    for limit, text in ((5, "ok "), (3, "ok "), (7, "ok 😊")):
        frames = await node.ask(encode(request(sampling=Sampling(600, 0, 0, limit))))
        assert text_of(frames) == text
        end = final(frames)
        assert end.statement.token_ids == tuple("ok 😊".encode()[:limit]) and end.statement.finish == Finish.LENGTH


async def test_an_answer_that_ends_on_its_last_token_is_complete(net: Any) -> None:
    node = await net.add()
    end = final(await node.ask(encode(request(sampling=Sampling(600, 0, 0, 12)))))
    assert end.statement.token_ids == (*b"Hello there", 256) and end.statement.finish == Finish.STOP
    end = final(await node.ask(encode(request(sampling=Sampling(600, 0, 0, 11)))))
    assert end.statement.token_ids == tuple(b"Hello there") and end.statement.finish == Finish.LENGTH


async def test_broken_text_before_the_end_is_generated_again_for_its_ids(net: Any, fake_llama: Any) -> None:
    node = await net.add(llama=fake_llama(raw=b"ok \xf0\x9f"))
    frames = await node.ask(encode(request()))
    assert text_of(frames) == "ok " and final(frames).statement.token_ids == (*b"ok \xf0\x9f", 256)
    assert len(node.llama.asked) == 2


async def test_an_engine_that_did_not_follow_a_schema_is_found_out(net: Any, fake_llama: Any) -> None:
    node = await net.add(llama=fake_llama(text="{}"))
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    assert final(await node.ask(encode(request({**BODY, "response_format": form}))))
    assert node.llama.asked[0]["json_schema"] == {"type": "object"}
    node.llama.text = "As you wish"
    assert failure(await node.ask(encode(request({**BODY, "response_format": form})))).code == "invalid_request"


async def test_a_stop_string_ends_the_answer_and_the_engine(net: Any, fake_llama: Any) -> None:
    node = await net.add(llama=fake_llama(text="one two three four", delay_s=0.01))
    frames = await node.ask(encode(request({**BODY, "stop": ["three"]})))
    assert text_of(frames) == "one two " and final(frames).statement.finish == Finish.STOP
    assert final(frames).statement.token_ids == tuple(b"one two three")
    await until(lambda: node.llama.stopped == 1)


async def test_completions_carry_text(net: Any) -> None:
    node = await net.add()
    frames = await node.ask(encode(request({"prompt": "Once"}, endpoint=Endpoint.COMPLETION)))
    assert text_of(frames) == "Hello there" and final(frames).prompt_tokens == 4


async def test_bad_requests_get_stable_codes(net: Any) -> None:
    node = await net.add()
    cases: list[tuple[bytes, str]] = [
        (b"\xff\xff\xff", "invalid_request"),
        (encode(request(model="other")), "model_not_found"),
        (encode(request(nonce=b"")), "invalid_request"),
        (encode(request(b"{not json")), "invalid_request"),
        (encode(request(b"[" * 100_000)), "invalid_request"),
        (encode(request({"messages": []})), "invalid_request"),
        (encode(request({"messages": [{"role": "user", "content": "x" * 300}]})), "context_length_exceeded"),
        (encode(request(endpoint=0)), "invalid_request"),
    ]
    for raw, code in cases:
        frames = await node.ask(raw)
        assert failure(frames).code == code and failure(frames).message
        assert all(frame.kind != FrameKind.FINAL for frame in frames)
    assert not node.llama.asked


async def test_an_engine_that_fails_is_said_so(net: Any, fake_llama: Any) -> None:
    node = await net.add(llama=fake_llama(fail=500))
    assert failure(await node.ask(encode(request()))).code == "engine_failed"
    node.llama.fail, node.llama.break_off = 0, True
    frames = await node.ask(encode(request()))
    assert text_of(frames) and failure(frames).code == "engine_failed"
    assert node.answering.admission.running == 0


async def test_a_deadline_ends_the_answer_and_the_engine(net: Any, fake_llama: Any) -> None:
    node = await net.add(llama=fake_llama(text="x" * 50, delay_s=0.05))
    frames = await node.ask(encode(request(deadline_ms=200)))
    assert failure(frames).code == "deadline_exceeded" and failure(frames).status == 504
    await until(lambda: node.llama.running == 0)


async def test_cancelling_stops_the_engine(net: Any, fake_llama: Any) -> None:
    node = await net.add(llama=fake_llama(text="x" * 60, delay_s=0.05))
    task = asyncio.create_task(node.ask(encode(request())))
    await until(lambda: node.llama.running == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: node.llama.running == 0)
    assert node.answering.admission.running == 0


async def test_requests_wait_for_a_slot_and_are_refused_beyond_the_queue(net: Any, fake_llama: Any) -> None:
    node = await net.add(slots=1, llama=fake_llama(delay_s=0.01))
    replies = await asyncio.gather(*(node.ask(encode(request())) for _ in range(12)))
    codes = [failure(frames).code if frames[-1].kind == FrameKind.FAILED else "" for frames in replies]
    assert codes.count("overloaded") == 3 and codes.count("") == 9
    assert all(failure(frames).retry_after >= 1 for frames in replies if frames[-1].kind == FrameKind.FAILED)


async def test_a_draining_node_refuses_what_is_new(net: Any) -> None:
    node = await net.add()
    node.answering.admission.draining = True
    assert failure(await node.ask(encode(request()))).code == "overloaded"


async def test_a_request_is_answered_by_the_peer_that_was_chosen(net: Any, fake_llama: Any) -> None:
    first = await net.add(policy="round-robin")
    second = await net.add(llama=fake_llama(text="From afar"))
    await net.meet()
    replies = [await first.ask(encode(request())) for _ in range(4)]
    routes = {final(frames).route for frames in replies}
    assert routes == {(first.id,), (first.id, second.id)}
    afar = next(frames for frames in replies if len(final(frames).route) == 2)
    assert text_of(afar) == "From afar" and decode(ReplyFinal, afar[0].payload).route == (first.id, second.id)
    end = final(afar)
    assert end.statement.node_id == second.id and verify(second.key.public, statement_bytes(end.statement), end.signature)
    assert second.llama.asked[0]["seed"] == sampling_seed(NONCE, second.id, end.statement.model_hash)


async def test_a_peer_that_fails_before_its_first_text_is_replaced(net: Any, fake_llama: Any) -> None:
    first = await net.add(policy="round-robin")
    second = await net.add(llama=fake_llama(fail=500))
    await net.meet()
    for _ in range(4):
        assert final(await first.ask(encode(request()))).route[-1] == first.id
    assert second.llama.asked
    await second.runners[0].cleanup()
    for _ in range(4):
        assert final(await first.ask(encode(request()))).route == (first.id,)


async def test_an_own_engine_that_fails_before_its_first_text_is_replaced_by_a_peer(net: Any, fake_llama: Any) -> None:
    first = await net.add(policy="none", llama=fake_llama(fail=500))
    second = await net.add(llama=fake_llama(text="From afar"))
    await net.meet()
    frames = await first.ask(encode(request()))
    assert text_of(frames) == "From afar" and final(frames).route == (first.id, second.id)
    (row, *_) = first.group.forwarder.decisions.explain(0.0, 1)
    assert [(end["node_id"], end["failure"]) for end in row["outcomes"]] == [(first.id.hex(), "broken"), (second.id.hex(), "")]


async def test_a_full_node_hands_over_before_it_refuses(net: Any, fake_llama: Any) -> None:
    first = await net.add(policy="none", slots=1, llama=fake_llama(delay_s=0.01))
    second = await net.add(slots=1, llama=fake_llama(delay_s=0.01))
    await net.meet()
    replies = await asyncio.gather(*(first.ask(encode(request())) for _ in range(24)))
    routes = [final(frames).route[-1] for frames in replies if frames[-1].kind == FrameKind.FINAL]
    assert routes.count(first.id) == 9 and routes.count(second.id) >= 1
    assert {failure(frames).code for frames in replies if frames[-1].kind == FrameKind.FAILED} <= {"overloaded"}
    assert first.group.forwarder.beliefs.bookings.open(second.id) == 0


async def test_a_peer_that_fails_again_and_again_gets_nothing_for_a_while(net: Any, fake_llama: Any) -> None:
    first = await net.add(policy="round-robin")
    second = await net.add(llama=fake_llama(fail=500))
    await net.meet()
    for _ in range(12):
        assert final(await first.ask(encode(request()))).route[-1] == first.id
    assert len(second.llama.asked) == 3
    assert first.group.forwarder.beliefs.breakers(State.OPEN, time.monotonic()) == 1


async def test_a_draining_node_says_so_and_gets_nothing_new(net: Any) -> None:
    first = await net.add(policy="round-robin")
    second = await net.add()
    await net.meet()
    second.answering.admission.draining = True
    second.group.set_load(second.answering.admission.load(EngineSample(), 0))
    await second.group.farewell()
    for _ in range(4):
        assert final(await first.ask(encode(request()))).route == (first.id,)
    assert not second.llama.asked


async def test_the_operator_may_ask_why(net: Any) -> None:
    node = await net.add()
    final(await node.ask(encode(request())))
    status, told = await get(node.group.ops_routes(), "/decisions?last=5")
    (row,) = told["decisions"]
    assert (status, told["node_id"], told["names"]) == (200, node.id.hex(), {node.id.hex(): "model-0"})
    assert row["prompt_tokens"] == len(b"user: Hi\n") and row["outcomes"][0]["cached_tokens"] == 4
    assert "Hi" not in json.dumps(told)
    assert (await get(node.group.ops_routes(), "/decisions?last=x"))[0] == 400
    assert (await get(node.group.ops_routes(), "/decisions?id=99"))[1]["decisions"] == []


async def test_a_peer_lost_in_mid_answer_is_an_error_not_silence(net: Any, fake_llama: Any) -> None:
    first = await net.add(policy="round-robin")
    await net.add(llama=fake_llama(break_off=True))
    await net.meet()
    codes = [failure(f).code for f in [await first.ask(encode(request())) for _ in range(4)] if f[-1].kind == FrameKind.FAILED]
    assert codes and set(codes) == {"engine_failed"}


async def test_a_silent_peer_is_given_up(net: Any, fake_llama: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(peers, "SILENCE_S", 0.3)
    monkeypatch.setattr(peers, "HEARTBEAT_S", 60.0)
    first = await net.add(policy="round-robin")
    await net.add(llama=fake_llama(delay_s=5.0))
    await net.meet()
    for _ in range(2):
        assert final(await first.ask(encode(request()))).route[-1] == first.id


async def test_heartbeats_keep_a_slow_peer(net: Any, fake_llama: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(peers, "SILENCE_S", 0.9)
    monkeypatch.setattr(peers, "HEARTBEAT_S", 0.25)
    first = await net.add(policy="round-robin")
    second = await net.add(llama=fake_llama(text="a", delay_s=1.2))
    await net.meet()
    replies = [await first.ask(encode(request())) for _ in range(2)]
    assert {final(frames).route[-1] for frames in replies} == {first.id, second.id}


async def test_cancelling_reaches_the_peer(net: Any, fake_llama: Any) -> None:
    first = await net.add(policy="round-robin", llama=fake_llama(text="x" * 60, delay_s=0.05))
    second = await net.add(llama=fake_llama(text="x" * 60, delay_s=0.05))
    await net.meet()
    tasks = [asyncio.create_task(first.ask(encode(request()))) for _ in range(2)]
    await until(lambda: first.llama.running == 1 and second.llama.running == 1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: first.llama.running == 0 and second.llama.running == 0)


async def test_an_untrusted_peer_gets_nothing_but_answers_what_enters_there(net: Any) -> None:
    first = await net.add(policy="round-robin")
    second = await net.add(policy="round-robin")
    net.list(second, trusted=False)
    await net.meet()
    for _ in range(3):
        assert final(await first.ask(encode(request()))).route == (first.id,)
        assert final(await second.ask(encode(request()))).route == (second.id,)


async def get(routes: list[web.RouteDef], path: str) -> tuple[int, Any]:
    """Status and document of one request to the operator's port."""
    app = web.Application()
    app.add_routes(routes)
    async with TestClient(TestServer(app)) as client, client.get(path) as answer:
        return answer.status, await answer.json()


async def until(condition: Any) -> None:
    """Wait for a condition; the test's own patience bounds it."""
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")
