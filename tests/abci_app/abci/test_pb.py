"""The checked-in protobuf code is what its sources generate, and its numbers are ABCI 2.0's."""

import subprocess
import sys
from pathlib import Path

import pytest

from abci_app.abci.pb import abci_pb2 as abci
from abci_app.abci.pb import types_pb2 as types

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCES = ("types.proto", "abci.proto")


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is a development dependency; `make setup` installs it")
    # The command of abci_app/README.md section 3.
    command = [sys.executable, "-m", "grpc_tools.protoc", "-Iabci_app/abci/pb=abci_app/abci/proto"]
    command += [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([*command, *(f"abci_app/abci/proto/{name}" for name in SOURCES)], cwd=REPOSITORY, check=True)
    for made in sorted((tmp_path / "abci_app/abci/pb").iterdir()):
        kept = REPOSITORY / "abci_app/abci/pb" / made.name
        assert kept.read_text() == made.read_text(), f"{kept} is stale: run the command of abci_app/README.md section 3"


REQUESTS = {
    "echo": 1,
    "flush": 2,
    "info": 3,
    "init_chain": 5,
    "query": 6,
    "check_tx": 8,
    "commit": 11,
    "list_snapshots": 12,
    "offer_snapshot": 13,
    "load_snapshot_chunk": 14,
    "apply_snapshot_chunk": 15,
    "prepare_proposal": 16,
    "process_proposal": 17,
    "extend_vote": 18,
    "verify_vote_extension": 19,
    "finalize_block": 20,
}


def test_numbers() -> None:
    assert {field.name: field.number for field in abci.Request.DESCRIPTOR.fields} == REQUESTS
    answers = {field.name: field.number for field in abci.Response.DESCRIPTOR.fields}
    assert answers == {"exception": 1, **{name: number + 1 for name, number in REQUESTS.items()}}


def test_bytes_of_a_known_message() -> None:
    """ResponseInfo as CometBFT's Go code encodes it: tag 4 of Response, then data, app_version and height."""
    answer = abci.Response(info=abci.ResponseInfo(data="ab", app_version=1, last_block_height=300))
    assert answer.SerializeToString().hex() == "2209" + "0a026162" + "1801" + "20ac02"
    op = types.ValueOp(key=b"k", proof=types.Proof(total=1, index=0, leaf_hash=b"h", aunts=[b"a"]))
    assert op.SerializeToString().hex() == "0a016b" + "1208" + "0801" + "1a0168" + "220161"
