"""Every limit of a relay is a parameter with a floor."""

from dataclasses import fields

import pytest

from network.errors import ConfigError
from relay.limits import Limits, limits_of


def test_what_is_left_out_keeps_its_default() -> None:
    assert limits_of({}) == Limits()
    assert limits_of({"limits": {"circuits": 5}}) == Limits(circuits=5)


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_no_limit_is_zero(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        limits_of({"limits": {name: 0}})
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0})


def test_unknown_limits_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"limits\.speed"):
        limits_of({"limits": {"speed": 5}})
