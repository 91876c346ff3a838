"""Holds what STYLE.md sections 4 and 5 say about public names and errors."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from fedmed import errors
from tests.source_trees import ROOT, SOURCES, source_files, source_trees

FILES = [
    path
    for package in SOURCES
    for path in source_files(package)
    if "proto" not in path.relative_to(ROOT).parts[:2]
]
NAMES = [str(path.relative_to(ROOT)) for path in FILES]

CLASS_WITH_A_BASE = re.compile(r"^\s*class\s+\w+\s*\(", re.MULTILINE)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public_definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public classes, functions and methods; what is nested in a function or in a private class is not."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If | ast.Try):
            yield from public_definitions(node.body, prefix)


def assigned_names(tree: ast.Module) -> set[str]:
    """Names that a module binds at its top level."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, Definition):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(leaf.id for t in targets for leaf in ast.walk(t) if isinstance(leaf, ast.Name))
    return names


def listed_names(tree: ast.Module) -> Iterator[list[str]]:
    """Each ``__all__`` of a module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets):
            yield list(ast.literal_eval(node.value))


# All files in one test: with one for each, pytest spent more on telling of them than on their trees.
def test_every_public_name_is_documented() -> None:
    trees = {name: source_trees()[path] for path, name in zip(FILES, NAMES, strict=True)}
    mute = [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)]
    assert mute == [], "modules that say nothing about themselves"
    silent = [
        f"{name}: {public}"
        for name, tree in trees.items()
        for public, node in public_definitions(tree.body)
        if not ast.get_docstring(node)
    ]
    assert silent == [], "no docstring"


def test_a_list_of_public_names_is_sorted_and_true() -> None:
    for path, name in zip(FILES, NAMES, strict=True):
        tree = source_trees()[path]
        for listed in listed_names(tree):
            assert listed == sorted(set(listed)), name
            public = {name for name in assigned_names(tree) if not name.startswith("_")} - {"annotations"}
            assert set(listed) <= public, name


def test_a_package_exports_what_it_imports() -> None:
    for path, name in zip(FILES, NAMES, strict=True):
        tree = source_trees()[path]
        for listed in listed_names(tree) if path.name == "__init__.py" else ():
            imported = {
                alias.asname or alias.name
                for stmt in tree.body
                if isinstance(stmt, ast.ImportFrom) and (stmt.module or "").startswith("fedmed")
                for alias in stmt.names
            }
            assert imported <= set(listed), name


def test_every_error_has_a_code_of_its_own() -> None:
    tree = ast.parse((ROOT / "fedmed" / "errors.py").read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    codes = [
        stmt.value.value
        for node in classes
        for stmt in node.body
        if isinstance(stmt, ast.Assign | ast.AnnAssign)
        and isinstance(stmt.value, ast.Constant)
        and "code"
        in {getattr(t, "id", "") for t in getattr(stmt, "targets", [getattr(stmt, "target", None)])}
    ]
    assert len(codes) == len(set(codes)) == len(classes)
    known = errors.all_errors()
    assert {node.name for node in classes} == {kind.__name__ for kind in known.values()}
    assert set(codes) == set(known)


def test_errors_are_defined_in_one_place() -> None:
    ours = {kind.__name__ for kind in errors.all_errors().values()} | {
        "Exception",
        "ValueError",
        "RuntimeError",
    }
    for path, name in zip(FILES, NAMES, strict=True):
        if name == "fedmed/errors.py":
            continue
        # To parse every file once more takes a second; a class with a base is seen in the text.
        if not CLASS_WITH_A_BASE.search(path.read_text(encoding="utf-8")):
            continue
        for node in ast.walk(source_trees()[path]):
            if isinstance(node, ast.ClassDef):
                bases = {getattr(base, "attr", getattr(base, "id", "")) for base in node.bases}
                assert not bases & ours, f"{name}: {node.name} belongs into fedmed/errors.py"


def test_the_command_line_has_an_exit_code_for_every_error() -> None:
    assert {kind.exit_code for kind in errors.all_errors().values()} <= {1, 2, 3, 4, 5, 6, 7, 8, 130}


def test_an_error_from_the_wire_carries_no_foreign_text() -> None:
    raised = errors.error_from_code("set_too_small", "custodian anhui, open")
    assert type(raised) is errors.SetTooSmall
    assert "anhui" in str(raised)
    unknown = errors.error_from_code("<script>", "custodian anhui, open")
    assert type(unknown) is errors.ProtocolError
    assert "<script>" not in str(unknown)
