"""Upgrades: which application version the chain runs, and what happens at the height where it changes.

From the planned height on, a release that lacks the version ends before it touches the block; one that has it migrates the
state and goes on. A new version raises SUPPORTED_APP_VERSION, keeps the old rules for states of older versions, and names
in MIGRATIONS what must change of the rows. `docs/ledger.md` section 5.
"""

from collections.abc import Callable, Mapping

from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import UpgradeNeeded
from abci_app.state.state import State
from network.chain_records import UPGRADE_KEY, VERSION_KEY, VersionRecord
from network.chain_tx import UpgradePlan

GENESIS_APP_VERSION = 1
SUPPORTED_APP_VERSION = 1
# Version -> what brings a state of the version before to it. A version whose rows are as before has no entry.
MIGRATIONS: Mapping[int, Callable[[State], None]] = {}


def version(state: State) -> VersionRecord:
    """The version that the state is of."""
    return state.load(VersionRecord, VERSION_KEY) or VersionRecord(GENESIS_APP_VERSION)


def planned(state: State) -> UpgradePlan | None:
    """The upgrade that the chain is heading for."""
    return state.load(UpgradePlan, UPGRADE_KEY)


def require_supported(state: State, height: int) -> None:
    """Raises UpgradeNeeded unless this release can apply the block at `height` to the state."""
    held = version(state)
    if held.app_version > SUPPORTED_APP_VERSION:
        raise UpgradeNeeded(held.name or "genesis", held.height, held.app_version)
    plan = planned(state)
    if plan is not None and height >= plan.height and plan.app_version > SUPPORTED_APP_VERSION:
        raise UpgradeNeeded(plan.name, plan.height, plan.app_version)


def begin_block(state: State, block: BlockContext) -> list[Event]:
    """At the planned height, bring the state to the new version, one migration after the other."""
    plan = planned(state)
    if plan is None or block.height < plan.height:
        return []
    for number in range(version(state).app_version + 1, plan.app_version + 1):
        if number in MIGRATIONS:
            MIGRATIONS[number](state)
    state.save(VERSION_KEY, VersionRecord(plan.app_version, plan.name, block.height))
    state.delete(UPGRADE_KEY)
    return [Event("upgrade_applied", (("name", plan.name), ("app_version", str(plan.app_version))))]
