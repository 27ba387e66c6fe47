"""Results by way of bytes are what protobuf makes of the fields."""

from hypothesis import given
from hypothesis import strategies as st

from abci_app.abci import results
from abci_app.abci.pb import types_pb2 as types
from abci_app.state.context import Event
from abci_app.state.transition import TxResult

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.just("x" * 700)
events = st.builds(Event, texts, st.lists(st.tuples(texts, texts), max_size=3).map(tuple))


@given(st.builds(TxResult, st.integers(0, 300), texts, st.lists(events, max_size=3).map(tuple), texts))
def test_results_are_what_protobuf_makes_of_the_fields(result: TxResult) -> None:
    plain = [
        types.Event(type=event.kind, attributes=[types.EventAttribute(key=k, value=v, index=True) for k, v in event.attributes])
        for event in result.events
    ]
    expected = types.ExecTxResult(code=result.code, log=result.log, events=plain, codespace=result.codespace)
    assert results.tx_result(result) == expected
    assert results.tx_result(result).SerializeToString() == expected.SerializeToString()
