"""F10: application and CometBFT are restored from different moments. One case for each row of CometBFT's handshake:

application at 0; at the height of both of CometBFT's stores; below them; one below (F3 stops there); one above CometBFT's
state (F3, too); above its block store; and below the oldest block that it has kept.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


def copied(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def refused(validator: Any, words: str) -> None:
    validator.start()
    assert validator.process.wait() == 3, validator.log()[-3000:]
    validator.process = None
    assert words in validator.log(), validator.log()[-3000:]


def app_hashes(validator: Any, height: int) -> list[str]:
    return [validator.app_hash(at) for at in range(1, height + 1)]


def test_f10_older_and_newer_backups(
    make_chain: Any, fast: Any, registration: Any, committed: Any, in_a_block: Any, until: Any, measured: Any
) -> None:
    validator = make_chain(1, params=fast).validators[0]
    app, comet = validator.home / "app.db", validator.home / "comet" / "data"
    validator.start()
    validator.wait_height(3)
    assert validator.stop() == 0
    older = [copied(app, validator.home / "older-app"), copied(comet, validator.home / "older-comet")]
    validator.start()
    raw = registration(1)
    committed(validator, raw)
    height = validator.height()
    validator.wait_height(height + 1)
    before = app_hashes(validator, height)
    assert validator.stop() == 0

    copied(older[0], app)
    validator.start()
    seconds = until(lambda: validator.height() > height + 2, validator.log)
    assert app_hashes(validator, height) == before and in_a_block(validator, raw).get("code", 0) == 0
    measured("F10", row="application below", replayed_s=round(seconds, 2))
    assert validator.stop() == 0

    newer = copied(comet, validator.home / "newer-comet")
    copied(older[1], comet)
    refused(validator, "an older copy was put in its place")
    shutil.copy(newer / "priv_validator_state.json", comet)
    refused(validator, "ahead of CometBFT's")
    copied(newer, comet)
    validator.start()
    until(lambda: validator.height() > height + 2, validator.log)
    measured("F10", row="application above", outcome="refused with advice, twice")


@pytest.mark.slow
def test_f10_an_application_below_the_oldest_kept_block(make_chain: Any, fast: Any, until: Any, measured: Any) -> None:
    chain = make_chain(1, params=fast, interval_ms=10)
    validator = chain.validators[0]
    document = json.loads(chain.genesis.read_text())
    document["consensus_params"]["evidence"] |= {"max_age_num_blocks": "20", "max_age_duration": "1000000000"}
    for path in (chain.genesis, validator.home / "comet" / "config" / "genesis.json"):
        path.write_text(json.dumps(document))
    config = validator.home / "config.toml"
    config.write_text(
        config.read_text().replace('data = "app.db"', 'data = "app.db"\nretain_blocks = 20\nsnapshot_interval = 0')
    )
    validator.start()
    until(lambda: int(validator.call("status")["sync_info"]["earliest_block_height"]) > 20, validator.log)
    earliest = int(validator.call("status")["sync_info"]["earliest_block_height"])
    height = validator.height()
    assert validator.stop() == 0
    kept = copied(validator.home / "app.db", validator.home / "kept")
    shutil.rmtree(validator.home / "app.db")
    refused(validator, "restore a snapshot")
    copied(kept, validator.home / "app.db")
    validator.start()
    until(lambda: validator.height() > height + 2, validator.log)
    measured("F10", row="application below the oldest block", earliest=earliest, outcome="refused with advice")
