"""Records how a real engine's answers come: the length and the moment of every piece of text, for two topics of questions.

    python -m evals.anonymity.record_answers --model SmolLM2-135M-Instruct.Q4_0.gguf --first 0 --count 50 --out answers.jsonl

The target topic is the one of the published attack on streamed answers (law on money laundering); the other is everyday
questions. One line per answer: topic, number, milliseconds since the piece before, bytes. No text is kept.
"""

import argparse
import json
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import xllamacpp

STEMS = (
    "What is {}?",
    "Is there a rule about {}?",
    "Can you explain {} in two sentences?",
    "Give me a short summary of {}.",
    "Why does {} matter?",
    "What should a beginner know about {}?",
    "Who has to think about {}?",
    "What happens if I get {} wrong?",
    "How has {} changed over time?",
    "Tell me one surprising thing about {}.",
)
SUBJECTS = {
    "law": (
        "money laundering law",
        "the legal duty to report suspicious transactions",
        "customer due diligence in a bank",
        "structuring cash deposits below a threshold",
        "beneficial ownership registers",
        "sanctions screening of payments",
        "shell companies under criminal law",
        "asset forfeiture after a conviction",
        "the record keeping rules for money services",
        "penalties for hiding the source of funds",
    ),
    "everyday": (
        "baking bread at home",
        "the rings of Saturn",
        "growing tomatoes on a balcony",
        "learning the guitar",
        "a weekend in Lisbon",
        "training a puppy",
        "the rules of badminton",
        "cleaning a cast iron pan",
        "birds that migrate",
        "sleeping better",
    ),
}
QUESTIONS = len(STEMS) * len(SUBJECTS["law"])
MOST_TOKENS = 160


def question(topic: str, number: int) -> str:
    """The question with this number; neighbours differ in stem and subject."""
    subjects = SUBJECTS[topic]
    return STEMS[number % len(STEMS)].format(subjects[(number // len(STEMS) + number) % len(subjects)])


def start(model: Path, port: int) -> Any:
    """One engine, one answer at a time, one thread."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_ctx, params.n_parallel = 1024, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_threads_http, params.warmup = 2, False
    return xllamacpp.Server(params)


def answer(port: int, topic: str, number: int) -> dict[str, Any]:
    """Ask, and note when each piece comes and how long it is."""
    body = {
        "messages": [{"role": "user", "content": question(topic, number)}],
        "max_tokens": MOST_TOKENS,
        "temperature": 0.7,
        "seed": number,
        "stream": True,
    }
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    begun = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    reply = connection.getresponse()
    if reply.status != 200:
        raise RuntimeError(f"the engine answered {reply.status}: {reply.read()[:200]!r}")
    gaps: list[float] = []
    lengths: list[int] = []
    for line in reply:
        if not line.startswith(b"data: {"):
            continue
        delta = json.loads(line[len(b"data: ") :])["choices"][0]["delta"].get("content")
        if delta:
            now = time.perf_counter()
            gaps.append(round((now - begun) * 1_000, 1))
            lengths.append(len(delta.encode()))
            begun = now
    return {"topic": topic, "number": number, "gaps_ms": gaps, "bytes": lengths}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m evals.anonymity.record_answers", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="GGUF file")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=QUESTIONS, help="questions per topic")
    parser.add_argument("--port", type=int, default=24210)
    parser.add_argument("--out", type=Path, required=True, help="lines are appended")
    args = parser.parse_args()
    server = start(args.model, args.port)
    with args.out.open("a") as out:
        for number in range(args.first, args.first + args.count):
            for topic in SUBJECTS:
                out.write(json.dumps(answer(args.port, topic, number), separators=(",", ":")) + "\n")
    del server
    return 0


if __name__ == "__main__":
    sys.exit(main())
