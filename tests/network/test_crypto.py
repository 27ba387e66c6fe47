"""The crypto facade: published vectors, and refusal of everything altered."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network import crypto
from network.errors import CryptoError


def test_ed25519_rfc_8032_vector_2() -> None:
    key = crypto.SigningKey(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    expected = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert key.sign(b"\x72").hex() == expected
    assert crypto.verify(key.public, b"\x72", bytes.fromhex(expected))


def test_x25519_rfc_7748_section_6_1() -> None:
    alice = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df2f5ce07c1bfb9b7a7f2e9c5d1a1e6f")
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    assert crypto.exchange(alice, crypto.exchange_public(bob)) == crypto.exchange(bob, crypto.exchange_public(alice))
    assert crypto.exchange_public(bob).hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"


def test_hkdf_rfc_5869_case_1() -> None:
    derived = crypto.derive(
        bytes.fromhex("0b" * 22),
        salt=bytes.fromhex("000102030405060708090a0b0c"),
        info=bytes.fromhex("f0f1f2f3f4f5f6f7f8f9"),
        length=42,
    )
    assert derived.hex() == ("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")


def test_aes_256_gcm_nist_case_14() -> None:
    sealed = crypto.seal(bytes(32), bytes(12), bytes(16))
    assert sealed.hex() == "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
    assert crypto.open_sealed(bytes(32), bytes(12), sealed) == bytes(16)


@settings(max_examples=50)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=60), st.integers(0, 10_000))
def test_an_altered_signature_or_message_does_not_verify(seed: bytes, message: bytes, position: int) -> None:
    key = crypto.SigningKey(seed)
    signature = key.sign(message)
    assert crypto.verify(key.public, message, signature)
    bit = position % (len(signature) * 8)
    altered = bytearray(signature)
    altered[bit // 8] ^= 1 << bit % 8
    assert not crypto.verify(key.public, message, bytes(altered))
    assert not crypto.verify(key.public, message + b"x", signature)


def test_wrong_lengths_are_refused_without_an_exception_of_the_library() -> None:
    key = crypto.SigningKey(bytes(32))
    assert not crypto.verify(b"short", b"m", key.sign(b"m"))
    assert not crypto.verify(key.public, b"m", b"short")
    with pytest.raises(ValueError):
        crypto.SigningKey(b"short")
    with pytest.raises(CryptoError):
        crypto.exchange(bytes([1] * 32), b"short")


def test_low_order_public_keys_are_refused() -> None:
    with pytest.raises(CryptoError):
        crypto.exchange(bytes([1] * 32), bytes(32))


def test_an_altered_sealed_box_does_not_open() -> None:
    sealed = bytearray(crypto.seal(bytes(32), bytes(12), b"hello", b"context"))
    sealed[0] ^= 1
    with pytest.raises(CryptoError):
        crypto.open_sealed(bytes(32), bytes(12), bytes(sealed), b"context")


def test_a_signing_key_does_not_print_its_seed() -> None:
    key = crypto.SigningKey(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.seed.hex() not in repr(key)


def test_the_low_order_list_is_what_an_exchange_refuses() -> None:
    """Every encoding near the curve's special points, with and without the bit that X25519 ignores, and random ones."""
    special = [value % 2**255 for base in (0, 2**255 - 19) for value in range(base - 3, base + 21)]
    listed = [int.from_bytes(entry, "little") for entry in sorted(crypto._LOW_ORDER)]
    drawn = [int.from_bytes(crypto.sha256(bytes([at])), "little") % 2**255 for at in range(50)]
    refused = 0
    for value in {*special, *listed, *(value + 1 for value in listed), *drawn}:
        for top in (0, 1 << 255):
            public = (value % 2**255 | top).to_bytes(32, "little")
            try:
                crypto.exchange(bytes([1] * 32), public)
                expected = False
            except CryptoError:
                expected = True
            assert crypto.is_low_order(public) == expected, hex(value)
            refused += expected
    assert refused == 2 * len(listed) == 14
