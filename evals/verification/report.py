"""Scores collected answers and prints the distributions: `python -m evals.verification.report --reference R FILES...`.

One line per prover and temperature: answers, tokens, credit (min / median / max), evidence in nats, share of answers below
tau, share of answers that prove a cheat on their own, and the raw distances before the dead zone.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from abci_app.state.params import DEFAULT
from abci_app.verifier.paper import PaperJudge
from abci_app.verifier.reference.layout import info_from_json, info_path
from abci_app.verifier.reference.model import ReferenceModel, Scored
from abci_app.verifier.seeded import SeededJudge
from abci_app.verifier.typical import TypicalJudge
from network.chain_records import UNIT
from network.chain_tx import EVIDENCE_OFFSET
from network.crypto import sha256
from network.inference import Sampling

BATCH = 20


def main() -> int:
    """Print the table, or one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m evals.verification.report")
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--save", type=Path, help="write every answer's surprises here, one JSON line each")
    parser.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    info = info_from_json(info_path(options.reference).read_text())
    model = ReferenceModel(info.shape, np.load(options.reference, mmap_mode="r"))
    answers = [json.loads(line) for path in options.files for line in path.read_text().splitlines()]
    rows = []
    for start in range(0, len(answers), BATCH):
        rows += list(_scored(model, info.eos_tokens, answers[start : start + BATCH]))
    if options.save:
        options.save.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = _table(rows)
    if options.output == "json":
        print(json.dumps({"name": "verification", "figures": table}))
    else:
        _print(table)
    return 0


def _scored(model: ReferenceModel, ends: Sequence[int], answers: Sequence[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    samplings = [Sampling(a["temperature_milli"], a["top_p_milli"], 0, a["max_tokens"]) for a in answers]
    judged = [SeededJudge(s, a["seed"], len(a["tokens"])) for s, a in zip(samplings, answers, strict=True)]
    typical = [
        TypicalJudge(s, sha256(str(a["seed"]).encode()), ends) if s.temperature_milli else None
        for s, a in zip(samplings, answers, strict=True)
    ]
    paper = [PaperJudge() for _ in answers]
    batch = [Scored((*a["prompt"], *a["tokens"]), len(a["prompt"])) for a in answers]
    for index, start, rows in model.logits(batch):
        tokens = answers[index]["tokens"][start : start + len(rows)]
        for judge in (judged[index], typical[index], paper[index]):
            if judge is not None:
                judge.add(rows, tokens)
    for answer, seeded, warm, plain in zip(answers, judged, typical, paper, strict=True):
        value, evidence = seeded.score()
        other = (warm or seeded).score()
        yield {
            "label": answer["label"],
            "split": answer["split"],
            "temperature": answer["temperature_milli"] / 1000,
            "top_p": answer["top_p_milli"] / 1000,
            "tokens": len(answer["tokens"]),
            "credit": value / UNIT,
            "evidence": (evidence - EVIDENCE_OFFSET) / 1000,
            "typical": other[0] / UNIT,
            "typical_evidence": (other[1] - EVIDENCE_OFFSET) / 1000,
            "z": warm.statistics().z if warm else None,
            "paper": plain.score()[0] / UNIT,
            "surprises": seeded.surprises,
        }


def _table(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[(row["label"], row["split"], f"{row['temperature']:.1f}")].append(row)
        groups[(row["label"], row["split"], "all")].append(row)
    return [_summary(*key, groups[key]) for key in sorted(groups)]


def _summary(label: str, split: str, temperature: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    credits, evidence = [row["credit"] for row in rows], [row["evidence"] for row in rows]
    surprised = [value for row in rows for value in row["surprises"]]
    return {
        "prover": label,
        "split": split,
        "temperature": temperature,
        "answers": len(rows),
        "tokens": sum(row["tokens"] for row in rows),
        "credit_min": min(credits),
        "credit_median": median(credits),
        "credit_max": max(credits),
        "evidence_median": median(evidence),
        "evidence_max": max(evidence),
        "below_tau": sum(value * UNIT < DEFAULT.tau for value in credits) / len(rows),
        "proven": sum(value * 1000 >= DEFAULT.evidence_limit for value in evidence) / len(rows),
        "surprise_mean": sum(surprised) / len(surprised),
        "surprised_share": sum(value > 0 for value in surprised) / len(surprised),
        "typical_median": median(row["typical"] for row in rows),
        "typical_proven": sum(row["typical_evidence"] * 1000 >= DEFAULT.evidence_limit for row in rows) / len(rows),
        "typical_flagged": sum(abs(row["z"] or 0.0) > 3 for row in rows) / len(rows),
        "paper_median": median(row["paper"] for row in rows),
    }


def _print(table: Sequence[dict[str, Any]]) -> None:
    print(
        "prover     split        T    n  tokens  credit min/med/max   ln E med/max   <tau  proven  surprise  share"
        "  typical proven |Z|>3  1/PPL"
    )
    for row in table:
        print(
            f"{row['prover']:<10} {row['split']:<11} {row['temperature']:>4} {row['answers']:>3} {row['tokens']:>6}  "
            f"{row['credit_min']:.3f} {row['credit_median']:.3f} {row['credit_max']:.3f}   "
            f"{row['evidence_median']:>6.1f} {row['evidence_max']:>6.1f}  {row['below_tau']:.2f}   {row['proven']:.2f}   "
            f"{row['surprise_mean']:.5f}  {row['surprised_share']:.3f}    "
            f"{row['typical_median']:.3f}   {row['typical_proven']:.2f}  {row['typical_flagged']:.2f}  "
            f"{row['paper_median']:.3f}"
        )


if __name__ == "__main__":
    sys.exit(main())
