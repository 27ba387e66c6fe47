"""What can be voted: what is never a change, what the state does not allow, and validators that come and go (F22)."""

from dataclasses import replace
from typing import Any

import pytest

from abci_app.state import changes, errors
from abci_app.state.changes import check_stateless
from abci_app.state.params import DEFAULT
from network.chain_tx import MAX_COMMITTEE, MAX_POWER, GroupChange, Propose, UpgradePlan, ValidatorChange
from network.crypto import sha256

KEY = bytes(range(32))
MANY = {"params": DEFAULT, "cancel": "next"}


@pytest.mark.parametrize(
    "change",
    [
        {},
        MANY,
        {"params": replace(DEFAULT, window=0)},
        {"params": replace(DEFAULT, max_block_bytes=1)},
        {"validator": ValidatorChange(power=1)},
        {"validator": ValidatorChange(KEY, KEY, 1, "No Label")},
        {"group": GroupChange("", KEY, "s")},
        {"group": GroupChange("g", KEY)},
        {"group": GroupChange("g", b"", "s")},
        {"group": GroupChange("g", KEY, "\x1b[2J")},
        {"upgrade": UpgradePlan("a b", 5, 2)},
    ],
)
def test_what_is_never_a_change(change: dict[str, Any]) -> None:
    with pytest.raises(errors.TxError) as caught:
        check_stateless(Propose("x", **change))
    assert caught.value.code == errors.BAD_FIELD


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"validator": ValidatorChange(KEY)}, "no such validator"),
        ({"validator": ValidatorChange(KEY, b"", 5, "new")}, "needs a verifier key"),
        ({"validator": ValidatorChange(KEY, KEY, 5)}, "and a name"),
        ({"group": GroupChange("nowhere")}, "no such group"),
        ({"upgrade": UpgradePlan("next", 1, 2)}, "not ahead of"),
        ({"upgrade": UpgradePlan("next", 9, 1)}, "runs application version 1"),
        ({"cancel": "next"}, "no such upgrade"),
    ],
)
def test_what_the_state_does_not_allow(ledger: Any, change: dict[str, Any], why: str) -> None:
    [result] = ledger.block(ledger.propose(0, **change)).tx_results
    assert result.code == errors.BAD_CHANGE and why in result.log


def test_another_members_verifier_key_is_refused(ledger: Any) -> None:
    taken = ValidatorChange(KEY, ledger.verifiers[1].public, 5, "new")
    assert ledger.codes(ledger.propose(0, validator=taken)) == [errors.BAD_CHANGE]


def test_a_member_joins_changes_power_leaves_and_returns(ledger: Any) -> None:
    new = ledger.consensus[4].public
    joining = ValidatorChange(new, ledger.verifiers[4].public, 7, "v4")
    ledger.block(ledger.propose(0, validator=joining), ledger.vote(1, 1), ledger.vote(2, 1))
    assert [(u.consensus_key, u.power) for u in ledger.to(6).validator_updates] == [(new, 7)]
    assert ledger.member(4).joined == 6
    stronger = ValidatorChange(new, power=9)
    ledger.block(ledger.propose(4, validator=stronger), *(ledger.vote(member, 2) for member in (0, 1, 2)))
    assert [(u.consensus_key, u.power) for u in ledger.to(12).validator_updates] == [(new, 9)]
    assert (ledger.member(4).power, ledger.member(4).name, ledger.member(4).joined) == (9, "v4", 6)
    ledger.block(ledger.propose(0, validator=ValidatorChange(new)), *(ledger.vote(member, 3) for member in (1, 2, 3)))
    assert [(u.consensus_key, u.power) for u in ledger.to(18).validator_updates] == [(new, 0)]
    assert ledger.member(4) is None and ledger.codes(ledger.vote(4, 3)) == [errors.NOT_A_VERIFIER]
    ledger.block(ledger.propose(0, validator=joining), *(ledger.vote(member, 4) for member in (1, 2)))
    ledger.to(24)
    assert ledger.powers[new] == 7 and ledger.member(4).joined == 24


def test_leaving_and_joining_in_one_block_is_one_update_each(ledger: Any) -> None:
    leave, join = ValidatorChange(ledger.consensus[3].public), ValidatorChange(KEY, KEY, 5, "new")
    again = ValidatorChange(ledger.consensus[3].public, ledger.verifiers[3].public, 10, "v3")
    proposals = [ledger.propose(0, validator=leave), ledger.propose(1, validator=join)]
    ledger.block(*proposals, *(ledger.vote(member, number) for number in (1, 2) for member in (2, 3)))
    updates = ledger.to(6).validator_updates
    assert sorted((u.consensus_key == KEY, u.power) for u in updates) == [(False, 0), (True, 5)]
    ledger.block(ledger.propose(0, validator=again), ledger.vote(1, 3), ledger.vote(2, 3))
    assert [u.power for u in ledger.to(12).validator_updates] == [10]


def test_the_last_one_cannot_leave(make_ledger: Any) -> None:
    ledger = make_ledger(committee=1)
    assert ledger.codes(ledger.propose(0, validator=ValidatorChange(ledger.consensus[0].public))) == [errors.BAD_CHANGE]
    two = make_ledger(committee=2)
    leave = [two.propose(n, validator=ValidatorChange(two.consensus[n].public)) for n in (0, 1)]
    two.block(*leave, two.vote(1, 1), two.vote(0, 2))
    two.to(6)
    assert len(two.powers) == 1, "the second of two that passed has become impossible"


def test_the_committee_is_bounded(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_COMMITTEE * MAX_POWER * 2 < 2**60, "CometBFT counts joining and leaving power together"
    monkeypatch.setattr(changes, "MAX_COMMITTEE", 4)
    assert ledger.codes(ledger.propose(0, validator=ValidatorChange(KEY, sha256(KEY), 1, "new"))) == [errors.BAD_CHANGE]
    present = ValidatorChange(ledger.consensus[1].public, power=MAX_POWER)
    assert ledger.codes(ledger.propose(0, validator=present)) == [0]
