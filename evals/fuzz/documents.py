"""Targets of what people write: query paths, a validator's and a node's configuration, the genesis document's app_state."""

import json
import random
import tomllib
from pathlib import Path

from abci_app import config as validator_config
from abci_app.abci import dispatch
from abci_app.abci.pb import abci_pb2 as abci
from abci_app.state.errors import UpgradeNeeded
from abci_app.state.genesis import Genesis as AbciGenesis
from abci_app.state.genesis import genesis_state
from evals.fuzz.abci import application, living_town
from evals.fuzz.engine import Target
from evals.fuzz.mutate import bend, bend_json
from evals.ledger.simulator.world import CHAIN_ID, Genesis
from network.errors import ConfigError
from network.gateway import config as gateway_config
from relay import config as relay_config

_HOME = Path("home")
_NODE = """
[node]
name = "one"
chain_id = "chain"
listen = "127.0.0.1:1000"
metrics = "127.0.0.1:1001"
rpc = ["http://127.0.0.1:1002"]
genesis = "genesis.json"
keys = "keys.json"
"""
_VALIDATOR = """
[comet]
binary = "cometbft"
home = "comet"
rpc = "127.0.0.1:1002"
p2p = "127.0.0.1:1003"

[app]
socket = "app.sock"
data = "app.db"
check_order = true
snapshot_interval = 10
retain_blocks = 100
"""
_PATHS = (
    "/nodes",
    "/nodes?limit=2&key=aa",
    "/node/" + "0" * 40,
    "/epochs",
    "/epochs/1",
    "/epochs?limit=100",
    "/transcripts/" + "0" * 64 + "?epoch=1",
    "/committee",
    "/params",
    "/directory?limit=5",
    "/proposals",
    "/proposal/1",
    "/validators",
    "/store/main/key",
    "/p2p/filter/addr/1.2.3.4",
)


def targets() -> list[Target]:
    """Paths, configurations, genesis."""
    return [_paths(), *_configurations(), _genesis()]


def _paths() -> Target:
    """An input is height u8 | data length u8 | data | path."""
    process = application(living_town())
    store = process.store
    keys = [key for key, _ in store.version(store.height).scan(b"")]

    def run(raw: bytes) -> str:
        if len(raw) < 2:
            return "too short"
        data, path = raw[2 : 2 + raw[1]], raw[2 + raw[1] :].decode(errors="replace")
        request = abci.RequestQuery(path=path, data=data, height=raw[0] % 64 - 8, prove=raw[0] > 127)
        answer = abci.Response.FromString(dispatch.answer(process.app, "query", request)).query
        if answer.code:
            assert answer.log and not answer.value
            return f"code {chr(64 + min(answer.code, 60))}: {answer.log}"
        if answer.value and not path.startswith("/store/"):
            document = json.loads(answer.value)
            assert json.dumps(document, sort_keys=True, separators=(",", ":")).encode() == answer.value
        assert len(answer.value) < 1 << 20
        return "taken"

    draw = random.Random("paths")
    seeds = [bytes((40, 0)) + path.encode() for path in _PATHS]
    seeds += [bytes((200, len(key))) + key + b"/store/main/key" for key in draw.sample(keys, min(10, len(keys)))]
    return Target("documents/paths", "a bounded document or row, or a code that says why not", seeds, run)


def _configurations() -> list[Target]:
    readers = {
        "validator": (validator_config.from_mapping, _NODE + _VALIDATOR),
        "relay": (relay_config.from_mapping, _NODE),
        "gateway": (gateway_config.from_mapping, _NODE),
    }
    found = []
    for name, (read, text) in readers.items():

        def run(raw: bytes, read: object = read) -> str:
            try:
                document = tomllib.loads(raw.decode())
            except (ValueError, RecursionError):
                return "not TOML"
            try:
                read(document, _HOME)  # type: ignore[operator]
            except ConfigError as error:
                assert str(error), "a refusal must say what to change"
                return str(error)
            return "taken"

        found.append(Target(f"documents/{name}", "settings, or a refusal that names the key", [text.encode()], run, _bend_toml))
    return found


def _bend_toml(raw: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """A value of another type or size, a line gone or doubled; or any bytes."""
    lines = raw.decode(errors="replace").splitlines()
    at = draw.randrange(len(lines)) if lines else 0
    luck = draw.random()
    if not lines or luck < 0.25:
        return bend(raw, draw, others)
    if luck < 0.4:
        del lines[at]
    elif luck < 0.5:
        lines.insert(at, draw.choice(lines))
    else:
        strangers = (
            "true",
            "-1",
            "0",
            "1.5",
            "9" * 30,
            '""',
            '"x"',
            '"127.0.0.1:70000"',
            "[]",
            '["", 1]',
            "{}",
            "1979-05-27",
            "inf",
        )
        lines[at] = f"{lines[at].partition('=')[0]}= {draw.choice(strangers)}"
    return "\n".join(lines).encode()


def _genesis() -> Target:
    genesis = Genesis((10, 10, 10, 10))
    validators = tuple((one.consensus.public, 10) for one in genesis.members)

    def run(raw: bytes) -> str:
        try:
            state = genesis_state(AbciGenesis(CHAIN_ID, 1, validators, raw))
        except (ConfigError, UpgradeNeeded) as error:
            assert str(error)
            return str(error)
        assert state.changes(), "a genesis that is taken has rows"
        return "taken"

    return Target("documents/genesis", "a first state, or a refusal", [genesis.app_state()], run, bend_json)
