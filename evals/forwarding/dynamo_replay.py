"""Dynamo's offline replayer on one trace, run by the Python of `dynamo_check.py`'s own environment; prints one JSON line.

Imports nothing of ours. Arguments: trace, round_robin or kv_router, workers, 64-token blocks per worker, speed.
"""

import importlib
import json
import sys


def main() -> int:
    """One replay with a vLLM-like engine of the replayer's own default timing."""
    trace, mode, workers, blocks, speed = sys.argv[1:]
    core = importlib.import_module("dynamo._core")
    engine = {"backend": "vllm", "num_gpu_blocks": int(blocks), "block_size": 64, "max_num_seqs": 256}
    arguments = core._normalize_mocker_config({"engine": {**engine, "max_num_batched_tokens": 8192}})
    summary = core.run_mocker_trace_replay(
        [trace],
        extra_engine_args=arguments,
        num_workers=int(workers),
        router_mode=mode,
        router_config=core.KvRouterConfig() if mode == "kv_router" else None,
        trace_block_size=512,
        arrival_speedup_ratio=float(speed),
    ).summary
    print(json.dumps(summary() if callable(summary) else summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
