"""RFC 9381 appendix B.3 (examples 16 to 18), and what must not verify."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network import vrf
from network.crypto import SigningKey

VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "",
        "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479d97"
        "27d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805",
        "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff66b71dda49d2de59d03450451af026798e8f81cd2e33"
        "3de5cdf4f3e140fdd8ae",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "72",
        "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed5933bf0864a62558b3ed7f2fea45c92a465"
        "301b3bbf5e3e54ddf2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02",
        "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb5e33821bc613efb94db5e5b54c70a848a0bef4553a41"
        "befc57663b56373a5031",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "af82",
        "9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf8096bb474e53895c362d8628ee9f9ea3c0"
        "e52c7a5c691b6c18c9979866568add7a2d41b00b05081ed0f58ee5e31b3a970e",
        "645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c452118fec1219202a0edcf038bb6373241578be7217ba8"
        "5a2687f7a0310b2df19f",
    ),
]


@pytest.mark.parametrize(("seed", "alpha", "proof", "beta"), VECTORS)
def test_rfc_vectors(seed: str, alpha: str, proof: str, beta: str) -> None:
    made = vrf.prove(bytes.fromhex(seed), bytes.fromhex(alpha))
    assert made.hex() == proof
    assert vrf.output(made).hex() == beta
    public = SigningKey(bytes.fromhex(seed)).public
    assert vrf.verify(public, bytes.fromhex(alpha), made) == bytes.fromhex(beta)


@settings(max_examples=30, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), alpha=st.binary(max_size=64), bit=st.integers(0, 80 * 8 - 1))
def test_a_flipped_bit_another_key_or_input_does_not_verify(seed: bytes, alpha: bytes, bit: int) -> None:
    proof = vrf.prove(seed, alpha)
    public = SigningKey(seed).public
    assert vrf.verify(public, alpha, proof) == vrf.output(proof)
    broken = bytearray(proof)
    broken[bit // 8] ^= 1 << bit % 8
    assert vrf.verify(public, alpha, bytes(broken)) is None
    assert vrf.verify(public, alpha + b"x", proof) is None
    assert vrf.verify(SigningKey(bytes(31) + b"\x07").public, alpha, proof) is None


def test_malformed_input_is_refused_not_raised() -> None:
    seed = bytes(32)
    proof = vrf.prove(seed, b"a")
    public = SigningKey(seed).public
    assert vrf.verify(public, b"a", proof[:-1]) is None
    assert vrf.verify(public[:-1], b"a", proof) is None
    assert vrf.verify(bytes(32), b"a", proof) is None  # a point of small order
    assert vrf.verify(public, b"a", bytes(80)) is None
    assert vrf.verify(public, b"a", proof[:48] + b"\xff" * 32) is None  # response above the group order
    assert vrf.verify(public, b"a", proof[:32] + bytes(48)) is None  # zero scalars
