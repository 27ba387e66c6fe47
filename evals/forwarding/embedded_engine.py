"""One llama.cpp server with a real model, for routers: `python -m evals.forwarding.embedded_engine --port 24201 --model FILE`.

The same engine and settings as the embedded one of a model node (`serving_node/aio/llama_child.py`), but open to every
router on this machine: no key, on loopback, and without the memory of prefixes that lost their slot, so that what is
cached is what the slots hold. One line of JSON on stdout once it listens.
"""

import argparse
import json
import os
import signal
from pathlib import Path

import xllamacpp

from serving_node.aio.llama_child import parameters


def main() -> None:
    """Load the model, say so, and wait to be ended."""
    parser = argparse.ArgumentParser(prog="python -m evals.forwarding.embedded_engine", description="A real engine.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--context", type=int, default=4096, help="of all slots together")
    options = parser.parse_args()
    settings = {
        "model_path": str(options.model),
        "host": "127.0.0.1",
        "port": options.port,
        "api_key": "",
        "context": options.context,
        "slots": options.slots,
        "threads": 1,
    }
    shape = parameters(settings)
    shape.api_keys = []
    shape.model_alias = {options.model.stem}
    shape.cache_ram_mib = 0
    shape.endpoint_slots = True
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = xllamacpp.Server(shape)
    print(json.dumps({"listening": server.listening_address}), flush=True)
    signal.sigwait({signal.SIGTERM})
    os._exit(0)


if __name__ == "__main__":
    main()
