"""F7: the clock of one validator of four is ten minutes off, or one's is ahead and another's behind.

A node whose clock is more than a minute behind takes no blocks while it syncs: CometBFT holds them to be from the future,
says so, and follows once the clock is right. The others go on.

CometBFT is a static Go binary, whose clock no library can shift from outside. So the same sources are built with another
`time.Now` in Go's own library (`go build -overlay`): whatever of CometBFT asks for the time is told a skewed one.
"""

import json
import os
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from abci_app.config import COMET_VERSION

NOW = re.compile(r"(func Now\(\) Time \{\n\tsec, nsec, mono := \w+\(\)\n)")
SKEW = """package time

import "syscall"

var skewSeconds = readSkew()

func readSkew() (seconds int64) {
	text, _ := syscall.Getenv("PLANETSERVE_CLOCK_SKEW")
	for _, digit := range text {
		if digit >= '0' && digit <= '9' {
			seconds = seconds*10 + int64(digit-'0')
		}
	}
	if text != "" && text[0] == '-' {
		seconds = -seconds
	}
	return
}
"""


@pytest.fixture(scope="session")
def skewed_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CometBFT of the pinned version, which adds PLANETSERVE_CLOCK_SKEW seconds to every reading of the clock."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("building a CometBFT with a skewed clock needs Go on PATH")
    folder = tmp_path_factory.mktemp("skewed")
    root = Path(subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip())
    sources = root / "src" / "time"
    patched, count = NOW.subn(r"\1\tsec += skewSeconds\n", (sources / "time.go").read_text())
    assert count == 1, "time.Now of this Go is written differently"
    (folder / "time.go").write_text(patched)
    (folder / "skew.go").write_text(SKEW)
    overlay = {str(sources / "time.go"): str(folder / "time.go"), str(sources / "skew.go"): str(folder / "skew.go")}
    (folder / "overlay.json").write_text(json.dumps({"Replace": overlay}))
    module = f"github.com/cometbft/cometbft/cmd/cometbft@v{COMET_VERSION}"
    env = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        [go, "install", "-overlay", str(folder / "overlay.json"), module], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"CometBFT cannot be built here: {done.stderr[-500:]}")
    return folder / "cometbft"


@pytest.mark.slow
@pytest.mark.parametrize(
    "skews", [{3: 600}, {3: -30}, {3: -600}, {2: 600, 3: -600}], ids=["ahead", "a little behind", "far behind", "both"]
)
def test_f07_block_time_and_epochs_do_not_follow_a_wrong_clock(
    make_chain: Any,
    fast: Any,
    skewed_binary: Path,
    comet_binary: Path,
    stamp: Any,
    until: Any,
    registration: Any,
    committed: Any,
    same_everywhere: Any,
    measured: Any,
    skews: dict[int, int],
) -> None:
    chain = make_chain(4, params=fast, interval_ms=200)
    # A node whose clock has not reached the genesis time waits for it.
    earlier = (datetime.now(UTC) - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    for path in (chain.genesis, *(v.home / "comet" / "config" / "genesis.json" for v in chain.validators)):
        path.write_text(re.sub(r'"genesis_time": "[^"]*"', f'"genesis_time": "{earlier}"', path.read_text()))
    for at, seconds in skews.items():
        config = chain.validators[at].home / "config.toml"
        config.write_text(config.read_text().replace(str(comet_binary), str(skewed_binary)))
        chain.validators[at].env["PLANETSERVE_CLOCK_SKEW"] = str(seconds)
    chain.start()
    behind = [chain.validators[at] for at, seconds in skews.items() if seconds < -60]
    sound = [validator for validator in chain.validators if validator not in behind]
    witness = sound[0]
    until(lambda: witness.height() >= 3, witness.log)
    raw = registration(1)
    assert committed(sound[-1], raw).get("code", 0) == 0
    until(lambda: min(validator.height() for validator in sound) >= 30, witness.log)
    times = [stamp(witness, height) for height in range(2, 31)]
    assert times == sorted(times) and len(set(times)) == len(times), "time went back"
    off = max(abs(time.time() - (times[-1] + (witness.height() - 30) * 0.4)), 0.0)
    if len(skews) == 1:
        assert off < 60, "the minority's clock is the chain's"
    epochs = [
        event for h in range(1, 31) for event in witness.call("block_results", height=str(h)).get("finalize_block_events") or ()
    ]
    begun = [event for event in epochs if event["type"] == "epoch_begun"]
    assert len(begun) >= 1, "epochs are counted in blocks"
    for validator in behind:
        assert "is too far in the future" in validator.log(), "CometBFT says why this node takes no block"
        assert validator.stop() == 0
        validator.env["PLANETSERVE_CLOCK_SKEW"] = "0"
        validator.start()
        until(lambda v=validator: v.height() >= witness.height(), validator.log)
    height = same_everywhere(chain)
    measured(
        "F7",
        skews=skews,
        heights=height,
        chain_clock_off_s=round(off, 1),
        slowest_block_s=round(max(b - a for a, b in pairwise(times)), 2),
    )
