"""The newest trusted block on disk, so that a restart needs no walk from the trust root; and evidence of a fork.

The file is a trust root as the genesis file is one: whole or absent, readable by its owner only, and good only for the
root it grew from. What does not check out is left aside with a word in the log.
"""

import json
import logging
from pathlib import Path
from typing import Any

from network.aio import files
from network.light import check_block
from network.light_headers import LightBlock
from network.light_json import light_block
from network.light_render import light_block_json
from network.proof import ProofRejected

log = logging.getLogger(__name__)

FORMAT = 1


def recall(path: Path, chain_id: str, root: bytes) -> LightBlock | None:
    """The block in the file, if there is one that grew from this root and is whole."""
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT or document["root"] != root.hex():
            raise ProofRejected("it is of another release, another chain or another trust root")
        block = light_block(document["light_block"])
        check_block(chain_id, block)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ProofRejected) as error:
        log.warning("the remembered block is not used", extra={"fields": {"file": path, "reason": error}})
        return None
    return block


def remember(path: Path, block: LightBlock, root: bytes) -> None:
    """Replace the file's block. A disk that does not take it costs a longer start, no more."""
    _write(path, {"format": FORMAT, "root": root.hex(), "light_block": light_block_json(block)})


def keep_evidence(path: Path, documents: list[dict[str, Any]]) -> None:
    """Write evidence of a fork where a person will find it."""
    _write(path, {"evidence": documents})


def _write(path: Path, document: dict[str, Any]) -> None:
    try:
        files.replace(path, json.dumps(document))
    except OSError as error:
        log.warning("a file of the light client was not written", extra={"fields": {"file": path, "reason": error}})
