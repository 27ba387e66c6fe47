"""The read side over a real chain: friendly ABCI paths, and the REST gateway as an explorer calls it."""

import base64
import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from network.chain_records import PARAMS_KEY, VALIDATOR_PREFIX, node_key
from network.chain_tx import GroupChange, Propose, RegisterNode, TxKind, build_tx
from network.crypto import SigningKey, exchange_public, sha256
from network.ids import Role, node_id
from network.rest.bech32 import decode
from network.rest.routes import ROUTES

CHAIN_ID = "ledger-test"
QUICK: dict[str, object] = {
    "epoch_blocks": 20,
    "vrf_end": 2,
    "commit_end": 4,
    "send_end": 10,
    "publish_end": 13,
    "score_end": 16,
    "reveal_end": 19,
}
KEYS = [SigningKey(sha256(b"rest", bytes([at]))) for at in range(3)]
BASE, TX, STAKING = "/cosmos/base/tendermint/v1beta1", "/cosmos/tx/v1beta1", "/cosmos/staking/v1beta1"


@dataclass
class Gateway:
    """A running gateway, and the validator behind it."""

    url: str
    validator: Any
    registered: list[bytes]

    def ask(self, path: str, **headers: str) -> tuple[int, Any, Any]:
        """Status, headers and body."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.headers, _body(response.read())
        except urllib.error.HTTPError as error:
            return error.code, error.headers, _body(error.read())

    def is_ready(self) -> bool:
        """Whether it has proven something just now."""
        with contextlib.suppress(OSError):
            return bool(self.ask("/status")[2]["ready"])
        return False

    def good(self, path: str, *, proven: bool = True) -> Any:
        """The body of a 200 that says what it should about its proof."""
        status, headers, body = self.ask(path)
        assert status == 200, body
        assert headers["X-Planetserve-Proven"] == ("true" if proven else "false"), path
        return body


def _body(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw.decode()


@pytest.fixture(scope="module")
def gateway(module_chain: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    chain, port = module_chain(QUICK)
    validator = chain.validators[0]
    registered = []
    for at, key in enumerate(KEYS):
        body = RegisterNode(Role.USER, f"user-{at}", exchange_public(sha256(bytes([at]))))
        registered.append(build_tx(TxKind.REGISTER_NODE, body, key=key, chain_id=CHAIN_ID, nonce=1))
        assert validator.send(registered[-1])["code"] == 0
    for raw in registered:
        assert validator.result(raw).get("code", 0) == 0
    with serving(tmp_path_factory.mktemp("rest"), port, [validator.rpc], chain.genesis) as url:
        found = Gateway(url, validator, registered)
        wait_for(lambda: bool(found.ask("/ledger/v1/nodes")[2].get("nodes")))
        yield found


@contextlib.contextmanager
def serving(folder: Path, port: int, rpc: list[str], genesis: Path) -> Iterator[str]:
    """`planetserve rest` as a process, ready when it begins to be used; it ends with 0 on SIGTERM."""
    words = [word for address in rpc for word in ("--rpc", address)]
    command = [sys.executable, "-m", "network.cli.main", "rest", "--listen", f"127.0.0.1:{port}", "--genesis", str(genesis)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, *words], cwd=Path(__file__).parents[2], stdout=log, stderr=log)
    gateway = Gateway(f"http://127.0.0.1:{port}", None, [])
    try:
        wait_for(lambda: process.poll() is not None or gateway.is_ready())
        yield gateway.url
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0, (folder / "log").read_text()


def wait_for(holds: Callable[[], bool]) -> None:
    """Poll until it holds. The limit only ends a test that would hang."""
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_friendly_paths_answer_over_the_wire(gateway: Gateway) -> None:
    """Each JSON value names keys; each key is provable at the height of the document."""
    validator = gateway.validator
    for path in (
        "/params",
        "/nodes?limit=2",
        "/epochs",
        "/epochs/current",
        "/committee",
        "/validators",
        "/directory",
        "/groups",
    ):
        answer = validator.call("abci_query", path=path, data="", height="0", prove=False)["response"]
        assert answer.get("code", 0) == 0, answer
        document = json.loads(base64.b64decode(answer["value"]))
        assert str(document["height"]) == answer["height"]
        again = validator.call("abci_query", path=path, data="", height=answer["height"], prove=False)["response"]
        assert again["value"] == answer["value"], "the same height gives the same bytes"
    nodes = json.loads(
        base64.b64decode(validator.call("abci_query", path="/nodes", data="", height="0", prove=False)["response"]["value"])
    )
    for row in nodes["nodes"]:
        assert validator.query(bytes.fromhex(row["key"]), height=nodes["height"], prove=True)["proofOps"]
    refused = validator.call("abci_query", path="/weather", data="", height="0", prove=False)["response"]
    assert refused["code"] == 2 and refused["codespace"] == "planetserve/query" and "/nodes" in refused["log"]


def test_every_listed_path_answers(gateway: Gateway) -> None:
    name = sha256(gateway.registered[0]).hex()
    node = node_id(KEYS[0].public).hex()
    operator = gateway.good(f"{STAKING}/validators")["validators"][0]["operator_address"]
    words = {"{id}": node, "{hash}": name, "{number}": "current", "{height}": "3", "{address}": operator}
    missing = {"challenge", "proposal"}
    for route in ROUTES:
        path = route.path
        for word, value in words.items():
            path = path.replace(word, value)
        if route.name == "abci_query":
            path += "?path=/params"
        if route.name == "txs":
            path += "?query=tx.height%3E0"
        if route.name in missing:
            path = path.replace("current", "999")
        status, headers, body = gateway.ask(path)
        assert status == (404 if route.name in missing else 200), (path, body)
        assert headers["Access-Control-Allow-Origin"] == "*"
        if route.proven in ("all", "none") and status == 200:
            assert headers["X-Planetserve-Proven"] == ("true" if route.proven == "all" else "false"), path
    listed = gateway.good("/openapi.json", proven=False)
    assert set(listed["paths"]) == {route.path for route in ROUTES}


def test_the_ledger_is_proven_at_any_kept_height(gateway: Gateway) -> None:
    now = gateway.good("/ledger/v1/params?prove=true")
    assert now["proof"]["key_hex"] == PARAMS_KEY.hex() and now["proof"]["verified"] is True
    assert now["params"]["epoch_blocks"] == 20
    nodes = gateway.good("/ledger/v1/nodes?prove=true")
    assert [row["name"] for row in nodes["nodes"]] and nodes["complete"] is True
    registered = gateway.good("/ledger/v1/nodes?registered=true&prove=true&limit=2")
    assert len(registered["nodes"]) == 2 and registered["next"] and registered["complete"] is False
    rest = gateway.good(f"/ledger/v1/nodes?registered=true&limit=2&key={registered['next']}")
    ids = [row["id"] for row in registered["nodes"] + rest["nodes"]]
    assert ids == sorted(node_id(key.public).hex() for key in KEYS) and rest["next"] == ""
    assert all(row["proof"]["key_hex"] == node_key(bytes.fromhex(row["id"])).hex() for row in registered["nodes"])
    committee = gateway.good("/ledger/v1/committee?prove=true")
    assert committee["power"] == 10 and committee["members"][0]["name"] == "validator-0"
    assert committee["members"][0]["proof"]["key_hex"].startswith(VALIDATOR_PREFIX.hex())
    height = now["height"]
    first = gateway.ask(f"/ledger/v1/params?height={height}&prove=true")
    assert (first[2]["height"], first[2]["proof"]) == (height, now["proof"])
    assert first[1]["ETag"] == f'"{height}"' and "immutable" in first[1]["Cache-Control"]
    tag = {"If-None-Match": first[1]["ETag"]}
    assert gateway.ask(f"/ledger/v1/params?height={height}", **tag)[0] == 304
    status, headers, _ = gateway.ask(f"{BASE}/abci_query?path=/params&height={height}", **tag)
    assert (status, headers["X-Planetserve-Proven"]) == (304, "false")
    assert gateway.ask(f"/ledger/v1/epochs/current?height={height}")[2]["height"] == height
    assert gateway.good("/ledger/v1/nodes/" + node_id(KEYS[0].public).hex() + "/reputation")["history"] == []


@pytest.mark.parametrize(
    ("path", "status", "code", "codespace"),
    [
        ("/weather", 404, 2, "planetserve/rest"),
        ("/ledger/v1/nodes/zz", 400, 1, "planetserve/rest"),
        ("/ledger/v1/nodes/" + "ff" * 20, 404, 1, "planetserve/query"),
        ("/ledger/v1/params?height=99999999", 404, 3, "planetserve/query"),
        ("/ledger/v1/params?height=-1", 400, 1, "planetserve/rest"),
        ("/ledger/v1/params?prove=maybe", 400, 1, "planetserve/rest"),
        ("/ledger/v1/nodes?registered=1&limit=1000", 400, 1, "planetserve/rest"),
        ("/ledger/v1/nodes?registered=1&key=a%26epoch=1", 400, 1, "planetserve/rest"),
        ("/ledger/v1/epochs/999", 404, 1, "planetserve/query"),
        (f"{BASE}/blocks/99999999", 404, 4, "planetserve/rest"),
        (f"{BASE}/blocks/0", 404, 4, "planetserve/rest"),
        (f"{BASE}/abci_query?path=/params&data=%FF", 400, 1, "planetserve/rest"),
        (f"{TX}/txs/ab", 400, 1, "planetserve/rest"),
        (f"{TX}/txs/" + "ab" * 32, 404, 2, "planetserve/rest"),
        (f"{TX}/txs", 400, 1, "planetserve/rest"),
        (f"{TX}/txs?query=((", 400, 1, "planetserve/rest"),
        (f"{STAKING}/validators?status=nice", 400, 1, "planetserve/rest"),
        (f"{STAKING}/validators/planetservevaloper1x", 400, 1, "planetserve/rest"),
    ],
)
def test_errors_are_codes(gateway: Gateway, path: str, status: int, code: int, codespace: str) -> None:
    found, _, body = gateway.ask(path)
    assert (found, body["code"], body["codespace"]) == (status, code, codespace), body
    assert set(body) == {"code", "codespace", "message"} and body["message"]


def test_an_explorer_finds_every_field_it_reads(gateway: Gateway) -> None:
    """The fields that ping-pub's explorer takes from each route, by their types."""
    latest = gateway.good(f"{BASE}/blocks/latest")
    header = latest["block"]["header"]
    assert header["chain_id"] == CHAIN_ID and int(header["height"]) > 3 and header["time"].endswith("Z")
    assert len(base64.b64decode(latest["block_id"]["hash"])) == 32 and isinstance(latest["block"]["data"]["txs"], list)
    signature = latest["block"]["last_commit"]["signatures"][0]
    assert signature["block_id_flag"] == "BLOCK_ID_FLAG_COMMIT" and signature["validator_address"] == header["proposer_address"]
    same = gateway.good(f"{BASE}/blocks/{header['height']}")
    assert same["block"]["header"] == header
    assert gateway.ask(f"{BASE}/blocks/{header['height']}", **{"If-None-Match": f'"{header["height"]}"'})[0] == 304
    validators = gateway.good(f"{STAKING}/validators?pagination.limit=500&status=BOND_STATUS_BONDED")["validators"]
    one = validators[0]
    address = sha256(base64.b64decode(one["consensus_pubkey"]["key"]))[:20]
    assert base64.b64encode(address).decode() == header["proposer_address"], "what the uptime page joins on"
    assert (one["description"]["moniker"], one["tokens"], one["jailed"]) == ("validator-0", "10", False)
    assert one["delegator_shares"].startswith("10.") and one["commission"]["commission_rates"]["rate"]
    assert decode(one["operator_address"]) == ("planetservevaloper", address)
    assert gateway.good(f"{STAKING}/validators/{one['operator_address']}")["validator"] == one
    assert gateway.good(f"{STAKING}/validators?status=BOND_STATUS_UNBONDED")["validators"] == []
    assert gateway.good(f"{STAKING}/pool")["pool"] == {"bonded_tokens": "10", "not_bonded_tokens": "0"}
    assert gateway.good(f"{STAKING}/params")["params"]["bond_denom"]
    window = int(gateway.good("/cosmos/slashing/v1beta1/params")["params"]["signed_blocks_window"])
    info = gateway.good("/cosmos/slashing/v1beta1/signing_infos?pagination.limit=300", proven=False)["info"][0]
    assert decode(info["address"]) == ("planetservevalcons", address) and 0 <= int(info["missed_blocks_counter"]) <= window
    sets = gateway.good(f"{BASE}/validatorsets/latest?pagination.limit=100&pagination.offset=0")
    assert sets["validators"][0]["voting_power"] == "10" and sets["validators"][0]["pub_key"] == one["consensus_pubkey"]
    assert gateway.good(f"{BASE}/validatorsets/2?pagination.offset=1")["validators"] == []
    node = gateway.good(f"{BASE}/node_info", proven=False)
    assert node["default_node_info"]["network"] == CHAIN_ID and node["application_version"]["app_name"]
    assert gateway.good(f"{BASE}/syncing", proven=False) == {"syncing": False}


