"""The registry of upgrade environments: what may be registered, when the supervisor may switch, and its files."""

import pytest

from abci_app.upgrades import (
    Environment,
    Plan,
    Upgrades,
    parse_plan,
    parse_upgrades,
    render_plan,
    render_upgrades,
)
from network.errors import ConfigError

PLAN = Plan("spring", 90, 2)


def test_the_chain_s_upgrade_takes_the_environment_of_its_name() -> None:
    upgrades = Upgrades().add("autumn", "/a/python").add("spring", "/s/python").switch(PLAN)
    assert upgrades.current == "spring"
    assert upgrades.find("spring") == Environment("spring", "/s/python", 90)
    assert upgrades.find("autumn") == Environment("autumn", "/a/python"), "the others stay"
    assert parse_upgrades(render_upgrades(upgrades).encode(), "f") == upgrades


def test_what_cannot_be_switched_to_is_said() -> None:
    with pytest.raises(ConfigError, match="upgrade add spring --python"):
        Upgrades().add("autumn", "/a/python").switch(PLAN)
    with pytest.raises(ConfigError, match="is not that release"):
        Upgrades().add("spring", "/s/python").switch(PLAN).switch(PLAN)


def test_a_name_is_registered_once_and_the_one_in_use_stays() -> None:
    upgrades = Upgrades().add("spring", "/s/python")
    with pytest.raises(ConfigError, match="already"):
        upgrades.add("spring", "/other/python")
    for name in ("", "x" * 65, "line\nbreak"):
        with pytest.raises(ConfigError, match="cannot be an upgrade's name"):
            upgrades.add(name, "/p")
    with pytest.raises(ConfigError, match="no environment"):
        upgrades.remove("autumn")
    with pytest.raises(ConfigError, match="past its height"):
        upgrades.switch(PLAN).remove("spring")
    assert upgrades.remove("spring") == Upgrades()


def test_the_note_comes_back_as_it_was_left() -> None:
    assert parse_plan(render_plan(PLAN).encode(), "f") == PLAN


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"environments": 1, "current": ""}', b'{"environments": [], "current": "x"}']
)
def test_a_file_that_is_not_ours_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(ConfigError, match="the/file"):
        parse_upgrades(raw, "the/file")
    with pytest.raises(ConfigError, match="the/file"):
        parse_plan(raw, "the/file")
