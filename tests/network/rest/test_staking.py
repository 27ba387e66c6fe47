"""The committee in staking's words."""

from network.chain_records import ValidatorRecord
from network.rest import staking
from network.rest.bech32 import decode

ADDRESS = bytes(range(20))


def test_a_member_with_power_is_bonded_and_who_was_jailed_shows() -> None:
    view = staking.validator_view(ADDRESS, ValidatorRecord(b"\x01" * 32, b"\x02" * 32, 7, "v"))
    assert (view["status"], view["jailed"], view["tokens"]) == ("BOND_STATUS_BONDED", False, "7")
    assert view["delegator_shares"] == "7." + "0" * 18 and decode(view["operator_address"]) == ("planetservevaloper", ADDRESS)
    gone = ValidatorRecord(b"\x01" * 32, b"\x02" * 32, 0, "v", jailed=True, joined=9)
    view = staking.validator_view(ADDRESS, gone)
    assert (view["status"], view["jailed"]) == ("BOND_STATUS_UNBONDED", True)
    info = staking.signing_info(ADDRESS, gone, 3)
    assert info["tombstoned"] is True and info["start_height"] == "9" and info["missed_blocks_counter"] == "3"
    assert decode(info["address"]) == ("planetservevalcons", ADDRESS)


def test_the_window_is_the_one_that_is_counted() -> None:
    assert staking.slashing_params()["params"]["signed_blocks_window"] == str(staking.WINDOW)
    assert staking.pool_view(12)["pool"]["bonded_tokens"] == "12" and staking.staking_params()["params"]["bond_denom"]
