"""Fake engines for routers: real HTTP, a real block cache, and time instead of arithmetic.

    python -m evals.forwarding.fake_engine --ports 24201 24202 --blocks 4096 --token-us 40

An engine reads chats and completions, counts 4 bytes of the prompt as a token and 16 tokens as a block, and keeps the
blocks it has read in an LRU. Prompts are read one after the other, `token_us` for each token that is not cached and
`step_ms` for every request; answers of up to `most_tokens` tokens then run side by side. It counts its own hits.
`POST /fake/reset` empties the cache and the counters (and takes settings), `GET /fake/stats` tells them.
"""

import argparse
import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

from evals.forwarding.http1 import Head, HttpProtocol, response, stream_head, stream_piece

MODEL, MODEL_LENGTH = "fake", 131_072
TOKEN_BYTES, BLOCK_TOKENS = 4, 16
BLOCK_BYTES = TOKEN_BYTES * BLOCK_TOKENS
STREAM_END = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class EngineSpeed:
    """What an engine can do. `blocks` is its cache; a token takes 40 us where 8B parameters run on a large GPU."""

    blocks: int = 4096
    token_us: float = 40.0
    step_ms: float = 2.0
    answer_ms: float = 5.0
    most_tokens: int = 8


class BlockCache:
    """Blocks by the hash of everything up to their end, least recently used first; whole blocks only, as engines do."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def read(self, prompt: bytes) -> int:
        """Reads a prompt: the tokens of it that were cached. All of it is cached afterwards, its beginning the longest."""
        chain, keys = 0, []
        for at in range(0, len(prompt) - BLOCK_BYTES + 1, BLOCK_BYTES):
            chain = hash((chain, prompt[at : at + BLOCK_BYTES]))
            keys.append(chain)
        cached = next((number for number, key in enumerate(keys) if key not in self._blocks), len(keys))
        for key in reversed(keys):
            self._blocks[key] = None
            self._blocks.move_to_end(key)
        while len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)
        return cached * BLOCK_TOKENS


@dataclass(slots=True)
class Counts:
    """What one engine has seen since it was reset."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    busy_s: float = 0.0


