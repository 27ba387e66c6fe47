"""The signing state and its mark: what is read, what is refused, and that neither order nor rendering loses anything."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abci_app.guard import Signed, parse_signed, refuse_older, render_signed
from network.errors import ConfigError

SIGNED = st.builds(Signed, st.integers(0, 2**63 - 1), st.integers(0, 2**31 - 1), st.integers(0, 3))


def test_cometbft_s_file_is_read() -> None:
    raw = b'{"height": "12", "round": 1, "step": 3, "signature": "AA==", "signbytes": "00"}'
    assert parse_signed(raw, "f") == Signed(12, 1, 3)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"height": "x", "round": 0, "step": 0}',
        b'{"height":"1","round":-1,"step":0}',
        b'{"height":"1","round":Infinity,"step":0}',
        b"[" * 100_000,
    ],
)
def test_anything_else_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(ConfigError, match="the/file"):
        parse_signed(raw, "the/file")


@given(SIGNED)
def test_rendering_keeps_the_state_and_no_signature(signed: Signed) -> None:
    assert parse_signed(render_signed(signed).encode(), "f") == signed
    assert set(json.loads(render_signed(signed))) == {"height", "round", "step"}


@given(SIGNED, SIGNED)
def test_only_a_state_behind_the_mark_is_refused(state: Signed, mark: Signed) -> None:
    if (state.height, state.round, state.step) < (mark.height, mark.round, mark.step):
        with pytest.raises(ConfigError, match="an older copy"):
            refuse_older(state, mark, "f")
    else:
        refuse_older(state, mark, "f")


def test_a_missing_state_is_refused_with_or_without_a_mark() -> None:
    with pytest.raises(ConfigError, match="guards against signing twice: put"):
        refuse_older(None, None, "f")
    with pytest.raises(ConfigError, match="has signed height 5 round 0 step 2"):
        refuse_older(None, Signed(5, 0, 2), "f")
    refuse_older(Signed(), None, "f")
