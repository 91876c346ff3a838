"""Holds that every test can fail in sight: it asserts, expects an error, or says what raises.

A test that only calls something passes as long as nothing raises, and a reader cannot tell whether that is
its point or whether its assertion was forgotten.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
SAYS_WHAT_RAISES = re.compile(r"\braises?\b", re.IGNORECASE)
EXPECTING = frozenset({"raises", "warns", "fail"})

Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """What one function of a file of tests does.

    Attributes:
        name: Its own, without that of its class.
        asserts: Whether it asserts or expects an error itself.
        calls: Last part of the name of everything that it calls.
        says: Whether its docstring says what raises.
    """

    name: str
    asserts: bool
    calls: frozenset[str]
    says: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What one file of tests holds: its functions, nested ones too, and modules that it imports from."""

    functions: tuple[Function, ...]
    lenders: frozenset[str]


def read_file(source: str) -> File:
    """Read one file of tests."""
    functions, lenders = [], set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Definition):
            functions.append(read_function(node))
        elif isinstance(node, ast.ImportFrom) and node.module:
            lenders.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return File(functions=tuple(functions), lenders=frozenset(lenders))


def read_function(definition: Definition) -> Function:
    """Read one function."""
    inside = list(ast.walk(definition))
    calls = frozenset(
        getattr(node.func, "attr", getattr(node.func, "id", ""))
        for node in inside
        if isinstance(node, ast.Call)
    )
    expects = bool(calls & EXPECTING) or any(name.startswith("assert_") for name in calls)
    return Function(
        name=definition.name,
        asserts=expects or any(isinstance(node, ast.Assert) for node in inside),
        calls=calls,
        says=SAYS_WHAT_RAISES.search(ast.get_docstring(definition) or "") is not None,
    )


def checking_names(files: Mapping[str, File]) -> dict[str, frozenset[str]]:
    """For each file the functions, its own and those lent to it, that assert; whoever calls one does too."""
    found = {name: frozenset[str]() for name in files}
    while True:
        more = {}
        for name, file in files.items():
            known = found[name].union(*(found[other] for other in file.lenders & files.keys()))
            own = (f.name for f in file.functions if f.asserts or f.calls & known)
            more[name] = known.union(own)
        if more == found:
            return found
        found = more


def mute_tests(files: Mapping[str, File]) -> list[str]:
    """Tests that end without an assertion and do not say what raises."""
    checking = checking_names(files)
    return [
        f"{name}: {function.name}"
        for name, file in files.items()
        for function in file.functions
        if function.name.startswith("test_")
        and not (function.asserts or function.says or function.calls & checking[name])
    ]


def test_the_scan_tells_a_test_that_asserts_from_one_that_does_not() -> None:
    lender = read_file("def holds(x):\n    assert x\ndef look(x):\n    holds(x)\ndef call(x): pass\n")
    borrower = read_file(
        "from tests.lender import call, look\n"
        "def test_a(): assert True\n"
        "def test_b(): look(1)\n"
        "def test_c(): call(1)\n"
        "def test_d():\n    with pytest.raises(ValueError): call(1)\n"
        'def test_e():\n    """It raises otherwise."""\n    call(1)\n'
        "def test_f():\n    holds(1)\n"
    )
    stranger = read_file("def test_g(): look(1)\n")
    found = mute_tests({"tests.lender": lender, "borrower": borrower, "stranger": stranger})
    assert found == ["borrower: test_c", "stranger: test_g"]


@pytest.mark.slow
def test_every_test_asserts_or_says_what_raises() -> None:
    files = {
        "tests." + ".".join(path.relative_to(ROOT).with_suffix("").parts): read_file(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(ROOT.rglob("*.py"))
    }
    assert mute_tests(files) == []
