"""Results and events as ABCI messages, by way of their bytes: several times as fast as field by field, and a block has
some five attributes per transaction."""

from collections.abc import Iterable

from abci_app.abci.framing import frame
from abci_app.abci.pb import types_pb2 as types
from abci_app.state.context import Event
from abci_app.state.transition import TxResult

# Tags of length-delimited fields: Event{type 1, attributes 2}, EventAttribute{key 1, value 2, index 3 = true}.
_FIRST, _SECOND, _INDEXED = b"\x0a", b"\x12", b"\x18\x01"


def tx_result(result: TxResult) -> types.ExecTxResult:
    """What became of one transaction."""
    return types.ExecTxResult(code=result.code, log=result.log, events=events(result.events), codespace=result.codespace)


def events(found: Iterable[Event]) -> list[types.Event]:
    """Events with all attributes indexed."""
    return [types.Event.FromString(_event(event)) for event in found]


def _event(event: Event) -> bytes:
    parts = [_FIRST, frame(event.kind.encode())]
    for key, value in event.attributes:
        parts += [_SECOND, frame(_FIRST + frame(key.encode()) + _SECOND + frame(value.encode()) + _INDEXED)]
    return b"".join(parts)
