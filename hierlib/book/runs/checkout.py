"""Finds the checkout, and the chapters that its table of contents names."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierlib import _yaml
from hierlib.book.runs import source
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import Parameter, parse_parameters

if TYPE_CHECKING:
    from nbformat import NotebookNode


class NoCheckout(BadRequest):
    """The book's sources are not here."""


class NoChapter(BadRequest):
    """There is no chapter of that name."""


@dataclass(frozen=True)
class Chapter:
    """A MyST-Markdown notebook of the book, called by its slug: book/03_half-way-and-back.md → half-way-and-back."""

    slug: str
    path: Path
    root: Path

    @cached_property
    def notebook(self) -> "NotebookNode":
        """The source as a notebook without outputs; see `hierlib.book.runs.source.notebook`."""
        return source.notebook(self.path, self.root)

    @cached_property
    def code(self) -> list[tuple[str, tuple[str, ...]]]:
        """Source and tags of every code cell."""
        cells = [cell for cell in self.notebook.cells if cell.cell_type == "code"]
        return [(cell.source, tuple(cell.metadata.get("tags", ()))) for cell in cells]

    @cached_property
    def lines(self) -> list[int]:
        """The line of the file where each code cell's source starts."""
        text, found = source.read(self.path, self.root).splitlines(), []
        for fence, cell in zip(self.notebook.metadata["source_map"], self.notebook.cells, strict=True):
            if cell.cell_type == "code":
                first, line = cell.source.split("\n")[0], fence
                while line < len(text) and text[line - 1] != first:  # past the fence and the cell's options
                    line += 1
                found.append(line)
        return found

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """What the chapter takes, in the order of its cell tagged `parameters`."""
        where = self.path.relative_to(self.root).as_posix()
        cells = [(line, source) for line, (source, tags) in zip(self.lines, self.code) if "parameters" in tags]
        if len(cells) > 1:
            raise BadRequest(f"{where}:{cells[1][0]}: a second cell is tagged `parameters`; a chapter has one")
        return parse_parameters(cells[0][1], where, cells[0][0]) if cells else {}


def find_checkout(start: Path | None = None) -> Path:
    """The nearest folder, from `start` (default: here) upwards, that holds _toc.yml and book/."""
    start = Path.cwd() if start is None else Path(start)
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "_toc.yml").is_file() and (folder / "book").is_dir():
            return folder
    raise NoCheckout(
        f"no checkout of the book in {start} or above it (a folder with _toc.yml and book/).\n"
        "The installed package holds the library only. This command needs the book's sources: git clone their "
        "repository, and call it there."
    )


def chapters(root: Path) -> dict[str, Chapter]:
    """The notebooks of _toc.yml by slug, in reading order; plain pages are none, nor are files not there."""
    found: dict[str, Chapter] = {}
    for path in in_contents(root):
        if not source.is_notebook(path, root):
            continue
        slug = _slug(path)
        if slug in found:
            raise BadRequest(f"_toc.yml: {path.name} and {found[slug].path.name} have one slug, {slug!r}")
        found[slug] = Chapter(slug, path, root)
    return found


def chapter(root: Path, slug: str) -> Chapter:
    """The chapter of that slug; its file's name will do, too. The files of others are not read.

    Raises:
        BadRequest: there is none, which is a `NoChapter`, or two have this slug.
    """
    named = in_contents(root)
    if len(same := [path for path in named if slug == _slug(path) and source.is_notebook(path, root)]) > 1:
        raise BadRequest(f"_toc.yml: {same[1].name} and {same[0].name} have one slug, {slug!r}")
    others = sorted((root / "book").glob("[!.]*.md"))  # also one that the table of contents does not name yet
    for path in (*same, *named, *others):
        names = (_slug(path), path.stem, path.name, path.relative_to(root).as_posix())
        if slug in names and source.is_notebook(path, root):
            return Chapter(_slug(path), path, root)
    known = "".join(f"\n  {_slug(path)}" for path in named if _may_be_one(path, root))
    raise NoChapter(f"there is no chapter {slug!r}; the chapters are:{known}")


def contents(root: Path) -> list[str]:
    """Every `root` and `file` entry of _toc.yml, in order, however deep.

    Raises:
        BadRequest: it is no YAML, or an entry is no name.
    """
    try:
        found = _files(_yaml.load((root / "_toc.yml").read_text("utf-8"), "_toc.yml"))
    except _yaml.NotYaml as error:
        raise BadRequest(str(error)) from None
    if bad := [name for name in found if not isinstance(name, str)]:
        raise BadRequest(f"_toc.yml: expected names of files, got {bad[0]!r}; write `- file: book/NAME`")
    return found


def in_contents(root: Path) -> list[Path]:
    """Of these the files that are there: chapters and plain pages."""
    paths = [root / (name if name.endswith(".md") else f"{name}.md") for name in contents(root)]
    return [path for path in paths if path.is_file()]


def _may_be_one(path: Path, root: Path) -> bool:
    try:
        return source.is_notebook(path, root)
    except BadRequest:
        return True


def _slug(path: Path) -> str:
    return re.sub(r"^\d+_", "", path.stem)


def _files(toc: Any) -> list[Any]:
    """Every `root` and `file` entry of a table of contents, in order, however deep."""
    if isinstance(toc, list):
        return [name for entry in toc for name in _files(entry)]
    if not isinstance(toc, dict):
        return []
    own = [toc[k] for k in ("root", "file") if k in toc]
    return own + [name for k, v in toc.items() if k not in ("root", "file") for name in _files(v)]
