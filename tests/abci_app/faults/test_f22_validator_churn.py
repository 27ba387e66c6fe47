"""F22: validators join, change their power, leave, come back and leave again, by vote; the last one cannot leave."""

from typing import Any

import pytest

from abci_app.state import errors
from network.chain_tx import Propose, ValidatorChange

# The shortest epochs that hold every window: what the committee votes is enacted at an epoch's end.
SHORT: dict[str, object] = {
    "epoch_blocks": 7,
    "vrf_end": 1,
    "commit_end": 2,
    "send_end": 3,
    "publish_end": 4,
    "score_end": 5,
    "reveal_end": 6,
}


def powers(validator: Any) -> dict[str, int]:
    """CometBFT's validator set by address."""
    return {row["address"]: int(row["voting_power"]) for row in validator.call("validators")["validators"]}


def address(validator: Any) -> str:
    return str(validator.call("status")["validator_info"]["address"])


def test_f22_one_validator_alone_changes_and_cannot_leave(
    make_chain: Any, decide: Any, until: Any, same_as_undisturbed: Any, measured: Any
) -> None:
    chain = make_chain(1, params=SHORT)
    chain.start()
    chain.wait_height(2)
    alone = chain.validators[0]
    decide([alone], Propose("heavier", validator=ValidatorChange(alone.key.public, power=33)))
    until(lambda: powers(alone) == {address(alone): 33}, alone.log)
    out = Propose("out", validator=ValidatorChange(alone.key.public))
    assert decide([alone], out, refused=True) == errors.BAD_CHANGE
    measured("F22", alone="33, and stays", heights=same_as_undisturbed(alone))


@pytest.mark.slow
def test_f22_the_committee_changes_while_the_chain_goes_on(
    make_chain: Any, decide: Any, until: Any, same_everywhere: Any, measured: Any
) -> None:
    chain = make_chain(4, params=SHORT, interval_ms=100)
    chain.start()
    chain.wait_height(2)
    fresh = chain.join("fresh")
    fresh.start()
    fresh.wait_height(chain.validators[0].height())
    witness, who = chain.validators[0], address(fresh)
    changes = 0

    def change(voters: list[Any], power: int, **words: Any) -> None:
        nonlocal changes
        of = words.pop("of", fresh)
        change = ValidatorChange(of.key.public, power=power, **words)
        decide(voters, Propose(f"power {power}", validator=change))
        want = None if power == 0 else power
        until(lambda: powers(witness).get(address(of)) == want, witness.log)
        changes += 1

    four = chain.validators[:4]
    change(four, 10, verifier_key=fresh.verifier_key.public, name="fresh")
    until(lambda: signed(witness, who), witness.log)
    change([*four, fresh], 25)
    change([*four, fresh], 0)
    assert decide(four, Propose("again", validator=ValidatorChange(fresh.key.public)), refused=True) == errors.BAD_CHANGE
    change(four, 10, verifier_key=fresh.verifier_key.public, name="fresh")
    change([*four, fresh], 0)
    for leaving in (3, 2, 1):
        change(four[: leaving + 1], 0, of=four[leaving])
    last = Propose("nobody", validator=ValidatorChange(witness.key.public))
    assert decide([witness], last, refused=True) == errors.BAD_CHANGE, "the last validator cannot leave"
    assert powers(witness) == {address(witness): 10}
    measured("F22", changes=changes, heights=same_everywhere(chain))


def signed(validator: Any, who: str) -> bool:
    """Whether the latest commit has this validator's signature."""
    signatures = validator.call("commit")["signed_header"]["commit"]["signatures"]
    return any(entry["validator_address"] == who and entry["block_id_flag"] == 2 for entry in signatures)


@pytest.mark.slow
def test_f22_two_changes_of_one_validator_in_one_epoch(
    make_chain: Any, decide: Any, until: Any, same_everywhere: Any, measured: Any
) -> None:
    """They reach CometBFT as one update: two of one key would be refused by it."""
    chain = make_chain(4, params=SHORT, interval_ms=100)
    chain.start()
    chain.wait_height(2)
    witness, of = chain.validators[0], chain.validators[3]
    who = address(of)
    for power, proposer in ((12, 0), (15, 1)):
        order = [chain.validators[proposer], *(v for at, v in enumerate(chain.validators) if at != proposer)]
        decide(order, Propose(f"power {power}", validator=ValidatorChange(of.key.public, power=power)))
    until(lambda: powers(witness)[who] == 15, witness.log)
    decide(chain.validators, Propose("down", validator=ValidatorChange(of.key.public, power=7)))
    decide(chain.validators[1:], Propose("out", validator=ValidatorChange(of.key.public)))
    until(lambda: who not in powers(witness), witness.log)
    measured("F22", changes=4, heights=same_everywhere(chain))