def test_transactions_are_found(gateway: Gateway) -> None:
    raw = gateway.registered[1]
    name = sha256(raw).hex().upper()
    found = gateway.good(f"{TX}/txs/{name}", proven=False)
    response, message = found["tx_response"], found["tx"]["body"]["messages"][0]
    assert (response["txhash"], response["code"], message["name"]) == (name, 0, "user-1")
    assert message["@type"].endswith(".RegisterNode") and found["tx"]["auth_info"]["fee"]["amount"] == []
    assert any(event["type"] == "node_registered" for event in response["events"])
    height = response["height"]
    block = gateway.good(f"{TX}/txs/block/{height}")
    assert base64.b64encode(raw).decode() in block["block"]["data"]["txs"] and found["tx"] in block["txs"]
    assert block["block"]["header"]["time"] == response["timestamp"]
    sender = KEYS[1].public.hex()
    for query in (f"query=message.sender%3D%27{sender}%27", f"events=message.sender%3D%27{sender}%27"):
        page = gateway.good(f"{TX}/txs?{query}&pagination.limit=20&pagination.offset=0", proven=False)
        assert [row["txhash"] for row in page["tx_responses"]] == [name] and page["pagination"]["total"] == "1"
    every = gateway.good(
        f"{TX}/txs?query=message.action%3D%27register_node%27&pagination.limit=2&order_by=ORDER_BY_DESC", proven=False
    )
    heights = [int(row["height"]) for row in every["tx_responses"]]
    assert len(heights) == 2 and heights == sorted(heights, reverse=True) and every["pagination"]["next_key"]
    key = every["pagination"]["next_key"]
    rest = gateway.good(
        f"{TX}/txs?query=message.action%3D%27register_node%27&pagination.limit=2&order_by=ORDER_BY_DESC&pagination.key={key}",
        proven=False,
    )
    assert len(rest["tx_responses"]) == 1 and rest["pagination"]["next_key"] is None
    assert gateway.good(f"{TX}/txs?query=tx.height%3E0&page=9", proven=False)["tx_responses"] == []


