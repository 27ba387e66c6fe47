"""Targets of what strangers tell a light client: light blocks, proofs of rows, included transactions, the genesis file.

Not raising is not enough here: a bent answer that is taken must say what the honest one said.
"""

import base64
import json
from typing import Any

from abci_app.abci import dispatch
from abci_app.abci.pb import abci_pb2 as abci
from evals.fuzz.abci import application, living_town
from evals.fuzz.engine import Target
from evals.fuzz.mutate import bend_json
from evals.ledger.simulator.build import LocalProcess
from evals.ledger.simulator.world import key
from evals.light.blocks import CHAIN_ID, START, History
from network import light, light_json
from network.chain_records import PARAMS_KEY, STORE_NAME
from network.errors import ConfigError
from network.light_headers import Timestamp, header_hash
from network.light_render import light_block_json
from network.proof import ProofRejected, check_absence, check_value

_NOW, _PERIOD = START + 100.0, 86_400.0
_KEYS = [key("light", str(number)) for number in range(4)]
_DIGEST = bytes(range(32))


def targets() -> list[Target]:
    """Everything a light client reads."""
    return [_blocks(), _genesis(), _proofs(), _included()]


def _blocks() -> Target:
    history = History(members=4, churn=1_000_000)
    honest = [history.block(height) for height in (1, 2, 50)]
    root = light.GenesisTrust(CHAIN_ID, 1, honest[0].validators.validators, Timestamp(START, 0))
    known = {block.hash for block in honest}

    def run(raw: bytes) -> str:
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            return "not JSON"
        try:
            block = light_json.light_block(document)
            light.check_step(CHAIN_ID, root.trusted, block, now=_NOW, trusting_period=_PERIOD)
        except ProofRejected as error:
            return str(error)
        assert header_hash(block.header) in known, "a header that nobody signed was trusted"
        return "taken"

    seeds = [json.dumps(light_block_json(block)).encode() for block in honest]
    return Target("light/blocks", "no header is trusted that the committee did not sign", seeds, run, bend_json)


def _genesis() -> Target:
    def run(raw: bytes) -> str:
        try:
            trust = light_json.genesis_trust(raw)
        except ConfigError as error:
            return str(error)
        assert trust.validators and trust.initial_height >= 1 and len(trust.digest) == 32
        return "taken"

    rows = [
        {"pub_key": {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(one.public).decode()}, "power": "10"}
        for one in _KEYS
    ]
    document = {"chain_id": CHAIN_ID, "initial_height": "1", "genesis_time": "2027-01-15T08:00:00Z", "validators": rows}
    seeds = [json.dumps(document).encode()]
    return Target("light/genesis", "a trust root, or a refusal", seeds, run, bend_json)


def _proofs() -> Target:
    """The answer to one query, asked for the parameters; and the answer about a key that is absent."""
    town = living_town()
    process = application(town)
    height = process.store.height - 1
    app_hash = town.sim.chain[height - 1].app_hash
    answers = {name: _query(process, name, prove=True) for name in (PARAMS_KEY, b"nobody", b"\x04epoch")}
    value = base64.b64decode(answers[PARAMS_KEY]["value"])

    def run(raw: bytes) -> str:
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            return "not JSON"
        try:
            found = light_json.abci_value(document)
            ops = light_json.proof_ops(document)
            if found.value is None:
                check_absence(ops, store=STORE_NAME, key=b"nobody", app_hash=app_hash)
                return "absence taken"
            check_value(ops, store=STORE_NAME, key=PARAMS_KEY, value=found.value, app_hash=app_hash)
        except ProofRejected as error:
            return str(error)
        assert found.value == value, "another value was proven"
        return "taken"

    seeds = [json.dumps(answer).encode() for answer in answers.values()]
    return Target("light/proofs", "no value is proven but the ledger's", seeds, run, bend_json)


def _query(process: LocalProcess, name: bytes, *, prove: bool) -> dict[str, Any]:
    """The answer as CometBFT's RPC renders it."""
    request = abci.RequestQuery(path=f"/store/{STORE_NAME}/key", data=name, prove=prove)
    answer = abci.Response.FromString(dispatch.answer(process.app, "query", request)).query
    encoded = {part: base64.b64encode(getattr(answer, part)).decode() for part in ("key", "value")}
    ops = [
        {"type": op.type, "key": base64.b64encode(op.key).decode(), "data": base64.b64encode(op.data).decode()}
        for op in answer.proof_ops.ops
    ]
    rest = {"code": answer.code, "log": answer.log, "height": str(answer.height), "proofOps": {"ops": ops}}
    return {**rest, **encoded, "value": encoded["value"] or None}


def _included() -> Target:
    def run(raw: bytes) -> str:
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            return "not JSON"
        try:
            light_json.included_tx(document)
        except ProofRejected as error:
            return str(error)
        return "taken"

    digest = base64.b64encode(_DIGEST).decode()
    document = {
        "hash": "AA",
        "height": "7",
        "index": 0,
        "tx_result": {"code": 0, "log": "", "codespace": ""},
        "tx": base64.b64encode(b"transaction").decode(),
        "proof": {"proof": {"total": "3", "index": "1", "leaf_hash": digest, "aunts": [digest, digest]}},
    }
    return Target("light/included", "an included transaction, or a refusal", [json.dumps(document).encode()], run, bend_json)
