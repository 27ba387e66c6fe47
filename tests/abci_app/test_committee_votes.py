"""The committee's votes on a real chain, through the command line: what passes reaches CometBFT."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from network.crypto import SigningKey

REPOSITORY = Path(__file__).resolve().parents[2]
EPOCH = {
    "epoch_blocks": 6, "vrf_end": 1, "commit_end": 2, "send_end": 3, "publish_end": 4, "score_end": 5, "reveal_end": 6,
}  # fmt: skip


def planetserve(chain: Any, *words: str) -> Any:
    """One command against the first validator; its JSON document."""
    place = ["--rpc", chain.validators[0].rpc, "--genesis", str(chain.genesis), "--output", "json"]
    command = [sys.executable, "-m", "network.cli.main", *words, *place]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def key_file(folder: Path, key: SigningKey) -> str:
    path = folder / "verifier_keys.json"
    path.write_text(json.dumps({"signing_seed": key.seed.hex(), "onion_private": key.seed.hex()}))
    path.chmod(0o600)
    return str(path)


def test_votes_change_parameters_and_validators(
    make_chain: Callable[..., Any], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """One member decides alone: it changes CometBFT's block size, and gives a follower a vote and takes it back."""
    chain = make_chain(1, params=EPOCH)
    chain.start()
    first = chain.validators[0]
    first.wait_height(2)
    keys = ("--keys", key_file(tmp_path, first.verifier_key))
    made = planetserve(chain, "tx", "propose", "params", "max_block_bytes=2097152", "tx_quota=77", *keys)
    assert made["code"] == 0 and made["proposal"] == 1

    def block_bytes() -> int:
        return int(first.call("consensus_params", height=str(first.height()))["consensus_params"]["block"]["max_bytes"])

    wait_until(lambda: block_bytes() == 2097152, lambda: f"block.max_bytes is {block_bytes()}")
    document = planetserve(chain, "query", "params")
    assert document["params"]["tx_quota"] == 77

    new = chain.join("v1")
    new.start()
    new.wait_height(first.height())
    joining = ("--consensus-key", new.key.public.hex(), "--verifier-key", new.verifier_key.public.hex(), "--name", "v1")
    planetserve(chain, "tx", "propose", "validator", *joining, "--power", "4", *keys)

    def powers() -> list[int]:
        return sorted(int(row["voting_power"]) for row in first.call("validators")["validators"])

    wait_until(lambda: powers() == [4, 10], lambda: f"the validators have the powers {powers()}")
    planetserve(chain, "tx", "propose", "validator", "--consensus-key", new.key.public.hex(), "--remove", *keys)  # 10 of 14
    wait_until(lambda: powers() == [10], lambda: f"the validators have the powers {powers()}")
    held = planetserve(chain, "query", "proposals")
    assert [row["status"] for row in held["proposals"]] == ["enacted"] * 3
