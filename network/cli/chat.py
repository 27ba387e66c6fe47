"""`planetserve chat "..."`: one question through the gateway over HTTP, streamed; who answered goes to stderr."""

import argparse
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from network.cli import home
from network.cli.output import UNREACHABLE, CommandFailed, run, show_json
from network.modes import MODE_NAMES

MODE_HEADER = "x-planetserve-mode"
KEY_VARIABLE = "PLANETSERVE_API_KEY"  # not an argument: other users of a machine read those
TIMEOUT = aiohttp.ClientTimeout(total=900.0, connect=5.0)


async def chat(arguments: argparse.Namespace) -> int:
    """Ask, and print the answer as it comes."""
    base = (arguments.base_url or home.place(arguments).gateway).rstrip("/")
    question = " ".join(arguments.question) if arguments.question != ["-"] else sys.stdin.read()
    body: dict[str, Any] = {
        "messages": [*_system(arguments.system), {"role": "user", "content": question}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for name in ("model", "max_tokens", "temperature", "seed"):
        if getattr(arguments, name) is not None:
            body[name] = getattr(arguments, name)
    headers = {MODE_HEADER: arguments.mode} if arguments.mode else {}
    if key := os.environ.get(KEY_VARIABLE):
        headers["Authorization"] = f"Bearer {key}"
    began = time.monotonic()
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.post(f"{base}/chat/completions", json=body, headers=headers) as response,
        ):
            return await _answer(response, arguments.output == "json", began)
    except aiohttp.ClientConnectorError as error:
        raise CommandFailed(
            f"no gateway answers at {base} ({error.os_error.strerror or error}); start one: planetserve localnet up",
            UNREACHABLE,
        ) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise CommandFailed(f"the gateway at {base} broke off: {str(error) or type(error).__name__}", UNREACHABLE) from error


def _system(text: str | None) -> list[dict[str, str]]:
    return [{"role": "system", "content": text}] if text else []


async def _answer(response: aiohttp.ClientResponse, as_json: bool, began: float) -> int:
    """Print the streamed answer. Raises CommandFailed with the gateway's own words."""
    if response.status != 200:
        raise _refused(await response.text(), response.status)
    first = 0.0
    texts: list[str] = []
    finish: str | None = None
    usage: dict[str, Any] = {}
    async for event in _events(response):
        if "error" in event:
            raise _refused(json.dumps(event), 502)
        usage = event.get("usage") or usage
        for choice in event.get("choices", ()):
            finish = choice.get("finish_reason") or finish
            text = (choice.get("delta") or {}).get("content") or ""
            first = first or (time.monotonic() - began if text else 0.0)
            texts.append(text)
            if not as_json:
                print(text, end="", flush=True)
    facts = {
        "finish_reason": finish,
        "node": response.headers.get("x-planetserve-node"),
        "route": response.headers.get("x-planetserve-route"),
        "request_id": response.headers.get("x-request-id"),
        "usage": usage,
        "first_token_seconds": round(first, 3),
        "seconds": round(time.monotonic() - began, 3),
    }
    if as_json:
        show_json({"text": "".join(texts), **facts})
    else:
        print()
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        print(
            f"-- {usage.get('completion_tokens', '?')} tokens from node {facts['node'] or '?'} in {facts['seconds']} s, "
            f"{cached} of {usage.get('prompt_tokens', '?')} prompt tokens cached",
            file=sys.stderr,
        )
    return 0


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """The JSON documents of a stream of server-sent events, up to [DONE]."""
    async for line in response.content:
        data = line.decode(errors="replace").strip()
        if data == "data: [DONE]":
            return
        if data.startswith("data:"):
            yield json.loads(data.removeprefix("data:"))
    raise CommandFailed("the answer broke off before its end", UNREACHABLE)


def _refused(text: str, status: int) -> CommandFailed:
    """The gateway's error as a command's: what, why, what to do."""
    try:
        error = json.loads(text)["error"]
        return CommandFailed(f"{error['message']} ({error['code']}). {error.get('hint') or ''}".strip())
    except (ValueError, KeyError, TypeError):
        return CommandFailed(f"the gateway answered {status} without saying why")


def parser() -> argparse.ArgumentParser:
    """The command line of `planetserve chat`."""
    top = argparse.ArgumentParser(prog="planetserve chat", description="Ask the network one question through the gateway.")
    top.add_argument("question", nargs="+", help="the question; - reads it from standard input")
    top.add_argument("--model", help="default: the gateway's")
    top.add_argument("--system", help="a system message to begin with")
    top.add_argument("--max-tokens", type=int)
    top.add_argument("--temperature", type=float)
    top.add_argument("--seed", type=int, help="ask for the same sampling noise again (same node, same answer)")
    top.add_argument("--mode", choices=MODE_NAMES, help="how much to spend on hiding the timing (default: the gateway's)")
    top.add_argument("--base-url", help="the gateway's URL ending in /v1 (default: the home's)")
    top.add_argument("--output", choices=("text", "json"), default="text")
    home.add_arguments(top)
    return top


if __name__ == "__main__":
    sys.exit(run(chat(parser().parse_args())))
