"""The rooms of the library: none imports from one above it, none from a neighbour, and no modules go in a circle.

Imports inside functions count, those for type checkers alone do not.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the ground up; rooms on one floor do not know of each other. Single modules whose names begin with _
# stand below all. "hierlib" and "book" are what the packages offer by themselves.
FLOORS = [
    *(
        "grammar",
        "_kernels embedding probability",
        "noise sampling",
        "inference",
        "autoregression diffusion enumeration filtered",
    ),
    *("theory", "experiments", "language unmask"),
    *("networks", "hierlib", "images text", "train", "book.page", "book", "book.runs", "book.figures", "book.site"),
    *("book.image_commands", "book.commands", "book.cli", "book.__main__"),
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms.split()}


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in (ROOT / "hierlib").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(tree: ast.AST, package: list[str], known: dict[str, Path]) -> Iterator[str]:
    """The modules of `known` that a syntax tree imports, wherever it does; `package` is that of its module."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imported(ast.Module(node.orelse, []), package, known)
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = [f"{base}.{each.name}" if f"{base}.{each.name}" in known else base for each in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            names = [first_words(node.args[0])]
        yield from (name for name in names if name in known)
        yield from imported(node, package, known)


def first_words(node: ast.expr) -> str:
    """Of a string its text, of an f-string the package in which what it names must lie."""
    if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
        return str(node.values[0].value).rpartition(".")[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@cache
def arrows() -> dict[str, set[str]]:
    found = {}
    for name, path in modules().items():
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        found[name] = set(imported(ast.parse(path.read_text("utf-8")), package, modules())) - {name}
    return found


def room(module: str) -> str:
    words = module.split(".")[1:]
    if not words:
        return "hierlib"
    return ".".join(words[:2]) if words[0] == "book" else words[0]


def floor(module: str) -> int:
    if room(module) not in FLOOR and room(module).startswith("_"):
        return -1
    assert room(module) in FLOOR, f"{module}: on which floor does {room(module)} stand? say so in FLOORS"
    return FLOOR[room(module)]


def upward() -> set[tuple[str, str]]:
    every = {(a, b) for a, targets in arrows().items() for b in targets}
    return {
        (a, b) for a, b in every if room(a) != room(b) and floor(a) <= floor(b) and (floor(a), floor(b)) != (-1, -1)
    }


def circles() -> set[tuple[str, ...]]:
    """The modules that reach each other, by name."""

    def reached(start: str) -> set[str]:
        seen, todo = set(), [start]
        while todo:
            new = arrows()[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    reach = {name: reached(name) for name in arrows()}
    groups = ({b for b in reach[a] if a in reach[b]} for a in reach)
    return {tuple(sorted(group)) for group in groups if group}


def test_the_rooms_are_those_that_are_there():
    there = {room(name) for name in modules()}
    assert set(FLOOR) <= there, f"no longer there: {sorted(set(FLOOR) - there)}"
    assert len(modules()) > 80 and sum(map(len, arrows().values())) > 150


def test_no_import_goes_up_nor_to_a_neighbour():
    assert sorted(upward()) == []


def test_no_modules_import_each_other_in_a_circle():
    assert sorted(circles()) == []


@pytest.mark.parametrize(
    "code, found",
    [
        ("import pack.low", {"pack.low"}),
        ("from pack.low import name", {"pack.low"}),
        ("from pack import low, name", {"pack.low", "pack"}),
        ("from . import low", {"pack.low"}),
        ("from ..high import name", {"pack.high"}),
        ("def f():\n    import pack.high", {"pack.high"}),
        ("import_module(f'pack.{name}')", {"pack"}),
        ("importlib.import_module('pack.high')", {"pack.high"}),
        ("if TYPE_CHECKING:\n    import pack.high\nelse:\n    import pack.low", {"pack.low"}),
        ("import numpy", set()),
    ],
)
def test_every_way_to_import_is_seen(code, found):
    known = dict.fromkeys(("pack", "pack.low", "pack.high"), Path())
    inside = ["pack", "deep"] if ".." in code else ["pack"]
    assert set(imported(ast.parse(code), inside, known)) == found
