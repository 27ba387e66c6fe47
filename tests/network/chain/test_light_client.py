"""The light client over served chains: a committee that changes, trust that starts and ends, witnesses, and forks."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from network.aio import chain_client, light_witnesses
from network.aio.chain_client import ChainClient, ForkDetected, ProofRejected
from network.chain_records import PARAMS_KEY
from network.config import TrustRoot, node_config
from network.crypto import SigningKey
from network.errors import ConfigError
from network.light import TrustExpired, check_block
from network.light_headers import LightBlock
from network.light_json import light_block
from network.light_render import light_block_json

Sign = Callable[..., LightBlock]
Mirror = Callable[[], Awaitable[Any]]
KEY, VALUE = PARAMS_KEY, b"some record"
STRANGERS = [(SigningKey(bytes([at]) * 32), 10) for at in range(100, 104)]
DAY = 86400.0


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off and patience take no time here."""

    async def at_once(attempt: int, **_: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(chain_client, "pause", at_once)
    monkeypatch.setattr(light_witnesses, "PATIENCE", (0.01, 0.01))


@asynccontextmanager
async def client_of(chain: Any, *others: Any, **settings: Any) -> Any:
    held = ChainClient([each.url for each in (chain, *others)], chain.trust, clock=chain.clock, **settings)
    await held.start()
    try:
        yield held
    finally:
        await held.close()


def asked(chain: Any) -> list[str]:
    return [method for method, _ in chain.calls]


def forge(chain: Any, sign: Sign, at: int, members: Any = None, coming: Any = None, **changes: Any) -> None:
    """Give this server another block at one height, signed by its members (or others)."""
    real = chain.blocks[at]
    header = {"app_hash": real.header.app_hash, "data_hash": real.header.data_hash, **changes}
    block = sign(members or chain.members, coming, height=at, time=real.header.time, **header)
    chain.blocks = {**chain.blocks, at: block}


# Trust: roots, memory, expiry.


async def test_a_changing_committee_is_followed(chain: Any) -> None:
    async with client_of(chain) as client:
        for change in range(4):
            key, _ = chain.members[0]
            chain.coming = [*chain.members[1:], (SigningKey(bytes([60 + change]) * 32), 10)]
            for _ in range(3):
                chain.put(KEY, b"%d" % change)
            assert (await client.read(KEY)).value == b"%d" % change
            assert key.public not in {entry.public_key for entry in await client.committee()}
        assert asked(chain).count("validators") == 4 and client.light.counts["verified"] < 12


async def test_a_committee_replaced_whole_needs_the_blocks_between(chain: Any) -> None:
    for _ in range(20):
        chain.block()
    chain.coming = STRANGERS
    for _ in range(20):
        chain.put(KEY, VALUE)
    async with client_of(chain) as client:
        assert (await client.read(KEY)).value == VALUE
        assert {entry.public_key for entry in await client.committee()} == {key.public for key, _ in STRANGERS}
        assert asked(chain).count("commit") < 14


async def test_a_hundred_and_one_validators_come_in_two_pages(chain: Any) -> None:
    chain.coming = [*chain.members, *((SigningKey(at.to_bytes(32, "big")), 1) for at in range(1, 98))]
    chain.put(KEY, VALUE)
    async with client_of(chain) as client:
        assert (await client.read(KEY)).value == VALUE and len(await client.committee()) == 101
    assert asked(chain).count("validators") == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda answer: {**answer, "block_height": "1"}, "of those at 1"),
        (lambda answer: {**answer, "validators": []}, "got 0 of those"),
        (lambda answer: {**answer, "validators": answer["validators"][:1]}, "got 1 of those"),  # else 10,000 pages of one
        (lambda answer: {**answer, "total": "0"}, "got 5 of those"),
        (lambda answer: {**answer, "validators": answer["validators"][:3], "total": "3"}, "not the set"),
        (lambda answer: {**answer, "validators": answer["validators"][:1] * 5}, "twice"),
        (lambda answer: {**answer, "total": "10001"}, "10001 validators"),
        (lambda answer: None, "not a list of validators"),
    ],
)
async def test_a_lie_about_the_validators_is_refused(chain: Any, change: Callable[[Any], Any], words: str) -> None:
    chain.coming = [*chain.members, STRANGERS[0]]
    chain.put(KEY, VALUE)
    chain.tamper = lambda method, answer: change(answer) if method == "validators" else answer
    async with client_of(chain) as client:
        with pytest.raises(ProofRejected, match=words):
            await client.read(KEY)


