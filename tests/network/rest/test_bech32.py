"""Bech32 against BIP 173's own vectors, and there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.rest.bech32 import decode, encode

VALID = [
    "A12UEL5L",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
    "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
]
INVALID = [
    "",
    "1nwldj5",
    "pzry9x0s0muk",
    "1pzry9x0s0muk",
    "x1b4n0q5v",
    "li1dgmt3",
    "A1G7SGD8",
    "10a06t8",
    "1qzzfhee",
    "A12uEL5L",
]


@pytest.mark.parametrize("text", VALID)
def test_the_standard_s_addresses_are_read(text: str) -> None:
    prefix, raw = decode(text)
    assert encode(prefix, raw) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_the_standard_s_wrong_ones_are_not(text: str) -> None:
    with pytest.raises(ValueError, match="bech32"):
        decode(text)


@given(st.binary(max_size=40), st.integers(0, 200), st.sampled_from("qpzry9x8gf2tvdw0"))
def test_there_and_back_and_a_changed_letter_shows(raw: bytes, at: int, letter: str) -> None:
    text = encode("planetservevalcons", raw)
    assert decode(text) == ("planetservevalcons", raw)
    at %= len(text)
    if text[at] != letter:
        with pytest.raises(ValueError, match="bech32"):
            decode(text[:at] + letter + text[at + 1 :])
