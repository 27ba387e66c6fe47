"""The sources as syntax trees: what the rules of the house are checked on."""

import ast
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("abci_app", "localnet", "network", "relay", "serving_node")


@dataclass(frozen=True)
class Source:
    """One module: its path from the root, dotted name, text and tree."""

    path: str
    module: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]

    @property
    def is_shell(self) -> bool:
        """Whether it lies in a room that may touch the world."""
        rooms = self.path.split("/")
        return bool({"aio", "cli"} & set(rooms[:-1])) or rooms[-1] == "__main__.py"

    def imports(self) -> list[tuple[int, str]]:
        """(line, dotted name) of everything it imports, wherever the statement stands."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}:{node.lineno}: a relative import"
                found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
        return found


def tracked() -> list[str]:
    """Files under version control, and new ones that no rule ignores."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    return sorted({name for name in listing.stdout.decode().split("\0") if name and (ROOT / name).is_file()})


def _source(path: str) -> Source:
    text = (ROOT / path).read_text()
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return Source(path, module, text, ast.parse(text))


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """Every hand-written module of the five packages."""
    paths = [path for path in tracked() if path.endswith(".py") and path.split("/")[0] in PACKAGES and "/pb/" not in path]
    return [_source(path) for path in paths]


@pytest.fixture(scope="session")
def files() -> list[tuple[str, bytes]]:
    """Every tracked file with its bytes."""
    return [(path, (ROOT / path).read_bytes()) for path in tracked()]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
