"""Every limit of a model node is a parameter with a floor."""

from dataclasses import fields

import pytest

from network.errors import ConfigError
from serving_node.limits import DEFAULT, Limits, limits_of


def test_what_is_left_out_keeps_its_default() -> None:
    assert limits_of({}) == DEFAULT
    assert limits_of({"limits": {"messages": 5}}) == Limits(messages=5)


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_no_limit_is_zero(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        limits_of({"limits": {name: 0}})


def test_unknown_limits_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"limits\.speed"):
        limits_of({"limits": {"speed": 5}})
