"""Who may import whom, and who may touch the world (`docs/adr/0001-layout.md`)."""

import ast
from typing import Any

WORLD = {
    "aiohttp",
    "asyncio",
    "fcntl",
    "multiprocessing",
    "os",
    "plyvel",
    "random",
    "requests",
    "secrets",
    "select",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
    "xllamacpp",
}
MAY_IMPORT = {
    "network": set[str](),
    "relay": {"network"},
    "serving_node": {"network"},
    "abci_app": {"network"},
    "localnet": {"network"},
}
_VOCABULARY = ("ids", "codec", "crypto", "errors", "chain_params", "chain_tx", "chain_records", "inference", "vrf")
STATE_MAY_IMPORT = {f"network.{name}" for name in (*_VOCABULARY, "registration_work")}
STANDARD_FOR_STATE = {"collections", "dataclasses", "enum", "functools", "hashlib", "itertools", "json", "types", "typing"}
PACKAGES = set(MAY_IMPORT)


def _within(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def test_packages_import_only_what_lies_below_them(sources: Any) -> None:
    wrong = []
    for source in sources:
        for line, name in source.imports():
            other = name.partition(".")[0]
            if other not in PACKAGES or other == source.package or other in MAY_IMPORT[source.package]:
                continue
            if source.package == "localnet" and name.split(".")[1] == "config":
                continue
            wrong.append(f"{source.path}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_only_the_shell_touches_the_world(sources: Any) -> None:
    wrong = [
        f"{source.path}:{line} imports {name}"
        for source in sources
        if not source.is_shell
        for line, name in source.imports()
        if _within(name, WORLD)
    ]
    assert not wrong, "\n".join(wrong)


def test_pure_files_never_import_the_shell(sources: Any) -> None:
    wrong = [
        f"{source.path}:{line} imports {name}"
        for source in sources
        if not source.is_shell
        for line, name in source.imports()
        if name.partition(".")[0] in PACKAGES and {"aio", "cli", "__main__"} & set(name.split("."))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_state_machine_sees_only_the_vocabulary(sources: Any) -> None:
    wrong = []
    for source in sources:
        if not source.path.startswith("abci_app/state/"):
            continue
        for line, name in source.imports():
            ours = name.partition(".")[0] in PACKAGES
            allowed = _within(name, STATE_MAY_IMPORT | {"abci_app.state"}) if ours else _within(name, STANDARD_FOR_STATE)
            if not allowed:
                wrong.append(f"{source.path}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_set_up_runs_before_anything_is_installed(sources: Any) -> None:
    standard = {
        "argparse", "collections", "contextlib", "dataclasses", "fcntl", "hashlib", "json", "os", "pathlib", "re", "shutil",
        "signal", "stat", "subprocess", "sys", "tempfile", "time", "types", "typing",
    }  # fmt: skip
    wrong = [
        f"{source.path}:{line} imports {name}"
        for source in sources
        if source.path.startswith("localnet/setup/")
        for line, name in source.imports()
        if not _within(name, standard | {"localnet.setup"})
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_hides_in_a_function_or_behind_type_checking(sources: Any) -> None:
    wrong = []
    for source in sources:
        for node in ast.walk(source.tree):
            inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
                isinstance(part, ast.Import | ast.ImportFrom) for part in ast.walk(node)
            )
            if inner:
                wrong.append(f"{source.path}:{node.lineno} imports inside a function")
            if isinstance(node, ast.Name) and node.id == "TYPE_CHECKING":
                wrong.append(f"{source.path}:{node.lineno} uses TYPE_CHECKING")
    assert not wrong, "\n".join(wrong)


def test_sources_never_import_tests(sources: Any) -> None:
    assert not [source.path for source in sources for _, name in source.imports() if _within(name, {"tests"})]


def test_generated_code_is_imported_by_the_abci_room_alone(sources: Any) -> None:
    wrong = [
        f"{source.path}:{line}"
        for source in sources
        for line, name in source.imports()
        if ".pb" in name and "abci_pb" not in source.path and not source.path.startswith("abci_app/abci/")
    ]
    assert not wrong, "\n".join(wrong)


def test_there_are_no_import_loops(sources: Any) -> None:
    modules = {source.module for source in sources}
    graph = {
        source.module: {
            target
            for _, name in source.imports()
            for target in (name, name.rpartition(".")[0])
            if target in modules and target != source.module and not _is_face(target, sources)
        }
        for source in sources
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def _is_face(module: str, sources: Any) -> bool:
    """Whether this is an `__init__.py`; those hold nothing, so nothing can depend on them."""
    return any(source.module == module and source.path.endswith("__init__.py") for source in sources)
