"""A third party's verifier, npm `@confio/ics23`, accepts the ledger's proofs and refuses bent ones.

It is installed once, at an exact version, into the cache folder; without node or the registry the tests are skipped.
"""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abci_app.state.app_hash import app_hash
from abci_app.tree import Tree
from network.chain_records import PARAMS_KEY, STORE_NAME
from network.codec import decode
from network.light_json import abci_value, proof_ops, signed_header
from network.proof import ValueOp, tree_root

PACKAGE = "@confio/ics23@0.6.8"
HERE = Path(__file__).parent
VECTORS = json.loads((HERE.parent.parent / "vectors" / "ledger_answers.json").read_text())
Case = dict[str, Any]
Judge = Callable[[list[Case]], list[bool]]


@pytest.fixture(scope="session")
def judge() -> Judge:
    """Runs the cases through the package; a skip with the reason where it cannot be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "planetserve" / PACKAGE.replace("/", "-")
    if not (cache / "node_modules" / "@confio" / "ics23").is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        install = [npm, "install", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", PACKAGE]
        done = subprocess.run(install, cwd=cache, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{PACKAGE} cannot be installed: {done.stderr.strip()[-300:]}")

    def run(cases: list[Case]) -> list[bool]:
        environment = {**os.environ, "NODE_PATH": str(cache / "node_modules")}
        command = [node, str(HERE / "check.cjs")]
        done = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=True, env=environment)
        verdicts: list[bool] = json.loads(done.stdout)
        return verdicts

    return run


def case(root: bytes, key: bytes, value: bytes, index: int, aunts: tuple[bytes, ...]) -> Case:
    return {"root": root.hex(), "key": key.hex(), "value": value.hex(), "index": str(index), "aunts": [a.hex() for a in aunts]}


def flip(text: str) -> str:
    return f"{int(text[:2], 16) ^ 1:02x}{text[2:]}"


def bent(good: Case) -> list[Case]:
    """Every field and every aunt changed by one bit, and aunts dropped, doubled or swapped with others."""
    aunts: list[str] = good["aunts"]
    changed = [{**good, name: flip(good[name])} for name in ("root", "key", "value")]
    changed += [{**good, "index": str(int(good["index"]) ^ 1 << at)} for at in range(62)]
    changed += [{**good, "aunts": [*aunts[:at], flip(aunts[at]), *aunts[at + 1 :]]} for at in range(62)]
    return [*changed, {**good, "aunts": aunts[1:]}, {**good, "aunts": aunts[:-1]}, {**good, "aunts": [*aunts, aunts[0]]}]


def test_a_real_answer_is_accepted_from_row_to_app_hash_and_bent_ones_are_not(judge: Judge) -> None:
    ops, value = proof_ops(VECTORS["query"]), abci_value(VECTORS["query"]).value or b""
    inner = decode(ValueOp, ops[0].data).proof
    root = tree_root(inner.leaf_hash, inner.index, inner.aunts)
    row = case(root, PARAMS_KEY, value, inner.index, inner.aunts)
    store = case(signed_header(VECTORS["commit"]).header.app_hash, STORE_NAME.encode(), root, 0, ())
    other_store = {**store, "key": b"other".hex()}
    verdicts = judge([row, store, other_store, {**store, "root": flip(store["root"])}, *bent(row)])
    assert verdicts[:2] == [True, True] and not any(verdicts[2:])


def test_proofs_of_trees_of_any_size_are_accepted(judge: Judge) -> None:
    rng = random.Random(5)
    cases, bents = [], []
    for size in (1, 2, 3, 50, 400):
        rows = [(rng.randbytes(rng.randint(1, 40)), rng.randbytes(rng.randint(1, 300))) for _ in range(size)]
        _, writes = Tree({}).update(rows)
        tree = Tree({key: value for key, value in writes.items() if value is not None})
        for key, value in rng.sample(rows, min(size, 20)):
            found = tree.prove(key)
            cases.append(case(tree.root(), key, value, found.index, found.aunts))
        cases.append(case(app_hash(tree.root()), STORE_NAME.encode(), tree.root(), 0, ()))
        bents += bent(cases[-2])
    assert all(judge(cases)) and not any(judge(bents))
