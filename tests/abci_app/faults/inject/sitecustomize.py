"""Faults inside a real application process. Tests put this folder on PYTHONPATH, and Python imports it at its start.

The product has no hook: when `abci_app.abci.dispatch` is imported, its `answer` is wrapped here. Orders are JSON files in
the folder that PLANETSERVE_FAULTS names, read at every call, so a test gives and takes them while the process runs:

crash.json     {"method", "phase": "before" | "during" | "after", "calls"}: SIGKILL, obeyed once. `during` dies at the given
               number of Python calls within the method, `after` when the work is done and before the answer is sent.
delays.json    {method: seconds}: the method sleeps first, and with it the whole process.
proposer.json  {"txs": [hex, ...]}: a byzantine proposer's block, made whatever the mempool holds, and accepted by itself.
refuse.json    {}: every proposal is rejected.
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


def ordered_answer(dispatch: ModuleType, method: str, request: Any) -> bytes | None:
    """What a misbehaving validator answers; None when it behaves."""
    abci = dispatch.abci
    block = order("proposer")
    if block is not None and method in ("prepare_proposal", "process_proposal"):
        txs = [bytes.fromhex(tx) for tx in block["txs"]]
        if method == "prepare_proposal":
            return bytes(abci.Response(prepare_proposal=abci.ResponsePrepareProposal(txs=txs)).SerializeToString())
        if list(request.txs) == txs:
            return bytes(abci.Response(process_proposal=abci.ResponseProcessProposal(status=1)).SerializeToString())
    if method == "process_proposal" and order("refuse") is not None:
        return bytes(abci.Response(process_proposal=abci.ResponseProcessProposal(status=2)).SerializeToString())
    return None


def wrap(dispatch: ModuleType) -> None:
    answer: Callable[..., bytes] = dispatch.answer

    def faulty(app: Any, method: str, request: Any, *rest: Any) -> bytes:
        time.sleep((order("delays") or {}).get(method, 0))
        misbehaving = ordered_answer(dispatch, method, request)
        if misbehaving is not None:
            return misbehaving
        if method == "commit" and (torn := order("torn", once=True)) is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (torn["bytes"], torn["bytes"]))
        crash = order("crash") or {}
        if crash.get("method") != method:
            return answer(app, method, request, *rest)
        order("crash", once=True)
        if crash["phase"] == "before":
            die(crash, "before")
        if crash["phase"] == "during":
            sys.setprofile(dying_after(crash))
        answer(app, method, request, *rest)
        sys.setprofile(None)
        die(crash, "after")
        raise AssertionError("a killed process goes on")

    dispatch.answer = faulty  # type: ignore[attr-defined]


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
