"""A load report as one small number a figure: what its receivers can tell apart, in one or two bytes each."""

from dataclasses import fields
from operator import attrgetter

from network.hrtree.delta import LoadReport, Refused

_LIMITS = tuple(entry.metadata["wire"].limit for entry in fields(LoadReport))
_NAMES = tuple(entry.name for entry in fields(LoadReport))
_figures = attrgetter(*_NAMES)


def load_codes(report: LoadReport) -> tuple[int, ...]:
    """A report as one small number a field: exact below 64, then within 1 %. Zeros at the end are left out."""
    codes = [_code(value) for value in _figures(report)]
    while len(codes) > 1 and not codes[-1]:
        codes.pop()
    return tuple(codes)


def load_of(codes: tuple[int, ...]) -> LoadReport:
    """The report that `load_codes` meant. Raises Refused for one that no engine could have made."""
    if len(codes) > len(_LIMITS):
        raise Refused("garbage", "a load of more figures than there are")
    values = [_value(code) for code in codes]
    for value, limit, name in zip(values, _LIMITS, _NAMES, strict=False):
        if value > limit:
            raise Refused("garbage", f"a load of absurd {name}")
    return LoadReport(*values)


def rounded(report: LoadReport) -> LoadReport:
    """A report as its receivers will see it."""
    return load_of(load_codes(report))


def _code(value: int) -> int:
    """Six leading bits and an exponent: monotone, and exact below 64."""
    if value < 64:
        return value
    value += 1 << (value.bit_length() - 7)  # to the nearest
    shift = value.bit_length() - 6
    return (shift + 1) << 5 | (value >> shift) & 31


def _value(code: int) -> int:
    if code < 64:
        return code
    # No figure is above 2**50: what is, is absurd whatever its last bits are.
    return (32 | code & 31) << min((code >> 5) - 1, 64)