class FakeEngine:
    """One engine. `now` is the clock; `read` is told of a prompt and says when its first token is due."""

    def __init__(self, speed: EngineSpeed, now: Callable[[], float]) -> None:
        self._now = now
        self.reset(speed)

    def reset(self, speed: EngineSpeed) -> None:
        """As just started."""
        self.speed = speed
        self.cache = BlockCache(speed.blocks)
        self.counts = Counts()
        self.running = 0
        self._free_at = 0.0
        self._due: list[float] = []

    def read(self, prompt: bytes) -> tuple[int, int, float]:
        """One request: its prompt's tokens, those of them that are cached when its turn comes, and when it is read.

        Prompts are read in order of arrival, so what the cache holds at a prompt's turn is known when it arrives."""
        tokens = -(-len(prompt) // TOKEN_BYTES)
        # The last token is always computed: it gives the first one of the answer.
        cached = min(self.cache.read(prompt), tokens - 1)
        cost = self.speed.step_ms / 1e3 + (tokens - cached) * self.speed.token_us / 1e6
        self._free_at = max(self._now(), self._free_at) + cost
        self._due.append(self._free_at)
        counts = self.counts
        counts.requests, counts.busy_s = counts.requests + 1, counts.busy_s + cost
        counts.prompt_tokens, counts.cached_tokens = counts.prompt_tokens + tokens, counts.cached_tokens + cached
        return tokens, cached, self._free_at

    @property
    def waiting(self) -> int:
        """Requests whose prompt is not read yet, the one being read left out."""
        now = self._now()
        self._due = [due for due in self._due if due > now]
        return max(0, len(self._due) - 1)

    def metrics(self) -> str:
        """The Prometheus figures that routers read, by vLLM's names."""
        label = f'{{model_name="{MODEL}"}}'
        usage = len(self.cache) / self.speed.blocks
        waiting, counts = self.waiting, self.counts
        rows = {
            "vllm:num_requests_running": max(0, self.running - waiting),
            "vllm:num_requests_waiting": waiting,
            "vllm:kv_cache_usage_perc": usage,
            "vllm:gpu_cache_usage_perc": usage,
            "vllm:prefix_cache_queries_total": counts.prompt_tokens,
            "vllm:prefix_cache_hits_total": counts.cached_tokens,
            "vllm:prompt_tokens_total": counts.prompt_tokens,
        }
        kinds = {name: "counter" if name.endswith("_total") else "gauge" for name in rows}
        return "".join(f"# TYPE {name} {kinds[name]}\n{name}{label} {value}\n" for name, value in rows.items())


def rendered(body: Mapping[str, Any]) -> bytes:
    """The text that an engine reads: a chat by a template of its own, or the prompt as it is."""
    if "messages" not in body:
        prompt = body.get("prompt", "")
        return (prompt if isinstance(prompt, str) else json.dumps(prompt)).encode()
    turns = (f"<|{turn.get('role')}|>{turn.get('content')}" for turn in body["messages"])
    return ("".join(turns) + "<|assistant|>").encode()


class EnginePort(HttpProtocol):
    """One connection to a fake engine."""

    def __init__(self, engine: FakeEngine) -> None:
        super().__init__()
        self._engine = engine

    def on_request(self, head: Head, body: bytes) -> None:
        """Answers what a router or a user may ask."""
        path = head.path.partition("?")[0]
        if head.method == "POST" and path in ("/v1/chat/completions", "/v1/completions", "/generate"):
            self._answer(json.loads(body), chat="chat" in path)
        elif head.method == "POST" and path.endswith("/render"):
            text = rendered(json.loads(body))
            padded = memoryview(text.ljust(-(-len(text) // TOKEN_BYTES) * TOKEN_BYTES, b"\0")).cast("I")
            self.finish(response({"token_ids": [word & 0xFFFFFF for word in padded]}))
        elif path == "/fake/reset":
            self._engine.reset(_speed(json.loads(body or b"{}")))
            self.finish(response({}))
        elif path == "/metrics":
            self.finish(response(self._engine.metrics().encode(), kind="text/plain; version=0.0.4"))
        elif path in (described := self._described()):
            self.finish(response(described[path]))
        else:
            self.finish(response({"error": {"message": f"a fake engine has no {path}", "code": 404}}, status=404))

    def _described(self) -> dict[str, Any]:
        about = {
            "model_path": MODEL,
            "model_id": MODEL,
            "served_model_name": MODEL,
            "max_model_len": MODEL_LENGTH,
            "version": "0.30.0",
        }
        model = {"id": MODEL, "object": "model", "owned_by": "nobody", "max_model_len": MODEL_LENGTH}
        models = {"object": "list", "data": [model]}
        engine = self._engine
        return {
            "/fake/stats": asdict(engine.counts) | {"waiting": engine.waiting, "speed": asdict(engine.speed)},
            "/health": {"status": "ok"},
            "/health_generate": {"status": "ok"},
            "/v1/models": models,
            **dict.fromkeys(("/version", "/model_info", "/server_info", "/get_model_info", "/get_server_info"), about),
        }

    def _answer(self, body: Mapping[str, Any], *, chat: bool) -> None:
        engine = self._engine
        tokens, cached, due = engine.read(rendered(body))
        count = min(int(body.get("max_tokens") or body.get("max_completion_tokens") or 16), engine.speed.most_tokens)
        usage = {
            "prompt_tokens": tokens,
            "completion_tokens": count,
            "total_tokens": tokens + count,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        engine.running += 1
        work = self._stream(due, count, usage) if body.get("stream") else self._whole(due, count, usage, chat)
        self.hold(work)

    async def _stream(self, due: float, count: int, usage: dict[str, Any]) -> None:
        engine, loop = self._engine, asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            stack.callback(self._ended)
            for number in range(count):
                await asyncio.sleep(due + number * engine.speed.answer_ms / 1e3 - loop.time())
                if not number:
                    self.write(stream_head("text/event-stream"))
                last = number == count - 1
                event = {
                    "id": "fake",
                    "object": "chat.completion.chunk",
                    "created": 0,
                    "model": MODEL,
                    "choices": [_choice(last)],
                }
                if last:
                    event["usage"] = usage
                self.write(stream_piece(b"data: " + json.dumps(event).encode() + b"\n\n" + (STREAM_END if last else b"")))
        self.finish(stream_piece(b""))

    async def _whole(self, due: float, count: int, usage: dict[str, Any], chat: bool) -> None:
        engine, loop = self._engine, asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            stack.callback(self._ended)
            await asyncio.sleep(due + (count - 1) * engine.speed.answer_ms / 1e3 - loop.time())
        text = " word" * count
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        choices = [{"index": 0, "finish_reason": "length", **choice}]
        kind = "chat.completion" if chat else "text_completion"
        self.finish(response({"id": "fake", "object": kind, "created": 0, "model": MODEL, "choices": choices, "usage": usage}))

    def _ended(self) -> None:
        self._engine.running = max(0, self._engine.running - 1)


def _choice(last: bool) -> dict[str, Any]:
    return {"index": 0, "delta": {"content": " word"}, "finish_reason": "length" if last else None}


def _speed(given: Mapping[str, Any]) -> EngineSpeed:
    known = {field.name for field in fields(EngineSpeed)}
    if unknown := set(given) - known:
        raise ValueError(f"a fake engine has no setting {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
    return replace(EngineSpeed(), **given)


async def serve(ports: list[int], speed: EngineSpeed) -> None:
    """Engines on these ports of loopback, until cancelled. One line on stdout once all listen."""
    loop = asyncio.get_running_loop()
    engines = [FakeEngine(speed, loop.time) for _ in ports]
    servers = []
    for engine, port in zip(engines, ports, strict=True):
        servers.append(await loop.create_server(partial(EnginePort, engine), "127.0.0.1", port))
    print(json.dumps({"listening": [server.sockets[0].getsockname()[1] for server in servers]}), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.fake_engine", description="Fake engines for routers.")
    parser.add_argument("--ports", type=int, nargs="+", required=True, help="one engine on each; 0 chooses a free one")
    for field in fields(EngineSpeed):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=type(field.default), default=field.default, help=f"({field.default})")
    options = vars(parser.parse_args())
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.pop("ports"), EngineSpeed(**options)))


if __name__ == "__main__":
    main()
