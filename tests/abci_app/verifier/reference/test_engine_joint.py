"""The joint with the real engine and the real model: the same prompt ids, the same probabilities, the same draws."""

import json
import os
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xllamacpp

from abci_app.verifier.prompts import challenge_prompt
from abci_app.verifier.reference.layout import info_from_json, info_path
from abci_app.verifier.reference.model import ReferenceModel, Scored
from abci_app.verifier.reference.prompt import PromptReader
from abci_app.verifier.seeded import SeededJudge
from abci_app.verifier.typical import TypicalJudge
from network.chain_records import UNIT
from network.inference import Sampling

MODELS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "planetserve" / "models"
PUBLISHED, REFERENCE = MODELS / "SmolLM2-135M-Instruct.F16.gguf", MODELS / "SmolLM2-135M-Instruct.f32.npy"
PORT = 22590

pytestmark = pytest.mark.skipif(not (PUBLISHED.exists() and REFERENCE.exists()), reason="make setup makes the model files")


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    params = xllamacpp.CommonParams()
    params.model.path = str(PUBLISHED)
    params.hostnames, params.port = ["127.0.0.1"], PORT
    params.n_ctx, params.n_parallel, params.kv_unified = 1024, 2, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_threads_http, params.warmup = 2, False
    server = xllamacpp.Server(params)

    def post(path: str, body: dict[str, Any]) -> Any:
        connection = HTTPConnection("127.0.0.1", PORT, timeout=120)
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        return json.loads(connection.getresponse().read())

    yield post
    del server


@pytest.fixture(scope="module")
def reader() -> PromptReader:
    return PromptReader(info_from_json(info_path(REFERENCE).read_text()))


def test_prompt_ids_are_the_engines(engine: Any, reader: PromptReader) -> None:
    chats = [[{"role": role, "content": text} for role, text in challenge_prompt(bytes((n,))).messages] for n in range(40)]
    odd = [
        "Hello  world\n\n\tfoo 12345 don't I'll ünïcödé 漢字 😀 a\u00a0b  ",
        "x=  3.14;\r\n if(a!=b){}   ",
        "",
        "<|im_end|> 1 2  3",
    ]
    chats += [[{"role": "user", "content": text}] for text in odd]
    for messages in chats:
        rendered = engine("/apply-template", {"messages": messages})["prompt"]
        wanted = engine("/tokenize", {"content": rendered, "add_special": True, "parse_special": True})["tokens"]
        assert list(reader.tokens(json.dumps({"messages": messages}).encode())) == wanted


def test_answers_of_the_published_model_score_high(engine: Any, reader: PromptReader) -> None:
    info = info_from_json(info_path(REFERENCE).read_text())
    model = ReferenceModel(info.shape, np.load(REFERENCE, mmap_mode="r"))
    body = {"messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    prompt = reader.tokens(json.dumps(body).encode())
    for seed, temperature in ((7, 600), (8, 1000)):
        reply = engine(
            "/completion",
            {
                "prompt": list(prompt),
                "n_predict": 32,
                "temperature": temperature / 1000,
                "samplers": ["temperature"],
                "seed": seed,
                "n_probs": 5,
                "return_tokens": True,
            },
        )
        tokens = reply["tokens"]
        rows = np.concatenate([rows for _, _, rows in model.logits([Scored((*prompt, *tokens), len(prompt))])])
        shifted = rows - rows.max(axis=1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        tops = [each["top_logprobs"] for each in reply["completion_probabilities"]]
        gaps = [abs(logs[at, top["id"]] - top["logprob"]) for at, row in enumerate(tops) for top in row]
        assert max(gaps) < 0.1 and sum(gaps) / len(gaps) < 0.01
        honest, other = (SeededJudge(Sampling(temperature, 0, 0, 32), drawn, len(tokens)) for drawn in (seed, seed + 1))
        for judge in (honest, other):
            judge.add(rows, tokens)
        assert honest.score()[0] > 0.9 * UNIT and other.score()[0] < 0.4 * UNIT
        typical = TypicalJudge(Sampling(temperature, 0, 0, 32), bytes(32), info.eos_tokens)
        typical.add(rows, tokens)
        assert typical.score()[0] > 0.9 * UNIT and typical.statistics().strays == 0
