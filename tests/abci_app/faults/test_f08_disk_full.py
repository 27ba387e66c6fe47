"""F8: the disk of the application, or of CometBFT, is full, and then is not."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


class SmallDisk:
    """A file system of a few megabytes, and a file that fills it."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small file system needs the right to mount: {done.stderr.strip()}")

    def fill(self, leave: int) -> None:
        """All but this many bytes are taken."""
        free = shutil.disk_usage(self.folder).free
        (self.folder / "ballast").write_bytes(bytes(max(0, free - leave)))

    def free(self) -> None:
        (self.folder / "ballast").unlink()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


@pytest.fixture
def small_disk(make_chain: Any) -> Iterator[Callable[[Path, int], SmallDisk]]:
    """Mounts one; it is unmounted after the test."""
    made: list[SmallDisk] = []

    def make(folder: Path, megabytes: int) -> SmallDisk:
        made.append(SmallDisk(folder, megabytes))
        return made[-1]

    yield make
    for disk in made:
        disk.close()


def ended(validator: Any) -> bool:
    return validator.process is not None and validator.process.poll() is not None


def test_f08_no_room_for_the_application(
    make_chain: Any, fast: Any, small_disk: Any, registration: Any, until: Any, committed: Any, in_a_block: Any, measured: Any
) -> None:
    """The Commit that finds no room ends the process; nothing is answered, and nothing committed is lost."""
    validator = make_chain(1, params=fast).validators[0]
    disk = small_disk(validator.home / "disk", 16)
    config = validator.home / "config.toml"
    config.write_text(config.read_text().replace('data = "app.db"', 'data = "disk/app.db"'))
    validator.start()
    validator.wait_height(2)
    raw = registration(1)
    committed(validator, raw)
    disk.fill(20_000)
    until(lambda: "No space left on device" in validator.log(), validator.log)
    until(lambda: ended(validator) or "exited with code 70" in validator.log(), validator.log)
    if ended(validator):
        assert validator.stop() == 3 and "free space" in validator.log(), validator.log()[-2000:]
    disk.free()
    if validator.process is None:
        validator.start()
    seconds = until(lambda: validator.height() >= 3, validator.log)
    before = validator.height()
    until(lambda: validator.height() >= before + 3, validator.log)
    assert in_a_block(validator, raw).get("code", 0) == 0
    measured("F8", disk="application", recovered_s=round(seconds, 2))
    hashes = {at: validator.app_hash(at) for at in range(1, before)}
    assert validator.stop() == 0
    shutil.rmtree(validator.home / "disk" / "app.db")
    validator.start()
    until(lambda: validator.height() >= before, validator.log)
    assert hashes == {at: validator.app_hash(at) for at in range(1, before)}


@pytest.mark.slow
def test_f08_no_room_for_cometbft(
    make_chain: Any,
    fast: Any,
    small_disk: Any,
    registration: Any,
    until: Any,
    committed: Any,
    in_a_block: Any,
    same_as_undisturbed: Any,
    measured: Any,
) -> None:
    validator = make_chain(1, params=fast).validators[0]
    disk = small_disk(validator.home / "disk", 24)
    data = validator.home / "comet" / "data"
    shutil.move(data, disk.folder / "data")
    data.symlink_to(disk.folder / "data")
    validator.start()
    validator.wait_height(2)
    raw = registration(1)
    committed(validator, raw)
    disk.fill(20_000)
    until(lambda: "no space left on device" in validator.log(), validator.log)
    until(lambda: ended(validator) or "CometBFT decides nothing any more" in validator.log(), validator.log)
    disk.free()
    if ended(validator):
        validator.stop()
        validator.start()
    before = 2
    seconds = until(lambda: validator.height() >= before + 3, validator.log)
    assert in_a_block(validator, raw).get("code", 0) == 0
    measured("F8", disk="CometBFT", recovered_s=round(seconds, 2))
    same_as_undisturbed(validator)
