"""What the committee can vote: parameters, validators, model groups, upgrades. May it be done, and doing it.

Each change is checked when it is proposed and again when it is enacted, because the state may have moved in between.
"""

from dataclasses import replace

from abci_app.state import upgrade
from abci_app.state.context import BlockContext, ConsensusChange, Event
from abci_app.state.errors import BAD_CHANGE, BAD_FIELD, TxError
from abci_app.state.genesis import MAX_GROUPS
from abci_app.state.label import require_label
from abci_app.state.params import validate
from abci_app.state.state import State
from network.chain_params import Params
from network.chain_records import (
    GROUP_PREFIX,
    PARAMS_KEY,
    UPGRADE_KEY,
    VALIDATOR_PREFIX,
    ModelGroup,
    ValidatorRecord,
    group_key,
    validator_key,
)
from network.chain_tx import MAX_COMMITTEE, GroupChange, Propose, UpgradePlan, ValidatorChange
from network.codec import decode
from network.errors import ConfigError
from network.ids import node_id


def check_stateless(proposal: Propose) -> None:
    """Exactly one change, of the right shape. Raises TxError."""
    parts = (proposal.params, proposal.validator, proposal.group, proposal.upgrade, proposal.cancel or None)
    if sum(part is not None for part in parts) != 1:
        raise TxError(BAD_FIELD, "a proposal names exactly one change")
    if proposal.params is not None:
        try:
            validate(proposal.params)
        except ConfigError as error:
            raise TxError(BAD_FIELD, str(error)) from error
    if proposal.validator is not None:
        if not proposal.validator.consensus_key:
            raise TxError(BAD_FIELD, "consensus_key")
        if proposal.validator.name:
            require_label(proposal.validator.name, "name")
    if proposal.group is not None:
        require_label(proposal.group.name, "group")
        if bool(proposal.group.model_hash) != bool(proposal.group.scheme):
            raise TxError(BAD_FIELD, "a group to add has a model hash and a scheme, one to remove has neither")
        if proposal.group.scheme:
            require_label(proposal.group.scheme, "scheme")
    if proposal.upgrade is not None:
        require_label(proposal.upgrade.name, "upgrade")


def kind_of(proposal: Propose) -> str:
    """The change in one word."""
    words = ("params", "validator", "group", "upgrade")
    return next((word for word in words if getattr(proposal, word) is not None), "cancel")


def is_immediate(proposal: Propose) -> bool:
    """Whether it is enacted in the block that decides it: plans are; what a running epoch leans on waits for its end."""
    return proposal.upgrade is not None or bool(proposal.cancel)


def enact(proposal: Propose, state: State, block: BlockContext, proposed: int) -> list[Event]:
    """Make the change that was `proposed` at that height. Raises TxError when the state does not allow it; then drop the
    fork."""
    if proposal.params is not None:
        state.save(PARAMS_KEY, proposal.params)
        return [Event("parameters_changed", ())]
    if proposal.validator is not None:
        return _change_validator(proposal.validator, state, block, proposed)
    if proposal.group is not None:
        return _change_group(proposal.group, state)
    if proposal.upgrade is not None:
        return _plan_upgrade(proposal.upgrade, state, block)
    return _cancel_upgrade(proposal.cancel, state)


def consensus_change(before: State, after: State) -> ConsensusChange | None:
    """What CometBFT must change of its parameters, by comparison of two states."""
    version = upgrade.version(after).app_version
    size, held = _block_bytes(after), _block_bytes(before)
    change = ConsensusChange(version if version != upgrade.version(before).app_version else 0, size if size != held else 0)
    return None if change == ConsensusChange() else change


def _block_bytes(state: State) -> int:
    params = state.load(Params, PARAMS_KEY)
    assert params is not None
    return params.max_block_bytes


def _change_validator(change: ValidatorChange, state: State, block: BlockContext, proposed: int) -> list[Event]:
    """Powers stay within what CometBFT takes: at most MAX_COMMITTEE members of at most MAX_POWER, one of them with power."""
    key = validator_key(node_id(change.consensus_key))
    records = {row: decode(ValidatorRecord, value) for row, value in state.scan(VALIDATOR_PREFIX)}
    held = records.pop(key, None)
    if change.power == 0:
        if held is None:
            raise TxError(BAD_CHANGE, "there is no such validator")
        if not any(record.power for record in records.values()):
            raise TxError(BAD_CHANGE, "the last validator with power cannot leave")
        state.delete(key)
    else:
        _require_fit(change, held, list(records.values()), proposed)
        base = held or ValidatorRecord(change.consensus_key)
        named = replace(base, verifier_key=change.verifier_key or base.verifier_key, name=change.name or base.name)
        joined = base.joined if base.power else block.height
        state.save(key, replace(named, power=change.power, joined=joined, jailed=False, jailed_height=0))
    validator = node_id(change.consensus_key).hex()
    return [Event("validator_changed", (("validator", validator), ("power", str(change.power))))]


def _require_fit(change: ValidatorChange, held: ValidatorRecord | None, others: list[ValidatorRecord], proposed: int) -> None:
    """A member with power has a verifier key of its own and a name. Who was jailed after the vote began stays jailed: the
    voters could not know."""
    if held is None and not (change.verifier_key and change.name):
        raise TxError(BAD_CHANGE, "a validator that joins needs a verifier key and a name")
    if len(others) >= MAX_COMMITTEE:
        raise TxError(BAD_CHANGE, f"the committee has {MAX_COMMITTEE} members")
    if any(record.verifier_key == change.verifier_key for record in others):
        raise TxError(BAD_CHANGE, "the verifier key is another member's")
    if held is not None and held.jailed and held.jailed_height > proposed:
        raise TxError(BAD_CHANGE, "the validator was jailed after this was proposed")


def _change_group(change: GroupChange, state: State) -> list[Event]:
    """Nodes of a group that leaves keep their records; nobody can join it any more."""
    key = group_key(change.name)
    held = state.get(key) is not None
    if not change.model_hash:
        if not held:
            raise TxError(BAD_CHANGE, "there is no such group")
        state.delete(key)
    else:
        if held:
            raise TxError(BAD_CHANGE, "the group exists")
        if sum(1 for _ in state.scan(GROUP_PREFIX)) >= MAX_GROUPS:
            raise TxError(BAD_CHANGE, f"there are {MAX_GROUPS} groups")
        state.save(key, ModelGroup(change.name, change.model_hash, change.scheme))
    return [Event("group_changed", (("group", change.name), ("present", "yes" if change.model_hash else "no")))]


def _plan_upgrade(plan: UpgradePlan, state: State, block: BlockContext) -> list[Event]:
    if upgrade.planned(state) is not None:
        raise TxError(BAD_CHANGE, "another upgrade is planned; cancel it first")
    if plan.height <= block.height:
        raise TxError(BAD_CHANGE, f"height {plan.height} is not ahead of {block.height}")
    running = upgrade.version(state).app_version
    if plan.app_version <= running:
        raise TxError(BAD_CHANGE, f"the chain runs application version {running}")
    state.save(UPGRADE_KEY, plan)
    about = (("name", plan.name), ("height", str(plan.height)), ("app_version", str(plan.app_version)))
    return [Event("upgrade_planned", about)]


def _cancel_upgrade(name: str, state: State) -> list[Event]:
    plan = upgrade.planned(state)
    if plan is None or plan.name != name:
        raise TxError(BAD_CHANGE, "no such upgrade is planned")
    state.delete(UPGRADE_KEY)
    return [Event("upgrade_cancelled", (("name", name),))]
