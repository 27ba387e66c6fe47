"""What `dump` writes, the standard library reads back."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localnet.toml_text import dump

KEYS = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
PLAIN = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20))
VALUES = st.one_of(PLAIN, st.lists(st.text(max_size=8), max_size=3))
TABLES = st.dictionaries(KEYS, st.one_of(VALUES, st.dictionaries(KEYS, VALUES, max_size=4)), max_size=5)


@given(TABLES)
def test_round_trip(mapping: dict[str, object]) -> None:
    assert tomllib.loads(dump(mapping)) == mapping


def test_other_types_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="float"):
        dump({"a": 0.5})
