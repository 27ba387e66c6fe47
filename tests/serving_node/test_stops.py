"""Stop strings: found wherever the stream is cut, never sent, nothing else withheld at the end."""

from hypothesis import given
from hypothesis import strategies as st

from serving_node.stops import StopFinder


def run(text: str, stops: tuple[str, ...], cuts: list[int]) -> tuple[str, bool]:
    finder, sent, at = StopFinder(stops), "", 0
    for end in [*sorted(cuts), len(text)]:
        sent += finder.feed(text[at:end])
        at = max(at, end)
        if finder.found:
            return sent, True
    return sent + finder.rest(), False


@given(
    st.text("ab", max_size=30),
    st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(0, 30), max_size=6),
)
def test_the_cuts_of_the_stream_change_nothing(text: str, stops: list[str], cuts: list[int]) -> None:
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    inside = [min(cut, len(text)) for cut in cuts]
    sent, found = run(text, tuple(stops), inside)
    assert found == bool(ends)
    if not found:
        assert sent == text
    else:
        # Of several stops the one that is complete first decides; its text and all that follows is not sent.
        assert text.startswith(sent) and not any(stop in sent for stop in stops)


def test_only_what_may_begin_a_stop_is_held_back() -> None:
    finder = StopFinder(("STOP",))
    assert finder.feed("go on ST") == "go on "
    assert finder.feed("ILL") == "STILL" and not finder.found
    assert finder.feed(" STOP now") == " " and finder.found