async def test_an_old_genesis_is_trusted_no_more(chain: Any) -> None:
    chain.time += 8 * DAY
    chain.put(KEY, VALUE)
    async with client_of(chain) as client:
        with pytest.raises(TrustExpired, match=r"8\.0 days old, more than the trusting period of 7\.0 days"):
            await client.read(KEY)
    async with client_of(chain, trusting_period=9 * DAY) as client:
        assert (await client.read(KEY)).value == VALUE


async def test_a_block_that_somebody_vouches_for_replaces_the_genesis(chain: Any) -> None:
    chain.time += 8 * DAY
    chain.put(KEY, VALUE)
    vouched = chain.height
    chain.put(KEY, b"newer")
    async with client_of(chain, root=TrustRoot(vouched, chain.blocks[vouched].hash)) as client:
        assert (await client.read(KEY)).value == b"newer"
        assert (await client.block(vouched)).hash == chain.blocks[vouched].hash
        with pytest.raises(ProofRejected, match="never carried backwards"):
            await client.block(vouched - 1)
    async with client_of(chain, root=TrustRoot(vouched, b"\1" * 32)) as client:
        with pytest.raises(ProofRejected, match="trust_hash is wrong"):
            await client.read(KEY)


async def test_the_newest_block_is_remembered(chain: Any, tmp_path: Path) -> None:
    memory = tmp_path / "light.json"
    for age in range(5):  # five starts, six days apart: each trusts what the one before it has seen
        chain.time += age and 6 * DAY
        chain.put(KEY, b"%d" % age)
        async with client_of(chain, memory=memory) as client:
            assert (await client.read(KEY)).value == b"%d" % age
    assert memory.stat().st_mode & 0o777 == 0o600
    kept = light_block(json.loads(memory.read_bytes())["light_block"])
    check_block(chain.trust.chain_id, kept)
    assert kept.height == chain.height
    chain.time += 8 * DAY
    chain.put(KEY, b"late")
    async with client_of(chain, memory=memory) as client:
        with pytest.raises(TrustExpired, match=f"height {kept.height} is 8.0 days old"):
            await client.read(KEY)


