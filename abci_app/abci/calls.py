"""What the call order depends on in ABCI's requests and answers: protobuf to `order.Call`."""

from typing import Any

from abci_app.abci.order import Call, CallOrder

_ACCEPTED = 1
_BILLION = 1_000_000_000


def call_of(method: str, request: Any) -> Call:
    """The call that a decoded request makes."""
    if method == "finalize_block":
        return Call(method, request.height, request.hash, request.time.seconds * _BILLION + request.time.nanos)
    if method in ("process_proposal", "extend_vote", "verify_vote_extension"):
        return Call(method, request.height, request.hash)
    if method == "prepare_proposal":
        return Call(method, request.height)
    if method == "init_chain":
        return Call(method, request.initial_height)
    if method == "offer_snapshot":
        return Call(method, request.snapshot.height, number=request.snapshot.chunks)
    if method == "apply_snapshot_chunk":
        return Call(method, number=request.index)
    return Call(method)


def answered(order: CallOrder, call: Call, response: Any) -> None:
    """Tell the checker how the call was answered. Raises OrderViolation when Info does not fit what was committed."""
    if call.method in ("offer_snapshot", "apply_snapshot_chunk"):
        order.end(call, accepted=response.result == _ACCEPTED)
    elif call.method == "info":
        order.end(call, height=response.last_block_height)
    else:
        order.end(call)
