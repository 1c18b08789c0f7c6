"""What can be run, a target: the chapters of the checkout, and its quantities."""

import ast
import importlib.util
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import hierlib
from hierlib.book.runs import checkout
from hierlib.book.runs.checkout import Chapter, NoChapter, chapters
from hierlib.book.runs.constraints import Value
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import Parameter, parse_parameters

if TYPE_CHECKING:
    import xarray as xr

FILES = ("hierlib/book/runs/quantities.py", "book/quantities.py")  # the library's, and the checkout's own


@dataclass(frozen=True)
class Quantity:
    """A function of a file of quantities, seen as a chapter is: phase_diagram is called phase-diagram."""

    slug: str
    path: Path
    root: Path

    def __reduce__(
        self,
    ) -> tuple[
        type["Quantity"], tuple[str, Path, Path]
    ]:  # what is cached stays here: ten thousand points travel to a cluster
        return Quantity, (self.slug, self.path, self.root)

    @property
    def name(self) -> str:
        """That of the function."""
        return self.slug.replace("-", "_")

    @cached_property
    def code(self) -> list[tuple[str, tuple[str, ...]]]:
        """The file without its other quantities, as the one code cell; comments do not count."""
        tree = _tree(self.path)
        others = {n for name in _names(tree) if name != self.name for n in (name, name.upper())}
        body = [node for node in tree.body if not others & _bound(node)]
        return [(ast.unparse(ast.Module(body, [])), ())]

    @property
    def lines(self) -> list[int]:
        """As `Chapter.lines`: the one cell begins in line 1."""
        return [1]

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """What it takes, in the order of the string that declares it."""
        where = self.path.relative_to(self.root).as_posix()
        line, text = _texts(_tree(self.path))[self.name.upper()]
        return parse_parameters(text, where, line + 1)

    def __call__(self, **values: Value) -> "xr.Dataset":
        """One point: an xarray.Dataset."""
        return getattr(_module(self.path), self.name)(**values)


Target = Chapter | Quantity


def quantities(root: Path) -> dict[str, Quantity]:
    """The quantities of a checkout by slug, in the order of their files. No code of them runs."""
    found: dict[str, Quantity] = {}
    for path in (root / name for name in FILES):
        for name in _names(_tree(path)) if path.is_file() else ():
            slug = name.replace("_", "-")
            if slug in found:
                raise BadRequest(f"{path.relative_to(root)}: a second quantity {slug!r}; give it another name")
            found[slug] = Quantity(slug, path, root)
    return found


def find_target(root: Path, slug: str) -> Target:
    """The quantity or else the chapter of that slug.

    Raises:
        BadRequest: there is none; the message lists what there is. Or it is a quantity, which is called in processes
            like this one, and they have the library of another checkout: its results would get this one's key.
    """
    known = quantities(root)
    if slug in known:
        own, here = root / "hierlib", Path(hierlib.__file__).resolve().parent
        if (own / "__init__.py").is_file() and own.resolve() != here:
            raise BadRequest(
                f"this is the checkout {root}, but the library that is installed is {here}; use the command of this "
                "checkout, .venv/bin/hierlib (`make book` makes it), or install it here: pip install -e ."
            )
        return known[slug]
    try:
        return checkout.chapter(root, slug)
    except NoChapter as error:
        more = "".join(f"\n  {name}" for name in known)
        raise NoChapter(f"{error}\nand the quantities are:{more}" if known else str(error)) from None


def targets(root: Path) -> list[Target]:
    """All that can be run."""
    return [*chapters(root).values(), *quantities(root).values()]


def _names(tree: ast.Module) -> list[str]:
    """Functions that a string of their name in capitals declares the parameters of."""
    declared = _texts(tree)
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name for name in functions if name.upper() in declared]


def _texts(tree: ast.Module) -> dict[str, tuple[int, str]]:
    """The strings of a file by the name that each is bound to, and their lines."""
    return {
        name: (node.lineno, node.value.value)
        for node in reversed(tree.body)  # of two of a name the first
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for name in _bound(node)
    }


def _bound(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.Assign):
        return {each.id for each in node.targets if isinstance(each, ast.Name)}
    return {node.name} if isinstance(node, ast.FunctionDef) else set()


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text("utf-8"))
    except SyntaxError as error:
        raise BadRequest(f"{path.name}:{error.lineno}: {error.msg}") from None


@lru_cache
def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"hierlib_quantities_{abs(hash(path))}", path)
    if spec is None or spec.loader is None:
        raise BadRequest(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
