"""Several fronts: they route to the cache, stand in for each other before the first byte, and believe only each other."""

import asyncio
from typing import Any

CHAT = {"model": "m", "messages": [{"role": "user", "content": "a long shared beginning " * 200}]}
STREAM = {**CHAT, "stream": True}


async def taught(cluster: Any, at: int = 1) -> None:
    """Front `at` has served the prompt, and all know."""
    cluster.engines[at].cached = 100
    assert (await (await cluster.call(at)).ask(STREAM)).node == f"f{at}"
    own = cluster.fronts[at].own_id
    await cluster.until(lambda: all(front.group.forwarder.index.held(own) for front in cluster.fronts))


async def test_a_prompt_goes_to_the_front_whose_engine_holds_it(cluster: Any) -> None:
    await cluster.start(3)
    await cluster.met()
    await taught(cluster)
    caller = await cluster.call(0)
    for _ in range(3):
        answer = await caller.ask(STREAM)
        assert (answer.node, answer.fields[b"x-planetserve-route"]) == ("f1", b"f0,f1")
    assert b"x-planetserve-hop" not in cluster.engines[1].asked[-1][1]
    other = {"model": "m", "messages": [{"role": "user", "content": "something else " * 200}]}
    assert (await caller.ask(other)).node == "f0"
    salted = await caller.ask({**CHAT, "cache_salt": "mine"})
    kept = await caller.ask(CHAT, extra="x-planetserve-no-share: 1\r\n")
    assert (salted.node, kept.node) == ("f0", "f0")


async def test_a_conversation_with_a_name_goes_to_one_front_from_everywhere(cluster: Any) -> None:
    await cluster.start(3)
    await cluster.met()
    answers = []
    for at in range(3):
        new = {"model": "m", "messages": [{"role": "user", "content": f"{at} and no common beginning " * 200}]}
        answers.append(await (await cluster.call(at)).ask(new, extra="x-planetserve-session: talk-7\r\n"))
    assert len({answer.node for answer in answers}) == 1


async def test_a_dead_engine_s_prompts_go_to_the_next_best(cluster: Any) -> None:
    await cluster.start(3)
    await cluster.met()
    await taught(cluster)
    await cluster.engines[1].stop()
    answers = [await (await cluster.call(0)).ask(STREAM) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3 and "f1" not in {answer.node for answer in answers}
    assert (await (await cluster.call(1)).ask(CHAT)).status == 200, "the front of the dead engine has fellows"


async def test_a_dead_front_s_prompts_go_to_the_next_best(cluster: Any) -> None:
    await cluster.start(2)
    await cluster.met()
    await taught(cluster)
    cluster.stops[1].set()
    await cluster.tasks[1]
    answers = [await (await cluster.call(0)).ask(STREAM) for _ in range(2)]
    assert [(answer.status, answer.node) for answer in answers] == [(200, "f0")] * 2


async def test_an_engine_that_breaks_off_or_fails_before_its_first_byte_is_replaced(cluster: Any) -> None:
    await cluster.start(2)
    await cluster.met()
    cluster.engines[0].break_after = 0
    assert (await (await cluster.call(0)).ask(CHAT)).node == "f1"
    await cluster.until(lambda: cluster.fronts[0].status()["ready"])
    cluster.engines[0].break_after, cluster.engines[0].status = -1, 500
    assert (await (await cluster.call(0)).ask(CHAT)).node == "f1"
    cluster.engines[1].status = 500
    last = await (await cluster.call(0)).ask(CHAT)
    assert last.status == 500 and last.document["error"]["message"] == "no", "the last place's own words"


async def test_a_draining_front_is_passed_over_and_hands_its_prompts_on(cluster: Any) -> None:
    await cluster.start(2)
    await cluster.met()
    await taught(cluster)
    cluster.engines[1].hold = asyncio.Event()
    busy, late = await cluster.call(1), await cluster.call(1)
    busy.post(CHAT)
    late.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
    await cluster.until(lambda: len(cluster.engines[1].asked) == 2)
    cluster.stops[1].set()
    await cluster.until(lambda: cluster.fronts[1].desk.draining)
    assert (await (await cluster.call(0)).ask(STREAM)).node == "f0"
    late.send(b"Host: h\r\nContent-Length: 2\r\n\r\n{}")
    assert (await late.answer()).node == "f0"
    cluster.engines[1].hold.set()
    assert (await busy.answer()).status == 200


async def test_only_fellows_can_say_that_a_request_was_decided(cluster: Any) -> None:
    await cluster.start(2)
    await cluster.met()
    await taught(cluster)
    forged = f"x-planetserve-hop: f1 1 0 {'00' * 64}\r\n"
    assert (await (await cluster.call(0)).ask(STREAM, extra=forged)).node == "f1", "decided here, whatever the header says"


async def test_the_leaving_caller_of_a_fellow_ends_the_work_there(cluster: Any) -> None:
    await cluster.start(2)
    await cluster.met()
    await taught(cluster)
    engine = cluster.engines[1]
    engine.silent = True
    caller = await cluster.call(0)
    caller.post(STREAM)
    await cluster.until(lambda: len(engine.asked) == 2)
    caller.close()
    await cluster.until(lambda: engine.left == 1)
    assert cluster.fronts[1].status()["inside"] == 0
