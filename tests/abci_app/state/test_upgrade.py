"""Upgrades (F23): planned by vote, done at the height by who has the version; who has not stops before the block."""

from typing import Any

import pytest

from abci_app.state import errors, upgrade
from abci_app.state.errors import UpgradeNeeded
from abci_app.state.genesis import app_version
from abci_app.state.state import State
from abci_app.state.upgrade import planned, require_supported, version
from network.chain_records import VERSION_KEY, VersionRecord
from network.chain_tx import UpgradePlan
from network.codec import encode
from network.errors import ConfigError

PLAN = UpgradePlan("next", 9, 2)


def plan(ledger: Any, number: int = 1, **change: Any) -> None:
    ledger.block(ledger.propose(0, **change), ledger.vote(1, number), ledger.vote(2, number))


def test_a_plan_is_made_at_once_and_replaced_only_after_its_cancellation(ledger: Any) -> None:
    plan(ledger, upgrade=PLAN)
    assert planned(ledger.state) == PLAN
    assert ledger.codes(ledger.propose(0, upgrade=UpgradePlan("other", 12, 2))) == [errors.BAD_CHANGE]
    plan(ledger, 2, cancel="next")
    assert planned(ledger.state) is None
    ledger.to(12)
    assert version(ledger.state) == VersionRecord(1)


def test_without_the_version_the_block_is_not_touched(ledger: Any) -> None:
    plan(ledger, upgrade=PLAN)
    ledger.to(8)
    before = dict(ledger.rows.rows)
    for _ in range(2):
        with pytest.raises(UpgradeNeeded, match=r"'next'.*version 2.*height 9") as caught:
            ledger.block()
        assert (caught.value.name, caught.value.height, caught.value.version) == ("next", 9, 2)
    assert ledger.rows.rows == before and ledger.height == 8


def test_a_late_node_catches_up_once_it_has_the_release(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def migrate(state: State) -> None:
        seen.append(version(state).app_version)
        state.put(b"\x7fmigrated", b"yes")

    plan(ledger, upgrade=PLAN)
    ledger.to(8)
    with pytest.raises(UpgradeNeeded):
        ledger.block()
    monkeypatch.setattr(upgrade, "SUPPORTED_APP_VERSION", 2)
    monkeypatch.setattr(upgrade, "MIGRATIONS", {2: migrate})
    result = ledger.block()
    assert result.events[0].kind == "upgrade_applied" and seen == [1]
    assert result.consensus_params is not None and result.consensus_params.app_version == 2
    assert version(ledger.state) == VersionRecord(2, "next", 9) and planned(ledger.state) is None
    assert ledger.state.get(b"\x7fmigrated") == b"yes"
    assert ledger.block().consensus_params is None and seen == [1]


def test_versions_in_between_are_migrated_in_order(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[int] = []
    monkeypatch.setattr(upgrade, "SUPPORTED_APP_VERSION", 4)
    monkeypatch.setattr(upgrade, "MIGRATIONS", {number: lambda _, n=number: order.append(n) for number in (2, 4, 5)})
    plan(ledger, upgrade=UpgradePlan("far", 4, 4))
    ledger.to(5)
    assert order == [2, 4] and version(ledger.state).app_version == 4


def test_a_store_of_a_later_version_is_refused(ledger: Any) -> None:
    state = ledger.state
    state.save(VERSION_KEY, VersionRecord(2, "next", 9))
    with pytest.raises(UpgradeNeeded, match="next"):
        require_supported(state, 0)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, 1),
        ({"app_version": 3}, 3),
        ({"rows": {}}, 1),
        ({"rows": {VERSION_KEY.hex(): encode(VersionRecord(5)).hex()}}, 5),
    ],
)
def test_the_version_that_a_genesis_begins_with(document: dict[str, Any], expected: int) -> None:
    assert app_version(document) == expected


@pytest.mark.parametrize("document", [None, [], {"app_version": "1"}, {"app_version": 0}, {"rows": {VERSION_KEY.hex(): "ff"}}])
def test_a_genesis_without_a_sound_version_is_refused(document: Any) -> None:
    with pytest.raises(ConfigError):
        app_version(document)
