"""F12, F22 and F23 in the simulator: offenders, members who come and go, and a release that came too late."""

import random

import pytest

from abci_app.abci.pb import abci_pb2 as abci
from evals.ledger.simulator.build import Home, build, settle
from evals.ledger.simulator.simulation import Offence
from evals.ledger.simulator.sync import INTERVAL
from evals.ledger.simulator.town import Town, check_rows
from evals.ledger.simulator.world import Genesis, member
from network.chain_tx import Propose, UpgradePlan, ValidatorChange

EPOCH = 12


def town(replicas: int = 5, powers: tuple[int, ...] = (10, 10, 10, 10)) -> Town:
    genesis = Genesis(powers)
    return Town(genesis, build(genesis, [None] * replicas), random.Random(3))


def lives(one: Town, heights: int) -> None:
    for _ in range(heights):
        assert one.live(1) is not None


def updates(one: Town) -> list[tuple[int, bytes, int]]:
    """(height, key, power) of every validator update so far."""
    return [
        (block.request.height, update.pub_key.ed25519, update.power)
        for block in one.sim.chain
        for update in abci.ResponseFinalizeBlock.FromString(block.response).validator_updates
    ]


def decide(one: Town, body: Propose) -> None:
    """Propose, and let everybody approve."""
    one.parliament.approval = 1.0
    assert one.put(body) == 0
    lives(one, 2)


def change(one: Town, number: int, power: int) -> None:
    about = member(number)
    decide(one, Propose("change", validator=ValidatorChange(about.consensus.public, about.verifier.public, power, about.name)))
    while one.sim.height % EPOCH:
        lives(one, 1)
    lives(one, 2)


def test_an_offender_is_punished_once_and_gone_two_heights_later() -> None:
    one = town()
    lives(one, 5)
    offender = one.sim.address(2)
    one.sim.offences = [Offence(offender, 4, 1), Offence(offender, 4, 2), Offence(offender, 3, 1)]
    lives(one, 1)
    key = member(2).consensus.public
    assert updates(one) == [(6, key, 0)]
    assert offender in one.sim.validators(7).powers() and offender not in one.sim.validators(8).powers()
    lives(one, 1)
    one.sim.offences = [Offence(offender, 5, 1)]
    lives(one, 3)
    assert updates(one) == [(6, key, 0)], "what came before the punishment is not punished again"
    change(one, 2, 10)
    assert updates(one)[-1] == (EPOCH, key, 10), "only a vote brings it back"
    one.sim.offences = [Offence(offender, 7, 1)]
    lives(one, 3)
    assert len(updates(one)) == 2, "and what it did before it came back stays in the past"
    one.check()


def test_members_come_go_and_come_back() -> None:
    one = town()
    lives(one, 1)
    for number, power in ((4, 7), (0, 0), (4, 12), (0, 9), (4, 0), (4, 5)):
        change(one, number, power)
        present = one.sim.validators(one.sim.height + 2).powers()
        assert present.get(member(number).address, 0) == power
    one.check()


def test_the_last_member_cannot_leave_nor_be_punished_away() -> None:
    one = town(replicas=1, powers=(10,))
    lives(one, 2)
    decide(one, Propose("all leave", validator=ValidatorChange(member(0).consensus.public)))
    one.sim.offences = [Offence(one.sim.address(0), 2, 1)]
    lives(one, EPOCH + 3)
    assert updates(one) == []
    one.check()


@pytest.mark.parametrize("late", [0, 3])
def test_a_late_release_ends_before_the_block_and_catches_up_once_replaced(late: int) -> None:
    genesis = Genesis((10, 10, 10, 10))
    homes = [Home(None, genesis.app_state()) for _ in range(4)]
    for at, home in enumerate(homes):
        home.version = 1 if at == late else 2
    one = Town(genesis, settle(genesis, homes), random.Random(5))
    lives(one, 2)
    decide(one, Propose("upgrade", upgrade=UpgradePlan("second", 9, 2)))
    lives(one, 5)
    replica = one.sim.replicas[late]
    assert (replica.up, replica.ended) == (False, replica.ended) and replica.ended is not None
    assert (replica.ended.name, replica.ended.height, replica.ended.version) == ("second", 9, 2)
    one.sim.start(late)
    assert not replica.up, "the same release again cannot help"
    homes[late].version = 2
    lives(one, 3)
    one.sim.start(late)
    assert replica.up
    lives(one, 1)
    one.check()
    check_rows(replica)
    changed = [abci.ResponseFinalizeBlock.FromString(block.response).consensus_param_updates for block in one.sim.chain]
    assert [at for at, params in enumerate(changed, start=1) if params.version.app == 2] == [9]
    assert replica.call("info", abci.RequestInfo()).app_version == 2


def test_when_all_are_late_the_chain_waits_and_goes_on_with_the_new_release() -> None:
    genesis = Genesis((10, 10, 10, 10))
    homes = [Home(None, genesis.app_state()) for _ in range(4)]
    one = Town(genesis, settle(genesis, homes), random.Random(6))
    lives(one, 2)
    decide(one, Propose("upgrade", upgrade=UpgradePlan("second", 6, 2)))
    while one.sim.height < 5:
        lives(one, 1)
    one.sim.step()
    assert [replica.up for replica in one.sim.replicas] == [False] * 4
    for at, home in enumerate(homes):
        home.version = 2
        one.sim.start(at)
    lives(one, 3)
    one.check()


def test_a_late_release_that_joins_by_a_snapshot_ends_before_its_first_block() -> None:
    genesis = Genesis((10, 10, 10, 10))
    homes = [Home(None, genesis.app_state()) for _ in range(5)]
    for home in homes[:4]:
        home.version = 2
    one = Town(genesis, settle(genesis, homes), random.Random(7))
    one.sim.replicas[4].stop()
    lives(one, 2)
    decide(one, Propose("upgrade", upgrade=UpgradePlan("second", 6, 2)))
    while one.sim.height < INTERVAL + 2:
        lives(one, 1)
    replica = one.sim.replicas[4]
    replica.wipe()
    one.sim.state_sync(4)
    assert not replica.up and replica.ended is not None
    assert (replica.ended.name, replica.ended.version) == ("second", 2)
    homes[4].version = 2
    replica.wipe()
    one.sim.state_sync(4)
    lives(one, 2)
    one.check()