async def test_a_damaged_or_foreign_memory_is_not_used(chain: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chain.put(KEY, VALUE)
    memory = tmp_path / "light.json"
    async with client_of(chain, memory=memory) as client:
        await client.read(KEY)
    whole = memory.read_text()
    document = json.loads(whole)
    document["light_block"]["signed_header"]["header"]["app_hash"] = "00" * 32
    chain.put(KEY, VALUE)
    for bent in ("", "[]", whole[:-20], json.dumps(document), whole.replace('"format": 1', '"format": 2')):
        memory.write_text(bent)
        caplog.clear()
        async with client_of(chain, memory=memory) as client:
            assert (await client.read(KEY)).value == VALUE
        assert "remembered block is not used" in caplog.text
    caplog.clear()
    memory.write_text(whole)
    root = TrustRoot(chain.height, chain.blocks[chain.height].hash)
    chain.put(KEY, VALUE)
    async with client_of(chain, memory=memory, root=root) as client:
        assert (await client.read(KEY)).value == VALUE
    assert any("another trust root" in str(getattr(record, "fields", "")) for record in caplog.records)


async def test_a_disk_that_takes_no_memory_stops_nobody(chain: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chain.put(KEY, VALUE)
    async with client_of(chain, memory=tmp_path / "nowhere" / "light.json") as client:
        assert (await client.read(KEY)).value == VALUE
    assert "was not written" in caplog.text


async def test_a_role_remembers_beside_its_keys(chain: Any, tmp_path: Path) -> None:
    (tmp_path / "genesis.json").write_bytes(chain.genesis_json())
    table = {
        "name": "r",
        "chain_id": chain.trust.chain_id,
        "listen": "127.0.0.1:8800",
        "metrics": "127.0.0.1:9800",
        "rpc": [chain.url],
        "genesis": "genesis.json",
        "keys": "role/keys.json",
        "trusting_period_s": 10 * 365 * 86400,
    }
    (tmp_path / "role").mkdir()
    client = chain_client.client_of(node_config({"node": table}, tmp_path))
    await client.start()
    assert await client.call("status", {}) and not client.trouble
    await client.light.block(chain.height)
    await client.close()
    assert json.loads((tmp_path / "role" / "light.json").read_bytes())["root"] == chain.trust.digest.hex()
    with pytest.raises(ConfigError, match=r"node\.chain_id is 'other'"):
        chain_client.client_of(node_config({"node": {**table, "chain_id": "other"}}, tmp_path))


async def test_earlier_heights_are_read_and_proven(chain: Any) -> None:
    chain.put(KEY, b"old")
    height = chain.height - 1
    chain.time += 400
    chain.put(KEY, b"new")
    async with client_of(chain) as client:
        assert (await client.read(KEY)).value == b"new"
        proven = await client.read(KEY, height=height)
        assert (proven.value, proven.height, proven.verified) == (b"old", height, True)
        chain.tamper = lambda method, answer: (
            chain.do_abci_query("", KEY.hex(), "0", True) if method == "abci_query" else answer
        )
        with pytest.raises(ProofRejected, match=f"not of {height}"):
            await client.read(KEY, height=height)


# Witnesses and forks.


async def test_one_address_has_no_witness_and_the_log_says_so_once(chain: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with client_of(chain) as client:
        for _ in range(3):
            chain.put(KEY, VALUE)
            await client.read(KEY)
        assert client.light.counts["unconfirmed"] == 3
    assert caplog.text.count("no witness confirms") == 1


async def test_witnesses_confirm_every_new_block(chain: Any, mirror: Mirror, caplog: pytest.LogCaptureFixture) -> None:
    first, second = await mirror(), await mirror()
    chain.put(KEY, VALUE)
    async with client_of(chain, first, second) as client:
        await client.read(KEY)
        await client.read(KEY)
        assert client.light.counts["confirmed"] == 1
        assert asked(first) == ["header"] == asked(second)
    assert "no witness" not in caplog.text


async def test_a_witness_that_is_a_block_behind_is_waited_for(chain: Any, mirror: Mirror) -> None:
    behind = await mirror()
    chain.put(KEY, VALUE)
    late = [chain.height, chain.height]

    def tamper(method: str, answer: Any) -> Any:
        if method == "header" and late:
            raise LookupError(f"height {late.pop()} must be less than or equal to the current blockchain height")
        return answer

    behind.tamper = tamper
    async with client_of(chain, behind) as client:
        await client.read(KEY)
        assert client.light.counts["confirmed"] == 1 and asked(behind) == ["header"] * 3


async def test_a_fork_stops_the_client_for_good(
    chain: Any, mirror: Mirror, sign_block: Sign, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other, memory = await mirror(), tmp_path / "light.json"
    async with client_of(chain, other, memory=memory) as client:
        chain.put(KEY, VALUE)
        await client.read(KEY)
        chain.put(KEY, b"forked")
        forge(other, sign_block, chain.height, app_hash=b"\x66" * 32)
        with pytest.raises(ForkDetected, match=f"forked at height {chain.height}"):
            await client.read(KEY)
        asked_before = len(chain.calls), len(other.calls)
        with pytest.raises(ForkDetected):
            await client.block(chain.height)
        assert (len(chain.calls), len(other.calls)) == asked_before and client.light.fork is not None
    assert "CRITICAL" in caplog.text
    kept = json.loads((tmp_path / "light-fork.json").read_bytes())["evidence"]
    assert sorted(json.dumps(row) for row in kept) == sorted(json.dumps(row) for row in [*chain.evidence, *other.evidence])
    against_theirs = chain.evidence[0]["value"]
    assert against_theirs["ConflictingBlock"]["signed_header"]["header"]["app_hash"] == "66" * 32
    assert len(against_theirs["ByzantineValidators"]) == 4 and against_theirs["TotalVotingPower"] == "40"
    async with client_of(chain, memory=memory) as client:  # a restart, and the liar is gone: still a person's decision
        with pytest.raises(ForkDetected, match=r"light-fork\.json"):
            await client.read(KEY)
    (tmp_path / "light-fork.json").rename(tmp_path / "settled.json")
    async with client_of(chain, memory=memory) as client:
        assert (await client.read(KEY)).value == b"forked"


async def test_a_fork_is_found_where_the_chains_part(chain: Any, mirror: Mirror, sign_block: Sign) -> None:
    """The committee was replaced on the way: evidence is about the first block that differs, not about the one asked for."""
    for _ in range(8):
        chain.block()
    common, founders = chain.height, chain.members
    chain.coming = STRANGERS
    chain.block()
    chain.put(KEY, VALUE)
    other = await mirror()
    forge(other, sign_block, common + 1, founders, STRANGERS, app_hash=b"\x66" * 32)
    for height in (common + 2, common + 3):
        forge(other, sign_block, height, app_hash=b"\x66" * 32)
    async with client_of(chain, other) as client:
        with pytest.raises(ForkDetected, match=f"forked at height {common + 1}"):
            await client.read(KEY)
    evidence = chain.evidence[0]["value"]
    assert int(evidence["CommonHeight"]) <= common
    assert evidence["ConflictingBlock"]["signed_header"]["header"]["height"] == str(common + 1)


@pytest.mark.parametrize("kind", ["strangers", "other chain", "no signature", "nonsense"])
async def test_a_witness_that_cannot_verify_is_dropped(
    chain: Any, mirror: Mirror, sign_block: Sign, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = await mirror()
    chain.put(KEY, VALUE)
    if kind == "strangers":
        forge(other, sign_block, chain.height, STRANGERS)
    if kind == "other chain":
        forge(other, sign_block, chain.height, chain_id="elsewhere")
    if kind == "no signature":
        forge(other, sign_block, chain.height, app_hash=b"\x66" * 32, silent=[key for key, _ in chain.members[:2]])
    if kind == "nonsense":
        other.tamper = lambda method, answer: {"header": {"chain_id": "\ud800"}}
    async with client_of(chain, other) as client:
        assert (await client.read(KEY)).value == VALUE
        assert client.light.counts["dropped"] == 1 and client.light.fork is None
        before = len(other.calls)
        chain.put(KEY, VALUE)
        await client.read(KEY)
        assert len(other.calls) == before
    assert "witness is dropped" in caplog.text and "no witness confirms" in caplog.text


async def test_what_no_witness_could_confirm_is_asked_when_one_is_back(chain: Any, mirror: Mirror, sign_block: Sign) -> None:
    other = await mirror()
    other.down = True
    async with client_of(chain, other) as client:
        chain.put(KEY, VALUE)
        await client.read(KEY)
        forge(other, sign_block, chain.height, app_hash=b"\x66" * 32)
        assert client.light.counts["unconfirmed"] == 1 and client.light.fork is None
        other.down = False
        client._rpc._rests.clear()
        chain.put(KEY, VALUE)
        other.blocks = {**chain.blocks, chain.height - 2: other.blocks[chain.height - 2]}
        with pytest.raises(ForkDetected, match=f"height {chain.height - 2}"):
            await client.read(KEY)


async def test_following_ends_at_a_fork_and_keeps_the_directory(
    chain: Any, mirror: Mirror, sign_block: Sign, caplog: pytest.LogCaptureFixture
) -> None:
    other = await mirror()
    forge(other, sign_block, chain.height, app_hash=b"\x66" * 32)
    async with client_of(chain, other) as client:
        task = asyncio.create_task(client.follow(0.01))
        async with asyncio.timeout(20):
            while client.light.fork is None:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        before = len(chain.calls)
        await asyncio.sleep(0.1)
        assert not task.done() and len(chain.calls) == before
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert caplog.text.count("the chain forked") >= 1


async def test_a_lunatic_primary_is_named_to_an_honest_witness(chain: Any, mirror: Mirror, sign_block: Sign) -> None:
    """The first address lies with the whole committee's signatures; the honest one receives evidence against the lie."""
    honest = await mirror()
    chain.put(KEY, VALUE)
    forge(chain, sign_block, chain.height, app_hash=b"\x66" * 32)
    async with client_of(chain, honest) as client:
        with pytest.raises(ForkDetected):
            await client.block(chain.height)
    told = honest.evidence[0]["value"]["ConflictingBlock"]
    assert light_block(told).hash == chain.blocks[chain.height].hash
    assert light_block_json(light_block(told)) == told
