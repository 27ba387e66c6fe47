"""Local API keys: hashed on disk, compared without telling how far, refused in OpenAI's shape elsewhere."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.errors import ConfigError
from network.gateway.api_keys import new_key, parse_keys


def test_the_file_admits_its_keys_and_holds_none_of_them() -> None:
    (one, first), (two, second) = new_key("laptop", os.urandom), new_key("phone", os.urandom)
    assert one.removeprefix("ps-") not in first and len(one) == 67
    keys = parse_keys(f"# made today\n{first}  # mine\n\n{second}\n", "keys")
    assert keys.admits(f"Bearer {one}") and keys.admits(f"bearer  {two}")
    for header in (None, "", one, f"Basic {one}", f"Bearer {one}x", f"Bearer {one[:-1]}", "Bearer ", "Bearer " + first[7:]):
        assert not keys.admits(header)


@given(st.text(max_size=80))
def test_no_other_header_is_admitted(header: str) -> None:
    _, line = new_key("n", lambda size: bytes(size))
    assert not parse_keys(line, "keys").admits(header)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no key"),
        ("# nothing\n", "holds no key"),
        ("laptop 1234", "line 1"),
        ("laptop " + "ab" * 32 + "\nlaptop " + "cd" * 32, "line 2: the name laptop"),
        ("ps-secret-key", "line 1"),
    ],
)
def test_a_bad_file_names_its_line_and_not_what_it_says(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse_keys(text, "gateway.api_keys keys.txt")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "two words", "a#b", "x" * 65, "a\nb"])
def test_a_name_is_one_word(name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        new_key(name, os.urandom)
