"""Verifiable random function ECVRF-EDWARDS25519-SHA512-TAI (RFC 9381, suite 0x03) over libsodium's point operations.

Ours because no maintained Python package offers it (`docs/adr/0060-own-ecvrf.md`). The output is unique per (key, input):
a verifier cannot choose it, and nobody can predict it. `verify` refuses points outside the prime-order subgroup, which
is stricter than the RFC demands; proofs made by `prove` always pass.
"""

from hashlib import sha512

import nacl.bindings as sodium
import nacl.exceptions

PROOF_LENGTH = 80
OUTPUT_LENGTH = 64
_SUITE = b"\x03"
_FIELD = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493


def prove(seed: bytes, alpha: bytes) -> bytes:
    """The 80-byte proof for the input `alpha` under the Ed25519 seed (RFC 9381, 5.1)."""
    public, _ = sodium.crypto_sign_seed_keypair(seed)
    expanded = sha512(seed).digest()
    secret = _clamp(expanded[:32])
    point = _hash_to_curve(public, alpha)
    gamma: bytes = sodium.crypto_scalarmult_ed25519_noclamp(secret, point)
    nonce: bytes = sodium.crypto_core_ed25519_scalar_reduce(sha512(expanded[32:] + point).digest())
    base_nonce: bytes = sodium.crypto_scalarmult_ed25519_base_noclamp(nonce)
    point_nonce: bytes = sodium.crypto_scalarmult_ed25519_noclamp(nonce, point)
    challenge = _challenge(public, point, gamma, base_nonce, point_nonce)
    product = sodium.crypto_core_ed25519_scalar_mul(challenge + bytes(16), secret)
    response: bytes = sodium.crypto_core_ed25519_scalar_add(nonce, product)
    return gamma + challenge + response


def verify(public: bytes, alpha: bytes, proof: bytes) -> bytes | None:
    """The 64-byte output when `proof` is the holder's for `alpha` (RFC 9381, 5.3); None otherwise."""
    if len(public) != 32 or len(proof) != PROOF_LENGTH:
        return None
    gamma, challenge, response = proof[:32], proof[32:48], proof[48:]
    if int.from_bytes(response, "little") >= _ORDER:
        return None
    if not (sodium.crypto_core_ed25519_is_valid_point(public) and sodium.crypto_core_ed25519_is_valid_point(gamma)):
        return None
    point = _hash_to_curve(public, alpha)
    scalar = challenge + bytes(16)
    try:
        base = sodium.crypto_scalarmult_ed25519_base_noclamp(response)
        left = sodium.crypto_core_ed25519_sub(base, sodium.crypto_scalarmult_ed25519_noclamp(scalar, public))
        right = sodium.crypto_core_ed25519_sub(
            sodium.crypto_scalarmult_ed25519_noclamp(response, point),
            sodium.crypto_scalarmult_ed25519_noclamp(scalar, gamma),
        )
    except nacl.exceptions.RuntimeError:  # a zero scalar: no honest proof has one
        return None
    if _challenge(public, point, gamma, left, right) != challenge:
        return None
    return output(proof)


def output(proof: bytes) -> bytes:
    """The 64-byte output of a proof that is known to be valid (RFC 9381, 5.2)."""
    return sha512(_SUITE + b"\x03" + _times_cofactor(proof[:32]) + b"\x00").digest()


def _clamp(scalar: bytes) -> bytes:
    clamped = bytearray(scalar)
    clamped[0] &= 248
    clamped[31] = clamped[31] & 127 | 64
    return bytes(clamped)


def _hash_to_curve(public: bytes, alpha: bytes) -> bytes:
    """Try-and-increment (RFC 9381, 5.4.1.1): half of all counters give a point, so 256 of them never all fail."""
    for counter in range(256):
        candidate = sha512(_SUITE + b"\x01" + public + alpha + bytes((counter, 0))).digest()[:32]
        if int.from_bytes(candidate, "little") & (2**255 - 1) >= _FIELD:
            continue
        try:
            return _times_cofactor(candidate)
        except nacl.exceptions.RuntimeError:
            continue
    raise AssertionError("no counter hashes to the curve")


def _times_cofactor(point: bytes) -> bytes:
    """8 times a point; libsodium's multiplication refuses points outside the subgroup, its addition does not."""
    for _ in range(3):
        point = sodium.crypto_core_ed25519_add(point, point)
    return point


def _challenge(*points: bytes) -> bytes:
    return sha512(_SUITE + b"\x02" + b"".join(points) + b"\x00").digest()[:16]
