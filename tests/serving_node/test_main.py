"""The process's exit codes and words, as an operator meets them."""

import base64
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from network.crypto import SigningKey

REPOSITORY = Path(__file__).resolve().parents[2]


def start(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serving_node", "--config", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


def written(folder: Path, *, model: str = "none.gguf", kind: str = "embedded") -> Path:
    key = base64.b64encode(SigningKey(bytes(32)).public).decode()
    validator = {"pub_key": {"type": "tendermint/PubKeyEd25519", "value": key}, "power": "1"}
    (folder / "genesis.json").write_text(
        json.dumps({"genesis_time": "2026-11-21T00:00:00Z", "chain_id": "c", "validators": [validator]})
    )
    ports = []
    for _ in range(3):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    (folder / "config.toml").write_text(
        f"""
[node]
name = "model-0"
chain_id = "c"
listen = "127.0.0.1:{ports[0]}"
metrics = "127.0.0.1:{ports[1]}"
family = "f"
rpc = ["http://127.0.0.1:9"]
genesis = "genesis.json"
keys = "keys.json"
[engine]
kind = "{kind}"
group = "tiny"
model_path = "{model}"
model_hash = "{"ab" * 32}"
address = "127.0.0.1:{ports[2]}"
"""
    )
    return folder / "config.toml"


def test_a_missing_model_says_how_to_get_it(tmp_path: Path) -> None:
    done = start(written(tmp_path))
    assert done.returncode == 1 and "serving_node.models" in done.stderr and "Traceback" not in done.stderr
    assert len(json.loads((tmp_path / "keys.json").read_text())["hybrid_private"]) == 2 * 96, "the keys were there before"


def test_a_bad_setting_names_its_key(tmp_path: Path) -> None:
    done = start(written(tmp_path, kind="torch"))
    assert done.returncode == 3 and "engine.kind" in done.stderr and "Traceback" not in done.stderr


def test_no_settings_and_no_vllm(tmp_path: Path) -> None:
    assert start(tmp_path / "none.toml").returncode == 3
    path = written(tmp_path, kind="vllm")
    path.write_text(path.read_text() + 'command = "/nowhere/vllm"\n')
    done = start(path)
    assert done.returncode == 1 and "/nowhere/vllm" in done.stderr and "Traceback" not in done.stderr


def test_key_files_of_others_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "keys.json").write_text("{}")
    (tmp_path / "keys.json").chmod(0o644)
    assert start(path).returncode == 5


def test_the_sidecar_loads_no_engine() -> None:
    code = "import sys, serving_node.__main__; print([m for m in ('gguf', 'xllamacpp', 'tokenizers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "[]"
