"""What the doctor concludes from what was found."""

from dataclasses import replace
from typing import Any

import pytest

from network.chain_records import DirectoryEntry, DirectoryRecord, NodeRecord
from network.config import Address
from network.directory import Directory
from network.doctor import Facts, examine, exit_code
from network.ids import Role

NOW = 1_800_000_000.0
OWN = bytes(range(20))
OUTER = Address("192.0.2.7", 8800)
GOSSIP = {"heard": 14, "silent_relays": 1, "doubted": False, "clock_offset_s": -1.5}
REACHED = {"listed": 9, "asked": 2, "answered": 2, "reached": 2, "enough": True, "explanation": ""}


def listed(role: Role, *, trusted: bool = True) -> Directory:
    entry = DirectoryEntry(OWN, bytes(32), bytes(32), role, "own", str(OUTER), "own", trusted=trusted)
    return Directory(DirectoryRecord("test", 1, 40, b"", (entry,)), 42)


WELL = Facts(
    role=Role.RELAY,
    now=NOW,
    listen=Address("0.0.0.0", 8800),
    public=OUTER,
    node_id=OWN,
    directory=listed(Role.RELAY),
    block_time=NOW - 1.0,
    record=NodeRecord(name="own", address=str(OUTER), renewed_epoch=3),
    listens=True,
    status={"role": "relay", "ready": True, "gossip": GOSSIP},
    reachability=REACHED,
)


def bad(facts: Facts) -> list[str]:
    return [finding.check for finding in examine(facts) if finding.verdict == "bad"]


def finding(facts: Facts, check: str) -> Any:
    return next(each for each in examine(facts) if each.check == check)


def test_a_relay_that_is_well() -> None:
    findings = examine(WELL)
    assert exit_code(findings) == 0 and not bad(WELL)
    assert {each.verdict for each in findings} == {"ok", "skipped"}
    assert finding(WELL, "reachable").says == "from 2 of 2 listed relays asked"
    assert finding(WELL, "paths").verdict == "skipped"


@pytest.mark.parametrize(
    ("change", "checks", "code"),
    [
        ({"key_problem": "unreadable", "node_id": None}, ["keys"], 5),
        ({"chain_problem": "no answer", "directory": None, "block_time": None}, ["chain"], 4),
        ({"block_time": NOW - 300.0}, ["chain"], 1),
        ({"block_time": NOW + 400.0}, ["clock"], 1),
        ({"status": None}, ["process"], 1),
        ({"status": {"role": "model", "ready": True}}, ["process"], 1),
        ({"status": {"role": "relay", "ready": False, "reason": "not in the directory yet"}}, ["process"], 1),
        ({"listens": False}, ["port"], 1),
        ({"record": None}, ["registered"], 1),
        ({"record": NodeRecord(retired=True)}, ["registered"], 5),
        ({"record": NodeRecord(address="192.0.2.8:1")}, ["registered"], 1),
        ({"directory": Directory(DirectoryRecord("test", 1, 40, b"", ()), 42)}, ["listed"], 1),
        ({"reachability": {**REACHED, "reached": 0, "enough": False, "explanation": "open it"}}, ["reachable"], 1),
    ],
)
def test_each_trouble_has_its_name_code_and_remedy(change: dict[str, Any], checks: list[str], code: int) -> None:
    facts = replace(WELL, **change)
    assert bad(facts) == checks and exit_code(examine(facts)) == code
    assert all(each.todo for each in examine(facts) if each.verdict == "bad")


def test_a_clock_is_compared_with_the_neighbours_in_both_directions() -> None:
    for offset, verdict in ((-1.5, "ok"), (45.0, "warning"), (-45.0, "warning"), (301.0, "bad")):
        status = {"role": "relay", "ready": True, "gossip": {**GOSSIP, "clock_offset_s": offset}}
        assert finding(replace(WELL, status=status), "clock").verdict == verdict
    assert finding(replace(WELL, status=None, block_time=None), "clock").verdict == "skipped"


def test_doubt_and_distrust_are_warnings() -> None:
    status = {"role": "relay", "ready": True, "gossip": {**GOSSIP, "doubted": True}}
    assert finding(replace(WELL, status=status), "neighbours").verdict == "warning"
    model = replace(WELL, role=Role.MODEL, directory=listed(Role.MODEL, trusted=False))
    assert finding(model, "listed").verdict == "warning"


def test_a_gateway_only_dials_out_and_needs_path_sets() -> None:
    status = {"role": "gateway", "ready": True, "path_sets_ready": 2, "circuits_open": 8}
    gateway = replace(WELL, role=Role.USER, directory=listed(Role.USER), status=status, reachability=None)
    assert not bad(gateway) and "only dials out" in finding(gateway, "reachable").says
    assert finding(gateway, "paths").says == "2 path sets ready, 8 circuits open"
    without = replace(gateway, status={**status, "path_sets_ready": 0})
    assert bad(without) == ["paths"]


def test_a_gateway_whose_guards_are_silent_or_ahead_is_told() -> None:
    status = {"path_sets_ready": 2, "guards_answering": 4, "guards_wanted": 4, "directory_epochs_behind": 0}
    gateway = replace(WELL, role=Role.USER, directory=listed(Role.USER), status={**WELL.status, **status}, reachability=None)
    assert finding(gateway, "guards").says == "4 of 4 guards answer" and finding(WELL, "guards").verdict == "skipped"
    for change, words in (({"guards_answering": 3}, "3 of 4 guards"), ({"directory_epochs_behind": 5}, "5 epochs newer")):
        told = finding(replace(gateway, status={**gateway.status, **change}), "guards")
        assert told.verdict == "warning" and words in told.says and told.todo


def test_what_cannot_be_known_is_not_blamed() -> None:
    fresh = replace(WELL, node_id=None, directory=None, chain_problem="no answer", status=None, listens=False)
    assert bad(fresh) == ["chain", "process", "port"] and finding(fresh, "keys").verdict == "warning"
    assert finding(replace(WELL, public=Address("127.0.0.1", 1)), "reachable").verdict == "ok"
    assert finding(replace(WELL, reachability={**REACHED, "listed": 0}), "reachable").verdict == "skipped"