def test_a_proposal_is_followed_to_its_end(gateway: Gateway) -> None:
    """One validator has all the power: its proposal passes at once, and is enacted in the epoch's last block."""
    validator = gateway.validator
    proposal = Propose(title="another model", group=GroupChange("larger", sha256(b"larger"), "llamacpp-mt19937-v1"))
    raw = build_tx(TxKind.PROPOSE, proposal, key=validator.verifier_key, chain_id=CHAIN_ID, nonce=int(time.time() * 1000))
    assert validator.send(raw)["code"] == 0
    assert validator.result(raw).get("code", 0) == 0
    validator.wait_height(validator.height() + 25)
    listed = gateway.good("/ledger/v1/proposals?prove=true")
    one = gateway.good("/ledger/v1/proposals/1")["proposal"]
    assert {name: listed["proposals"][0][name] for name in one} == one and listed["proposals"][0]["proof"]["verified"]
    assert (one["status"], one["change"], one["content"]["name"], len(one["votes"])) == ("enacted", "group", "larger", 1)
    answer = validator.call("abci_query", path="/groups", data="", height="0", prove=False)["response"]
    assert "larger" in [row["name"] for row in json.loads(base64.b64decode(answer["value"]))["groups"]]
    assert gateway.good("/ledger/v1/upgrade")["plan"] is None


