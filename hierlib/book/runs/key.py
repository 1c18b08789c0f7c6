"""The key of a run: what an execution depends on, and nothing else.

Code cells, parameters, the files that parameters name, the Python modules of the checkout that the chapter can reach,
the files that these name, requirements.lock and the version of Python. Prose and captions are not in it; nor is
book/claims.yaml, since a run stores what it found and verdicts are computed later.
"""

import ast
import fnmatch
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from hierlib.book.runs.checkout import Chapter
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.inputs import Inputs
from hierlib.book.runs.targets import Target

FORMAT = 2  # raise it when the runner changes what a run's folder holds
_EXECUTION_TAGS = {"parameters", "skip-execution"}


def run_key(target: Target, values: Mapping) -> str:
    """16 hex digits that change whenever running `target` with these values could give something else."""
    return run_keys(target)(values)


def run_keys(target: Target, inputs: Inputs | None = None) -> Callable[[Mapping], str]:
    """`run_key` of one target as a function of the values: its code is read once, however many points there are, and
    so are the files of each value."""
    head = f"{FORMAT} {target.slug} python {sys.version_info[0]}.{sys.version_info[1]}".encode()
    tail = [*_code(target)]
    inputs = inputs or inputs_of(target)

    def key(values: Mapping) -> str:
        digest = hashlib.sha256()
        given = json.dumps([dict(values), inputs.of(target.parameters, values)], sort_keys=True).encode()
        for part in (head, given, *tail):
            digest.update(len(part).to_bytes(8) + part)
        return digest.hexdigest()[:16]

    return key


def inputs_of(target: Target) -> Inputs:
    """Finds the files that values of the target's parameters name."""
    return Inputs(target.root, target.path.parent if isinstance(target, Chapter) else Path.cwd())


def code_key(target: Target) -> str:
    """16 hex digits of what the target's runs share: they change with the code, whatever the parameters."""
    return run_key(target, {})


def _code(target: Target) -> Iterable[bytes]:
    root = target.root
    for source, tags in target.code:
        yield json.dumps([source, sorted(_EXECUTION_TAGS.intersection(tags))]).encode()
    code = code_tree(target)
    modules = reachable(code, root)
    for path in (*modules, *named_files(code, modules, root)):
        yield path.relative_to(root).as_posix().encode()
        yield path.read_bytes()
    own = strings(code) - {parameter.default for parameter in target.parameters.values()}
    yield json.dumps(Inputs(root, target.path.parent).of_code(own), sort_keys=True).encode()
    lock = root / "requirements.lock"
    yield lock.read_bytes() if lock.is_file() else b""


def code_tree(target: Target) -> ast.Module:
    """All code cells as one syntax tree: what one cell imports the next ones use."""
    body: list[ast.stmt] = []
    for line, (source, _) in zip(target.lines, target.code):
        try:
            body += ast.parse(_without_magics(source)).body
        except SyntaxError as error:
            where = f"{target.path.relative_to(target.root).as_posix()}:{line + (error.lineno or 1) - 1}"
            raise BadRequest(f"{where}: {error.msg}") from None
    return ast.Module(body, [])


def reachable(code: ast.Module, root: Path) -> list[Path]:
    """The checkout's own modules that code can import, directly or through others, sorted.

    A package's lazy attributes count as far as they are used: of ``hl.meanfield.solve`` hierlib/theory/meanfield.py,
    and of ``book.record``, where hierlib/book/__init__.py says ``{"record": "results"}``, that module. A
    package that is used in another way than by its attributes counts whole.
    """
    imports = _Imports(root)
    todo = [(_facts(code), "")]
    while todo:
        facts, package = todo.pop()
        for name in imports.of(facts, package):
            if (path := imports.take(name)) is not None:
                parent = name if path.name == "__init__.py" else name.rpartition(".")[0]
                todo.append((_facts_of(path), parent))
    return sorted(imports.taken.values())


class _Facts(NamedTuple):
    """What a code imports and names, read from its syntax tree once, since many chapters reach the same modules."""

    imports: list[ast.Import | ast.ImportFrom]
    dotted: set[str]  #: strings that could be names of modules
    prefixes: set[str]  #: what f-strings begin with, where that ends in a dot; those of a lazy `__getattr__` apart
    chains: set[tuple[str, ...]]  #: of a.b.c, and of a.b
    names: set[str]  #: used otherwise than by an attribute
    strings: set[str]  #: as of `strings`


def _facts(tree: ast.AST) -> _Facts:
    nodes = [*ast.walk(tree)]
    hooks = [n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == "__getattr__"]
    lazy = {id(n) for hook in hooks for n in ast.walk(hook)}  # `attribute` knows what these fetch
    joined = [n for n in nodes if isinstance(n, ast.JoinedStr) and n.values and id(n) not in lazy]
    texts = {text for n in nodes if (text := _text(n))}
    attributes = [n for n in nodes if isinstance(n, ast.Attribute)]
    inner = {id(n.value) for n in attributes}
    return _Facts(
        imports=[n for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))],
        dotted={text for text in texts if "." in text and all(part.isidentifier() for part in text.split("."))},
        prefixes={text for n in joined if (text := _text(n.values[0])) and text.endswith(".")},
        chains={tuple(chain) for n in attributes if (chain := _chain(n))},
        names={n.id for n in nodes if isinstance(n, ast.Name) and id(n) not in inner},
        strings=_strings(nodes),
    )


