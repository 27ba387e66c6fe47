"""Keys of the ledger's records: one prefix each, fixed layouts."""

from network import chain_records as records


def test_keys_have_their_documented_bytes() -> None:
    assert records.account_key(bytes(32)) == b"\x01" + bytes(32)
    assert records.node_key(bytes(20)) == b"\x02" + bytes(20)
    assert records.PARAMS_KEY == b"\x03params"
    assert records.CURRENT_EPOCH_KEY == b"\x04epoch"
    assert records.epoch_key(258) == bytes.fromhex("050000000000000102")
    assert records.DIRECTORY_KEY == b"\x06directory"
    assert records.vrf_key(1, bytes(20)) == b"\x07" + bytes(7) + b"\x01" + bytes(20)
    assert records.commitment_key(1, bytes(20))[0] == 8
    assert records.transcript_key(1, bytes(32))[0] == 9
    assert records.score_commitment_key(1, bytes(20))[0] == 0x0B
    assert records.sheet_key(1, bytes(20))[0] == 0x0C
    assert records.validator_key(bytes(20))[0] == 0x0D
    assert records.group_key("m") == b"\x0em"


def test_no_key_begins_like_the_light_proxys_hexadecimal_notation() -> None:
    keys = [records.PARAMS_KEY, records.CURRENT_EPOCH_KEY, records.DIRECTORY_KEY, records.group_key(":")]
    assert not any(key.startswith(b"x:") for key in keys)