def test_rows_and_documents_through_abci_query(gateway: Gateway) -> None:
    data = base64.b64encode(PARAMS_KEY).decode()
    row = gateway.good(f"{BASE}/abci_query?path=/store/main/key&data={data}&prove=true")
    assert row["code"] == 0 and len(row["proof_ops"]["ops"]) == 2
    same = gateway.good(f"{BASE}/abci_query?path=/store/main/key&data=0x{PARAMS_KEY.hex()}", proven=False)
    assert same["value"] == row["value"] and same["proof_ops"] is None
    assert json.loads(base64.b64decode(gateway.good(f"{BASE}/abci_query?path=/nodes", proven=False)["value"]))["nodes"]


def test_preflight_methods_and_metrics(gateway: Gateway) -> None:
    for method, status in (("OPTIONS", 204), ("HEAD", 200), ("POST", 405), ("DELETE", 405)):
        request = urllib.request.Request(gateway.url + "/ledger/v1/params", method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                assert response.status == status and response.headers["Access-Control-Allow-Origin"] == "*"
        except urllib.error.HTTPError as error:
            assert error.code == status and json.loads(error.read())["code"] == 3
    metrics = gateway.ask("/metrics")[2]
    assert 'planetserve_rest_requests_total{route="/ledger/v1/params",status="200"}' in metrics


@pytest.mark.slow
def test_a_silent_validator_shows_and_its_address_is_passed_over(make_chain: Callable[..., Any], tmp_path: Path) -> None:
    """Four validators, one killed, its RPC address the first of the gateway's: blocks that lack its signature are proven, its
    missed blocks are counted, and the gateway answers through the others."""
    chain = make_chain(4)
    chain.start()
    chain.wait_height(4)
    dead, *living = chain.validators
    dead.stop(9)
    stopped = living[0].height()
    living[0].wait_height(stopped + 6)
    with serving(tmp_path, dead.metrics_port, [dead.rpc, *(each.rpc for each in living)], chain.genesis) as url:
        gateway = Gateway(url, living[0], [])
        address = sha256(dead.key.public)[:20]
        block = gateway.good(f"{BASE}/blocks/{stopped + 4}")["block"]
        flags = [row["block_id_flag"] for row in block["last_commit"]["signatures"]]
        assert sorted(flags) == ["BLOCK_ID_FLAG_ABSENT"] + ["BLOCK_ID_FLAG_COMMIT"] * 3
        infos = gateway.good("/cosmos/slashing/v1beta1/signing_infos", proven=False)["info"]
        missed = {decode(info["address"])[1]: int(info["missed_blocks_counter"]) for info in infos}
        assert len(missed) == 4 and missed[address] >= 4 and missed[address] == max(missed.values())
        assert len(gateway.good(f"{STAKING}/validators?status=BOND_STATUS_BONDED")["validators"]) == 4
        committee = gateway.good("/ledger/v1/committee")
        assert committee["power"] == 40 and {row["name"] for row in committee["members"]} == {
            f"validator-{at}" for at in range(4)
        }