class _Imports:
    """Finds modules of the checkout by dotted name; `taken` holds those found so far."""

    def __init__(self, root: Path):
        self.bases = (root, root / "book")
        self.taken: dict[str, Path] = {}
        self.places: dict[str, Path | None] = {}  # found before: the same names are asked for by module after module

    def locate(self, name: str) -> Path | None:
        if name not in self.places:
            self.places[name] = self._place(name)
        return self.places[name]

    def _place(self, name: str) -> Path | None:
        for base in self.bases:
            stem = base.joinpath(*name.split("."))
            for path in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")):
                if path.is_file():
                    return path
        return None

    def take(self, name: str) -> Path | None:
        """The module's file if it is of this checkout and not taken yet."""
        path = None if name in self.taken else self.locate(name)
        if path is not None:
            self.taken[name] = path
        return path

    def of(self, facts: "_Facts", package: str) -> set[str]:
        """Dotted names of the checkout's modules that a code imports, parents included."""
        aliases, found = {}, {*facts.dotted}  # what each name of the file is bound to; import_module("hierlib.images")
        for node in facts.imports:
            if isinstance(node, ast.Import):
                for each in node.names:
                    found.add(each.name)
                    bound = each.name if each.asname else each.name.partition(".")[0]
                    aliases[each.asname or bound] = bound
                continue
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, *filter(None, [node.module])])
            found.add(base)
            for each in node.names:
                if each.name == "*":
                    found |= self.whole(base)
                else:
                    found |= self.attribute(base, each.name)
                    aliases[each.asname or each.name] = f"{base}.{each.name}"
        for text in facts.prefixes:  # import_module(f"hierlib._kernels.{name}")
            found |= self.whole(text[:-1])
        packages = {k: v for k, v in aliases.items() if (p := self.locate(v)) and p.name == "__init__.py"}
        for chain in facts.chains:
            if chain[0] in packages:
                name = packages[chain[0]]
                for part in chain[1:]:
                    found |= self.attribute(name, part)
                    name += f".{part}"
        for bare in facts.names & packages.keys():
            found |= self.whole(packages[bare])
        known = {name for name in found if name and self.locate(name)}
        return known | {name.rsplit(".", i)[0] for name in known for i in range(1, name.count(".") + 1)}

    def attribute(self, package: str, name: str) -> set[str]:
        """What taking an attribute of a package may import: the submodule, or what `__getattr__` fetches for it."""
        path = self.locate(package)
        if path is None or path.name != "__init__.py":
            return set()
        if self.locate(f"{package}.{name}"):
            return {f"{package}.{name}"}
        tree = _tree(path)
        bodies = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "__getattr__"]
        eager = {n.asname or n.name for node in tree.body if isinstance(node, ast.ImportFrom) for n in node.names}
        if not bodies or name in eager:
            return set()
        tables: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                pairs = [(_text(k), _text(v)) for k, v in zip(node.keys, node.values)]
                tables |= {k: v for k, v in pairs if k and v and self.locate(f"{package}.{v}")}
        return {f"{package}.{tables[name]}"} if name in tables else self.whole(package)

    def whole(self, package: str) -> set[str]:
        path = self.locate(package)
        if path is None or path.name != "__init__.py":
            return set()
        parts = (p.relative_to(path.parent).with_suffix("").parts for p in path.parent.rglob("*.py"))
        return {".".join([package, *p]).removesuffix(".__init__") for p in parts}


def named_files(code: ast.Module, modules: Iterable[Path], root: Path) -> list[Path]:
    """The files, other than modules, that the code can open by their name.

    Those are the files under book/ and benchmarks/results/ whose name, with its suffix, a string of the code holds
    (``*`` and the braces of an f-string stand for anything), and whatever lies beside a module that it reaches, such as
    a kernel's C++ source.
    """
    words = strings(code).union(*(_facts_of(path).strings for path in modules))
    names = {part for word in words if len(word) < 200 for part in word.split("/") if part}
    patterns = [name for name in names if re.search(r"\.\w+$", name)]
    found = set()
    for path in (*(root / "book").rglob("*"), *(root / "benchmarks" / "results").glob("*")):
        if not _is_prose(path) and path.is_file() and "__pycache__" not in path.parts:
            found |= {path} if any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns) else set()
    for folder in {module.parent for module in modules}:
        found |= {p for p in folder.iterdir() if p.is_file() and p.suffix not in (".py", ".pyc") and not _is_prose(p)}
    return sorted(found)


def strings(tree: ast.AST) -> set[str]:
    """All strings of a code; the braces of an f-string are ``*``."""
    return _strings([*ast.walk(tree)])


def _strings(nodes: list[ast.AST]) -> set[str]:
    joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in joined for part in node.values}
    words = {text for node in nodes if id(node) not in parts and (text := _text(node))}
    return words | {"".join(_text(part) or "*" for part in node.values) for node in joined}


def _is_prose(path: Path) -> bool:
    return path.suffix in (".md", ".bib") or path.name == "claims.yaml"


@lru_cache(maxsize=512)
def _parsed(path: Path, stamp: tuple[int, int]) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path))


@lru_cache(maxsize=512)
def _read(path: Path, stamp: tuple[int, int]) -> _Facts:
    return _facts(_parsed(path, stamp))


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _tree(path: Path) -> ast.Module:
    return _parsed(path, _stamp(path))


def _facts_of(path: Path) -> _Facts:
    return _read(path, _stamp(path))


def _without_magics(source: str) -> str:
    """A cell without IPython's magics, which ast cannot read."""
    return "\n".join(
        "pass" if line.startswith(("%", "!")) else line for line in source.splitlines() if not line.startswith("%%")
    )


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _chain(node: ast.Attribute) -> list[str]:
    """``a.b.c`` as ["a", "b", "c"]; nothing if it does not start at a name."""
    parts, base = [node.attr], node.value
    while isinstance(base, ast.Attribute):
        parts.append(base.attr)
        base = base.value
    return [base.id, *reversed(parts)] if isinstance(base, ast.Name) else []
