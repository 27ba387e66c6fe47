"""Bech32 (BIP 173), encoding and decoding: how Cosmos explorers want addresses written. Bytes are ours as everywhere."""

from collections.abc import Iterable

PREFIX = "planetserve"
OPERATOR, CONSENSUS = f"{PREFIX}valoper", f"{PREFIX}valcons"
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6


def encode(prefix: str, raw: bytes) -> str:
    """`raw` under a lower-case prefix."""
    values = _regroup(raw, 8, 5, pad=True)
    return f"{prefix}1{''.join(_ALPHABET[value] for value in values + _checksum(prefix, values))}"


def decode(text: str) -> tuple[str, bytes]:
    """Prefix and bytes. Raises ValueError."""
    lower = text.lower()
    prefix, separator, rest = lower.rpartition("1")
    if text not in (lower, text.upper()) or not separator or not prefix or len(rest) < _CHECKSUM or len(text) > 120:
        raise ValueError("not a bech32 address")
    values = [_ALPHABET.find(letter) for letter in rest]
    if min(values) < 0 or _polymod([*_expanded(prefix), *values]) != 1:
        raise ValueError("a bech32 address whose checksum is wrong")
    return prefix, bytes(_regroup(values[:-_CHECKSUM], 5, 8, pad=False))


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, mask in enumerate(_GENERATOR):
            check ^= mask if top >> bit & 1 else 0
    return check


def _expanded(prefix: str) -> list[int]:
    return [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]


def _checksum(prefix: str, values: list[int]) -> list[int]:
    found = _polymod([*_expanded(prefix), *values, *[0] * _CHECKSUM]) ^ 1
    return [found >> 5 * (5 - at) & 31 for at in range(_CHECKSUM)]


def _regroup(values: Iterable[int], width: int, into: int, *, pad: bool) -> list[int]:
    """Numbers of `width` bits as numbers of `into` bits. Raises ValueError for padding that is not zero."""
    held = bits = 0
    groups: list[int] = []
    for value in values:
        held, bits = held << width | value, bits + width
        while bits >= into:
            bits -= into
            groups.append(held >> bits & ((1 << into) - 1))
        held &= (1 << bits) - 1
    if pad and bits:
        groups.append(held << into - bits)
    elif not pad and (bits >= width or held):
        raise ValueError("a bech32 address with bits to spare")
    return groups
