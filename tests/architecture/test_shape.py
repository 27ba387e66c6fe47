"""How a source file looks: headed, annotated, small, and free of what consensus cannot bear."""

import ast
from typing import Any

MOST_LINES, MOST_FUNCTION_LINES = 350, 60
HOMELESS = {"utils.py", "helpers.py", "common.py", "misc.py"}


def _functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_every_module_opens_with_a_header(sources: Any) -> None:
    wrong = []
    for source in sources:
        header = ast.get_docstring(source.tree)
        if not header or not 1 <= len(header.splitlines()) <= 10:
            wrong.append(source.path)
    assert not wrong, f"a header of 1 to 10 lines is missing: {wrong}"


def test_package_faces_construct_nothing(sources: Any) -> None:
    faces = [source for source in sources if source.path.endswith("__init__.py")]
    assert not [source.path for source in faces if len(source.tree.body) != 1]


def test_files_and_functions_stay_readable(sources: Any) -> None:
    wrong = [
        f"{source.path}: {source.text.count(chr(10))} lines"
        for source in sources
        if source.text.count("\n") > MOST_LINES or source.path.rpartition("/")[2] in HOMELESS
    ]
    for source in sources:
        for function in _functions(source.tree):
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > MOST_FUNCTION_LINES:
                wrong.append(f"{source.path}:{function.lineno} {function.name}: {length} lines")
    assert not wrong, "\n".join(wrong)


def test_every_function_says_what_it_returns(sources: Any) -> None:
    wrong = [
        f"{source.path}:{function.lineno} {function.name}"
        for source in sources
        for function in _functions(source.tree)
        if function.returns is None
    ]
    assert not wrong, "\n".join(wrong)


def test_public_names_of_the_state_machine_are_documented(sources: Any) -> None:
    wrong = [
        f"{source.path}:{node.lineno} {node.name}"
        for source in sources
        if source.path.startswith("abci_app/state/") or source.path == "network/codec.py"
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_state_machine_knows_integers_only(sources: Any) -> None:
    wrong = []
    for source in sources:
        if not source.path.startswith("abci_app/state/"):
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                wrong.append(f"{source.path}:{node.lineno} a float literal")
            if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
                wrong.append(f"{source.path}:{node.lineno} a true division")
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("float", "hash", "id", "print")
            ):
                wrong.append(f"{source.path}:{node.lineno} {node.func.id}()")
            if isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.Set | ast.SetComp):
                wrong.append(f"{source.path} iterates over a set")
    assert not wrong, "\n".join(wrong)


def test_broad_excepts_say_why(sources: Any) -> None:
    wrong = []
    for source in sources:
        lines = source.text.splitlines()
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
            ):
                reraises = any(isinstance(part, ast.Raise) and part.exc is None for part in ast.walk(node))
                if not reraises and "noqa: BLE001" not in lines[node.lineno - 1]:
                    wrong.append(f"{source.path}:{node.lineno}")
    assert not wrong, "\n".join(wrong)


def test_no_wait_swallows_a_cancellation(sources: Any) -> None:
    """`asyncio.wait_for` of Python 3.11 returns normally when its awaitable is done as the cancellation comes, and the task
    goes on for ever; `asyncio.timeout` does not. Found when a model node hung in its shutdown."""
    wrong = [
        f"{source.path}:{node.lineno}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr == "wait_for" and isinstance(node.value, ast.Name)
        if node.value.id == "asyncio"
    ]
    assert not wrong, f"use asyncio.timeout: {wrong}"


def test_nothing_is_left_for_later(sources: Any) -> None:
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")
    assert not [(source.path, word) for source in sources for word in words if word in source.text]


def test_the_environment_is_read_at_the_edge_only(sources: Any) -> None:
    wrong = [
        f"{source.path}:{node.lineno}"
        for source in sources
        if not source.is_shell
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    ]
    assert not wrong, "\n".join(wrong)
