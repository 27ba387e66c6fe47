"""The CometBFT under a validator's supervisor: its command line, its environment, and what it said when it ended."""

import os
import re
import sys
from collections import deque
from collections.abc import Mapping, Sequence

from abci_app.aio.children import Child
from abci_app.config import ValidatorConfig

# What CometBFT says when starting it again cannot help, and what the operator can do.
HOPELESS = {
    "is higher than core": "the application's data is ahead of CometBFT's, as after restoring an older CometBFT; "
    "move the [app] data directory away, CometBFT replays its blocks into a new one",
    "AppHash does not match": "the application's data and CometBFT's blocks disagree; move the [app] data directory away to "
    "replay the chain",
    "is too far below block store base": "CometBFT has pruned the blocks that the application's data lacks; restore a snapshot "
    "(`planetserve validator restore`), or reset the validator and let it fetch the state from its peers",
    "wrong Block.Header.AppHash": "this replica's ledger differs from its peers'; `planetserve validator reset` throws its "
    "data away (keys and signing state stay), and the next start fetches the chain from the peers",
}
# After this its process lives on, answers its RPC, and decides nothing any more (full disk, another app hash than its peers').
_CONSENSUS_FAILURE = re.compile(r'CONSENSUS FAILURE!!!.*? err="((?:[^"\\]|\\.)*)"')


class CometBFT(Child):
    """One running CometBFT. Its lines pass through us to stderr; the last ones are kept to explain its end."""

    def __init__(self, config: ValidatorConfig, keep: Sequence[int]) -> None:
        super().__init__("CometBFT", command(config), env=environment(config), piped=True, keep=keep)
        assert self.process.stdout is not None
        self._pipe = self.process.stdout
        self._tail: deque[str] = deque(maxlen=20)
        self._rest = b""
        self.fault = ""  # why it decides nothing any more, though its process lives
        os.set_blocking(self._pipe.fileno(), False)

    @property
    def descriptor(self) -> int | None:
        """What becomes readable when it says something; None when it never will again."""
        return None if self._pipe.closed else self._pipe.fileno()

    def read(self) -> None:
        """Pass on what it has said."""
        while not self._pipe.closed:
            data = self._pipe.read(65536)
            if data is None:
                return
            if not data:
                self._pipe.close()
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                self._tail.append(text)
                if failure := _CONSENSUS_FAILURE.search(text):
                    self.fault = failure[1]
                print(text, file=sys.stderr, flush=True)

    def describe_end(self) -> str:
        """How it ended, or what it will never recover from."""
        return f"CometBFT decides nothing any more ({self.fault})" if self.fault else super().describe_end()

    def hopeless(self) -> str | None:
        """What the operator must do before it can start again; None when starting again may help."""
        self.read()
        said = "\n".join(self._tail)
        return next((advice for words, advice in HOPELESS.items() if words in said), None)


def command(config: ValidatorConfig) -> list[str]:
    """Addresses are passed as flags, so that they are written in one place: our config.toml."""
    comet = config.comet
    words = [
        str(comet.binary),
        "start",
        f"--home={comet.home}",
        f"--proxy_app=unix://{config.socket}",
        f"--rpc.laddr=tcp://{comet.rpc}",
        f"--p2p.laddr=tcp://{comet.p2p}",
    ]
    if comet.priv_validator_laddr:
        words.append(f"--priv_validator_laddr={comet.priv_validator_laddr}")
    return words


def environment(config: ValidatorConfig) -> Mapping[str, str]:
    """What has no flag: CometBFT takes a key of its config.toml from CMT_TABLE_KEY, if the file has the key at all."""
    words = {"GOMAXPROCS": "1", "GOGC": "50"}
    sync, prometheus = config.comet.statesync, config.comet.prometheus
    if sync is not None:
        words |= {
            "CMT_STATESYNC_ENABLE": "true",
            "CMT_STATESYNC_RPC_SERVERS": ",".join(sync.rpc_servers),
            "CMT_STATESYNC_TRUST_HEIGHT": str(sync.trust_height),
            "CMT_STATESYNC_TRUST_HASH": sync.trust_hash,
            "CMT_STATESYNC_TRUST_PERIOD": sync.trust_period,
        }
    if prometheus is not None:
        words |= {
            "CMT_INSTRUMENTATION_PROMETHEUS": "true",
            "CMT_INSTRUMENTATION_PROMETHEUS_LISTEN_ADDR": str(prometheus),
        }
    return words
