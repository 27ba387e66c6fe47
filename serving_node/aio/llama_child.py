"""The embedded engine's own process: llama.cpp's server, hosted through `xllamacpp`, on a loopback address.

Reads its settings as one JSON line from stdin (a secret must not show in a process list), writes one JSON line to stdout
once it listens, and runs until it is told to end. Nothing else of the project imports `xllamacpp`.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import xllamacpp

# Prompts are taken in steps of this many tokens: a cancelled one stops, and another's tokens flow, between two steps.
STEP_TOKENS = 32
# The server erases slots only when it may also save them; nothing can be saved below this.
NO_FOLDER = "/dev/null/"
# Prompt prefixes that lost their slot are kept in memory up to this much, and come back without being computed again.
PREFIX_CACHE_MIB = 32


def parameters(settings: Mapping[str, Any]) -> Any:
    """The server's settings (`serving_node/README.md` section 2 gives the reasons)."""
    params = xllamacpp.CommonParams()
    params.model.path = settings["model_path"]
    params.hostnames = [settings["host"]]
    params.port = settings["port"]
    params.api_keys = [settings["api_key"]]
    params.n_ctx = settings["context"]
    params.n_parallel = settings["slots"]
    params.kv_unified = False
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    # An answer and the erasure that waits for its end, for every slot, and two for all else.
    params.n_threads_http = 2 * settings["slots"] + 2
    params.slot_save_path = NO_FOLDER
    params.n_batch = STEP_TOKENS
    params.n_ubatch = STEP_TOKENS
    params.cache_ram_mib = PREFIX_CACHE_MIB
    params.warmup = False
    params.fit_params = False
    params.ctx_shift = False
    params.endpoint_metrics = True
    params.ui = False
    params.verbosity = 1
    return params


def main() -> None:
    """Load the model, say so, and wait to be ended."""
    settings = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        server = xllamacpp.Server(parameters(settings))
    except RuntimeError as error:
        print(json.dumps({"error": str(error) or "the model could not be loaded"}), flush=True)
        os._exit(1)
    print(json.dumps({"listening": server.listening_address}), flush=True)
    signal.sigwait({signal.SIGTERM})
    # The server's threads have no orderly end from here; nothing of theirs outlives the process.
    os._exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
