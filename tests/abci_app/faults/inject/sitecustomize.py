"""Faults inside a real application process. Tests put this folder on PYTHONPATH, and Python imports it at its start.

The product has no hook: when `abci_app.abci.dispatch` is imported, its `respond` is wrapped here. Orders are JSON files in
the folder that PLANETSERVE_FAULTS names, read at every call, so a test gives and takes them while the process runs:

crash.json     {"method", "phase": "before" | "during" | "after", "calls"}: SIGKILL, obeyed once. `during` dies at the given
               number of Python calls within the method, `after` when the work is done and before the answer is sent.
delays.json    {method: seconds}: the method sleeps first, and with it the whole process.
proposer.json  {"txs": [hex, ...]}: a byzantine proposer's block, made whatever the mempool holds, and accepted by itself.
refuse.json    {}: every proposal is rejected.
wrong_hash.json  {}: FinalizeBlock answers another app hash than the one it has computed.
snapshots.json {"lie"}: snapshots are offered and their chunks handed out as a malicious peer would.
torn.json      {"bytes"}: at the next Commit no file of this process may grow further than this; the kernel then cuts the
               write short and ends the process with SIGXFSZ.
"""

import importlib.util
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

FOLDER = Path(os.environ.get("PLANETSERVE_FAULTS", "/nonexistent"))
WRAPPED = "abci_app.abci.dispatch"


def order(name: str, *, once: bool = False) -> Any:
    """The order of this name, or None."""
    path = FOLDER / f"{name}.json"
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if once:
        path.unlink()
    return found


def die(crash: dict[str, Any], where: str) -> None:
    (FOLDER / "crashed.json").write_text(json.dumps({**crash, "where": where}))
    os.kill(os.getpid(), signal.SIGKILL)


def dying_after(crash: dict[str, Any]) -> Callable[[FrameType, str, Any], None]:
    """A profile function that ends the process at the ordered call."""
    left = int(crash["calls"])

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal left
        if event == "call":
            left -= 1
            if left <= 0:
                sys.setprofile(None)
                die(crash, f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}")

    return profile


def ordered_answer(abci: Any, method: str, request: Any) -> Any:
    """What a misbehaving validator answers; None when it behaves."""
    block = order("proposer")
    if block is not None and method in ("prepare_proposal", "process_proposal"):
        txs = [bytes.fromhex(tx) for tx in block["txs"]]
        if method == "prepare_proposal":
            return abci.Response(prepare_proposal=abci.ResponsePrepareProposal(txs=txs))
        if list(request.txs) == txs:
            return abci.Response(process_proposal=abci.ResponseProcessProposal(status=1))
    if method == "process_proposal" and order("refuse") is not None:
        return abci.Response(process_proposal=abci.ResponseProcessProposal(status=2))
    return None


def bend_snapshots(response: Any, lie: str) -> None:
    """Make this answer to a peer a lie, and note that a lie was told."""
    before = response.SerializeToString()
    for snapshot in response.list_snapshots.snapshots if response.HasField("list_snapshots") else ():
        if lie == "metadata":
            snapshot.metadata = snapshot.metadata[:-1] + bytes([snapshot.metadata[-1] ^ 1])
        elif lie == "endless":
            snapshot.chunks = 90_000
        elif lie == "another chain":
            snapshot.metadata = bytes(len(snapshot.metadata))
            snapshot.hash = bytes(32)
    if response.HasField("load_snapshot_chunk"):
        chunk = response.load_snapshot_chunk.chunk
        if lie == "chunk" and chunk:
            response.load_snapshot_chunk.chunk = chunk[:-1] + bytes([chunk[-1] ^ 1])
        elif lie == "empty chunk":
            response.load_snapshot_chunk.chunk = b""
    if response.SerializeToString() != before:
        (FOLDER / "lied").write_text(lie)


def wrap(dispatch: ModuleType) -> None:
    respond: Callable[[Any, str, Any], Any] = dispatch.respond

    def faulty(app: Any, method: str, request: Any) -> Any:
        time.sleep((order("delays") or {}).get(method, 0))
        misbehaving = ordered_answer(dispatch.abci, method, request)
        if misbehaving is not None:
            return misbehaving
        if method == "commit" and (torn := order("torn", once=True)) is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (torn["bytes"], torn["bytes"]))
        if method == "finalize_block" and order("wrong_hash") is not None:
            response = respond(app, method, request)
            response.finalize_block.app_hash = bytes(32)
            return response
        if method.endswith(("_snapshots", "_chunk")) and (bent := order("snapshots")) is not None:
            response = respond(app, method, request)
            bend_snapshots(response, bent["lie"])
            return response
        crash = order("crash") or {}
        if crash.get("method") != method:
            return respond(app, method, request)
        order("crash", once=True)
        if crash["phase"] == "before":
            die(crash, "before")
        if crash["phase"] == "during":
            sys.setprofile(dying_after(crash))
        respond(app, method, request)
        sys.setprofile(None)
        die(crash, "after")
        raise AssertionError("a killed process goes on")

    dispatch.respond = faulty  # type: ignore[attr-defined]


class Finder(MetaPathFinder):
    """Finds the wrapped module as everybody else does, and wraps it once it has been executed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != WRAPPED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_wrap(module: ModuleType) -> None:
            execute(module)
            wrap(module)

        spec.loader.exec_module = execute_and_wrap  # type: ignore[method-assign]
        return spec


if "PLANETSERVE_FAULTS" in os.environ:
    sys.meta_path.insert(0, Finder())
