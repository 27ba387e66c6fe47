"""Credit: never lost, never exceeded, whatever the order in which cells and credit arrive."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.errors import DecodeError
from network.flow import Flow
from network.terms import Terms

SMALL = Terms(window=8, credit_every=3)


@pytest.mark.parametrize("wrong", [{"window": 0}, {"window": 2**16}, {"window": 8, "credit_every": 9}, {"rekey_every": 0}])
def test_terms_that_nobody_can_keep_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Terms(**wrong)


def test_credit_for_cells_that_were_never_sent_is_refused() -> None:
    flow = Flow(SMALL)
    for count in (0, 1, 9):
        with pytest.raises(DecodeError):
            flow.grant(count)
    flow.hold(b"cell", 0.0)
    assert flow.next_cell() == b"cell" and flow.credit == 7
    flow.grant(1)
    with pytest.raises(DecodeError):
        flow.grant(1)


class Line:
    """A sender, a node between, a receiver; links are queues, and every step moves one thing."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.sender, self.node = Flow(terms), Flow(terms)
        self.receiver = Flow(terms)
        self.made = 0
        self.got: list[bytes] = []
        self.first: deque[bytes] = deque()
        self.second: deque[bytes] = deque()
        self.credit_to_sender: deque[int] = deque()
        self.credit_to_node: deque[int] = deque()

    def step(self, what: int) -> None:
        if what == 0:
            self.sender.hold(self.made.to_bytes(4, "big"), 0.0)
            self.made += 1
        elif what == 1 and self.first:
            assert not self.node.is_full, "an honest sender never exceeds its credit"
            self.node.hold(self.first.popleft(), 0.0)
        elif what == 2 and self.second:
            self.got.append(self.second.popleft())
            if count := self.receiver.pass_on():
                self.credit_to_node.append(count)
        elif what == 3 and self.credit_to_sender:
            self.sender.grant(self.credit_to_sender.popleft())
        elif what == 4 and self.credit_to_node:
            self.node.grant(self.credit_to_node.popleft())
        while (cell := self.sender.next_cell()) is not None:
            self.first.append(cell)
        while (cell := self.node.next_cell()) is not None:
            self.second.append(cell)
            if count := self.node.pass_on():
                self.credit_to_sender.append(count)

    def check(self) -> None:
        window = self.terms.window
        unacknowledged = len(self.first) + self.node.held + self.node.passed + sum(self.credit_to_sender)
        assert self.sender.credit + unacknowledged == window
        assert self.node.credit + len(self.second) + self.receiver.passed + sum(self.credit_to_node) == window
        assert self.node.held + self.node.passed <= window


@given(
    st.lists(st.integers(0, 4), max_size=300),
    st.sampled_from([SMALL, Terms(window=1, credit_every=1), Terms(window=5, credit_every=5)]),
)
@settings(max_examples=120, deadline=None)
def test_credit_is_neither_lost_nor_exceeded(steps: list[int], terms: Terms) -> None:
    line = Line(terms)
    for what in steps:
        line.step(what)
        line.check()
    for _ in range(5 * line.made + 5):
        for what in (1, 2, 3, 4):
            line.step(what)
            line.check()
    assert line.got == [number.to_bytes(4, "big") for number in range(line.made)]
