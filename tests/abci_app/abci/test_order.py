"""The order of calls: what one CometBFT node does is let through, everything else is refused when it comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abci_app.abci.order import KINDS, Call, CallOrder, Kind, OrderViolation, WrongConnection

QUERY, SNAPSHOT, MEMPOOL, CONSENSUS = range(4)
CONNECTIONS = {Kind.QUERY: QUERY, Kind.SNAPSHOT: SNAPSHOT, Kind.MEMPOOL: MEMPOOL, Kind.CONSENSUS: CONSENSUS}


def do(order: CallOrder, *calls: Call, accepted: bool = True) -> None:
    """Each call on its connection, answered; Info with the right height."""
    for call in calls:
        order.begin(CONNECTIONS[KINDS[call.method]], call)
        order.end(call, accepted=accepted, height=order.height)


def height(number: int, *, time: int = 0) -> list[Call]:
    block = bytes([number])
    shown = [Call("prepare_proposal", number), Call("process_proposal", number, block)]
    return [*shown, Call("finalize_block", number, block, time or number), Call("commit")]


INIT = Call("init_chain", 1)


def test_a_life_of_a_chain() -> None:
    order = CallOrder(0)
    do(order, Call("info"), INIT, INIT, Call("check_tx"), *height(1), Call("check_tx"), Call("query"))
    do(order, Call("process_proposal", 2, b"a"), Call("process_proposal", 2, b"b"), Call("extend_vote", 2, b"b"))
    do(order, Call("verify_vote_extension", 2, b"c"), Call("finalize_block", 2, b"b", 5), Call("commit"), Call("info"))
    do(order, Call("list_snapshots"), Call("load_snapshot_chunk"), *height(3, time=6))
    assert (order.height, order.unseen) == (3, 0)
    do(order, Call("process_proposal", 4, b"a"), Call("finalize_block", 4, b"b", 7), Call("commit"))
    assert order.unseen == 1, "another round's block, got from a peer"


def test_a_replay_begins_where_the_application_is() -> None:
    order = CallOrder(7)
    do(order, Call("info"), Call("finalize_block", 8, b"x", 3))
    order.closed(CONSENSUS)
    do(order, Call("finalize_block", 8, b"x", 3), Call("commit"), Call("finalize_block", 9, b"y", 4), Call("commit"))
    assert order.height == 9


def test_a_chain_that_goes_on_from_an_export_begins_above_one() -> None:
    order = CallOrder(0)
    do(order, Call("init_chain", 41), *height(41))
    assert order.height == 41


def test_a_state_sync() -> None:
    order = CallOrder(0)
    offer = Call("offer_snapshot", 50, number=2)
    do(order, offer, accepted=False)
    do(order, offer, Call("apply_snapshot_chunk", number=0), Call("info"))
    do(order, Call("apply_snapshot_chunk", number=1), accepted=False)
    do(order, Call("apply_snapshot_chunk", number=1))
    with pytest.raises(OrderViolation, match="before Info"):
        do(order, Call("finalize_block", 51, b"x", 1))
    do(order, Call("info"), *height(51))


@pytest.mark.parametrize(
    ("before", "call", "why"),
    [
        ([], Call("finalize_block", 1), "before InitChain"),
        ([], Call("commit"), "before InitChain"),
        ([INIT], Call("commit"), "without FinalizeBlock"),
        ([INIT], Call("finalize_block", 2), "expected 1"),
        ([INIT, *height(1)], Call("finalize_block", 3, b"", 9), "expected 2"),
        ([INIT, *height(1)], Call("finalize_block", 1, b"", 9), "expected 2"),
        ([INIT, *height(1)], Call("finalize_block", 2, b"", 1), "not later"),
        ([INIT, *height(1)], Call("process_proposal", 1), "expected 2"),
        ([INIT, *height(1)], Call("prepare_proposal", 3), "expected 2"),
        ([INIT, *height(1)], INIT, "InitChain at height 1"),
        ([INIT, *height(1)[:3]], INIT, "InitChain at height 0"),
        ([INIT, *height(1)[:3]], Call("process_proposal", 1), "between FinalizeBlock and Commit"),
        ([INIT, *height(1)[:3]], Call("finalize_block", 1), "between FinalizeBlock and Commit"),
        ([INIT, *height(1)], Call("extend_vote", 2, b"x"), "not shown"),
        ([INIT], Call("offer_snapshot", 9, number=1), "OfferSnapshot to an application"),
        ([], Call("apply_snapshot_chunk"), "without an accepted snapshot"),
        ([Call("offer_snapshot", 9, number=1)], Call("apply_snapshot_chunk", number=1), "chunk 1 of 1"),
        ([Call("offer_snapshot", 9, number=1)], INIT, "before Info"),
    ],
)
def test_what_no_node_asks(before: list[Call], call: Call, why: str) -> None:
    order = CallOrder(0)
    do(order, *before)
    with pytest.raises(OrderViolation, match=why):
        do(order, call)


def test_a_vote_is_extended_once() -> None:
    order = CallOrder(4)
    do(order, Call("process_proposal", 5, b"x"), Call("extend_vote", 5, b"x"))
    with pytest.raises(OrderViolation, match="twice"):
        do(order, Call("extend_vote", 5, b"x"))


def test_connections_keep_their_kind_and_there_is_one_of_each() -> None:
    order = CallOrder(3)
    assert not order.passes(MEMPOOL, "check_tx")
    do(order, Call("info"), Call("finalize_block", 4, b"x", 1), Call("check_tx"))
    assert order.passes(MEMPOOL, "check_tx") and not order.passes(QUERY, "check_tx") and not order.passes(MEMPOOL, "commit")
    with pytest.raises(WrongConnection, match="on the query connection"):
        order.begin(QUERY, Call("commit"))
    with pytest.raises(WrongConnection, match="second consensus"):
        order.begin(9, Call("commit"))
    order.closed(CONSENSUS)
    with pytest.raises(OrderViolation, match="without FinalizeBlock"):
        order.begin(9, Call("commit"))


def test_info_must_say_what_was_committed() -> None:
    order = CallOrder(3)
    order.begin(QUERY, Call("info"))
    with pytest.raises(OrderViolation, match="Info says"):
        order.end(Call("info"), height=2)


def test_a_snapshot_that_was_not_restored_is_forgotten_with_its_connection() -> None:
    order = CallOrder(0)
    do(order, Call("offer_snapshot", 9, number=2), Call("apply_snapshot_chunk", number=0))
    order.closed(SNAPSHOT)
    do(order, INIT, *height(1))


METHODS = st.sampled_from([method for method in KINDS if method != "check_tx"])


@given(st.lists(st.tuples(METHODS, st.integers(0, 3), st.integers(0, 2)), max_size=40))
def test_what_is_let_through_fits_the_published_grammar(steps: list[tuple[str, int, int]]) -> None:
    """Per height: any of Prepare, Process, Extend, Verify, then FinalizeBlock, then Commit; heights without a gap."""
    order = CallOrder(0)
    accepted: list[Call] = []
    for method, at, number in steps:
        call = Call(method, 1 if method == "init_chain" else at, bytes([number]), len(accepted) + 1, number)
        try:
            do(order, call)
        except OrderViolation:
            continue
        if KINDS[method] is Kind.CONSENSUS:
            accepted.append(call)
    committed, finalized = order.height - sum(call.method == "commit" for call in accepted), False
    for call in accepted:
        assert finalized == (call.method == "commit")
        if call.method == "commit":
            committed += 1
        elif call.method != "init_chain":
            assert call.height == committed + 1
        finalized = call.method == "finalize_block"
