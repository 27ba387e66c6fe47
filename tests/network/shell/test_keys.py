"""Key files: made whole and private, never overwritten, never quoted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from network.aio.keys import KeyFileError, create, load, load_or_create, save
from network.crypto import exchange_public
from network.hpke import OnionPrivate
from network.onion_keys import KeyRing


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys.json"
    made = load_or_create(path)
    again = load_or_create(path)
    assert made.signing.seed == again.signing.seed and made.onion_public == again.onion_public
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert set(json.loads(path.read_text())) == {"signing_seed", "onion_private"}


def test_newer_onion_keys_replace_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    made = create(path)
    first = made.onion.current
    ring = KeyRing(OnionPrivate(b"n" * 32, b"h" * 96), since=5.5, announced=7.0, previous=first)
    save(path, replace(made, onion=ring))
    again = load(path)
    assert again.onion == ring and again.signing.seed == made.signing.seed
    assert again.onion_public == exchange_public(b"n" * 32) and len(again.hybrid_public) == 1216
    save(path, replace(again, onion=replace(ring, previous=None)))
    assert load(path).onion.previous is None and first.x25519.hex() not in path.read_text(), "the old key is gone"
    assert path.stat().st_mode & 0o777 == 0o600 and list(tmp_path.iterdir()) == [path]


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.json"
    made = create(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(KeyFileError, match="No space left"):
        save(path, replace(made, onion=KeyRing(OnionPrivate(b"n" * 32))))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    create(path)
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        create(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    create(path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load(path)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"signing_seed":"{"00" * 32}","onion_private":"{"00" * 32}","onion_since":"SECRET"}}',
        "",
        "[]",
        "{}",
        '{"signing_seed":"zz","onion_private":""}',
        '{"signing_seed":"SECRET"',
    ],
)
def test_a_damaged_file_is_refused_without_being_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="not a key file") as raised:
        load(path)
    assert "SECRET" not in str(raised.value) and raised.value.__cause__ is None


def test_a_file_that_cannot_be_reached_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match="cannot be written"):
        create(tmp_path / "file" / "keys.json")
    with pytest.raises(KeyFileError, match="No such file"):
        load(tmp_path / "none.json")


def test_secrets_do_not_show(tmp_path: Path) -> None:
    keys = load_or_create(tmp_path / "keys.json")
    shown = repr(keys) + repr(keys.signing)
    assert keys.signing.seed.hex() not in shown and keys.onion.current.x25519.hex() not in shown + repr(keys.onion)
