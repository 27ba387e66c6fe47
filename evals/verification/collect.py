"""Collects answers of a real engine to challenge prompts: `python -m evals.verification.collect --model M --label L --out F`.

Starts one engine as model nodes do (one thread, two slots, prefix cache), keeps both slots busy, and writes one JSON line
per answer. Temperatures follow a grid, so that every one is covered; a quarter of the answers use top_p.
"""

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import xllamacpp

from abci_app.verifier.prompts import ChallengePrompt, challenge_prompt
from network.crypto import sha256
from network.inference import Endpoint, Sampling, sampling_seed
from serving_node.asked import Asked
from serving_node.sampling import llama_fields

TEMPERATURES = (300, 600, 800, 1000, 0)
NODE, MODEL_HASH = bytes(20), bytes(32)


def main() -> int:
    """Collect `count` answers from prompt number `start` on."""
    parser = argparse.ArgumentParser(prog="python -m evals.verification.collect")
    parser.add_argument("--model", type=Path, required=True, help="GGUF file that the engine loads")
    parser.add_argument("--label", required=True, help="name of this prover in the report")
    parser.add_argument("--split", choices=("calibration", "test"), required=True, help="prompts never repeat across splits")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--port", type=int, default=22510)
    parser.add_argument("--scale", type=int, default=1000, help="temperature really used, in thousandths of the declared one")
    parser.add_argument("--wrong-seed", action="store_true", help="sample with another seed, as a cached reply would")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    server = _engine(options.model, options.port)
    with options.out.open("a") as out, ThreadPoolExecutor(2) as pool:
        for line in pool.map(lambda number: _answer(options, number), range(options.count)):
            out.write(json.dumps(line) + "\n")
    del server
    return 0


def _engine(model: Path, port: int) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_ctx, params.n_parallel, params.kv_unified = 4096, 2, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_threads_http, params.warmup = 2, False
    return xllamacpp.Server(params)


def _answer(options: argparse.Namespace, number: int) -> dict[str, Any]:
    nonce = sha256(options.split.encode(), number.to_bytes(4, "big"))
    prompt = challenge_prompt(nonce)
    declared = _declared(prompt, number)
    body = {"messages": [{"role": role, "content": content} for role, content in prompt.messages]}
    rendered = _post(options.port, "/apply-template", body)["prompt"]
    tokens = _post(options.port, "/tokenize", {"content": rendered, "add_special": True, "parse_special": True})["tokens"]
    used = replace(declared, temperature_milli=declared.temperature_milli * options.scale // 1000)
    seed = sampling_seed(nonce, NODE, MODEL_HASH)
    reply = _post(
        options.port,
        "/completion",
        {
            "prompt": tokens,
            "n_predict": declared.max_tokens,
            **llama_fields(used, seed + 1 if options.wrong_seed else seed, Asked(Endpoint.CHAT)),
            "return_tokens": True,
            "cache_prompt": True,
        },
    )
    return {
        "label": options.label,
        "split": options.split,
        "body": json.dumps(body),
        "prompt": tokens,
        "temperature_milli": declared.temperature_milli,
        "top_p_milli": declared.top_p_milli,
        "max_tokens": declared.max_tokens,
        "seed": seed,
        "tokens": reply["tokens"],
        "finish": reply["stop_type"],
    }


def _declared(prompt: ChallengePrompt, number: int) -> Sampling:
    nucleus = (900, 950)[number // 4 % 2] if number % 4 == 0 else 0
    return replace(prompt.sampling, temperature_milli=TEMPERATURES[number % len(TEMPERATURES)], top_p_milli=nucleus)


def _post(port: int, path: str, body: dict[str, Any]) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    reply = connection.getresponse()
    raw = reply.read()
    if reply.status != 200:
        raise RuntimeError(f"the engine answered {reply.status} to {path}: {raw[:200]!r}")
    return json.loads(raw)


if __name__ == "__main__":
    sys.exit(main())
