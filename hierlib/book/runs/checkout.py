"""Finds the checkout, and the chapters that its table of contents names."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import Parameter, parse_parameters

if TYPE_CHECKING:
    from nbformat import NotebookNode


class NoCheckout(BadRequest):
    """The book's sources are not here."""


@dataclass(frozen=True)
class Chapter:
    """A MyST-Markdown notebook of the book, called by its slug: book/03_half-way-and-back.md → half-way-and-back."""

    slug: str
    path: Path
    root: Path

    @cached_property
    def notebook(self) -> "NotebookNode":
        """The source as a notebook without outputs; `metadata.source_map` has each cell's line."""
        from myst_nb.core.read import read_myst_markdown_notebook  # 0.3 s, not needed by `hierlib --help`

        return read_myst_markdown_notebook(self.path.read_text("utf-8"), add_source_map=True, path=self.path)

    @cached_property
    def code(self) -> list[tuple[str, tuple[str, ...]]]:
        """Source and tags of every code cell."""
        cells = [cell for cell in self.notebook.cells if cell.cell_type == "code"]
        return [(cell.source, tuple(cell.metadata.get("tags", ()))) for cell in cells]

    @cached_property
    def lines(self) -> list[int]:
        """The line of the file where each code cell's source starts."""
        text, found = self.path.read_text("utf-8").splitlines(), []
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
    for name in _files(yaml.safe_load((root / "_toc.yml").read_text("utf-8"))):
        path = root / (name if name.endswith(".md") else f"{name}.md")
        if not path.is_file() or not _is_notebook(path):
            continue
        slug = _slug(path)
        if slug in found:
            raise BadRequest(f"_toc.yml: {path.name} and {found[slug].path.name} have one slug, {slug!r}")
        found[slug] = Chapter(slug, path, root)
    return found


def chapter(root: Path, slug: str) -> Chapter:
    """The chapter of that slug; its file's name will do, too."""
    known = chapters(root)
    if slug in known:
        return known[slug]
    for path in sorted((root / "book").glob("[!.]*.md")):  # also one that the table of contents does not name yet
        each = Chapter(_slug(path), path, root)
        if slug in (each.slug, path.stem, path.name, f"book/{path.name}") and _is_notebook(path):
            return each
    raise BadRequest(f"there is no chapter {slug!r}; the chapters are:\n  " + "\n  ".join(known))


def _slug(path: Path) -> str:
    return re.sub(r"^\d+_", "", path.stem)


def _files(toc: object) -> list[str]:
    """Every `root` and `file` entry of a table of contents, in order, however deep."""
    if isinstance(toc, list):
        return [name for entry in toc for name in _files(entry)]
    if not isinstance(toc, dict):
        return []
    own = [toc[k] for k in ("root", "file") if k in toc]
    return own + [name for k, v in toc.items() if k not in ("root", "file") for name in _files(v)]


def _is_notebook(path: Path) -> bool:
    head = re.match(r"---\n(.*?)\n---\n", path.read_text("utf-8"), re.S)
    try:
        return yaml.safe_load(head[1])["jupytext"]["text_representation"]["format_name"] == "myst" if head else False
    except (KeyError, TypeError):
        return False
