"""The code of the chapters as pages of their own, and where in it a claim is answered, a figure made, a name used.

A chapter shows a few of its cells; these pages show all of them, in the order in which they ran. The ledger links each
verdict to the cell that recorded it, the note under a figure to the cell that drew it.
"""

import ast
import re
from collections.abc import Collection, Iterator
from functools import cache
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder

import hierlib
from hierlib.book.runs.checkout import Chapter, chapters
from hierlib.book.runs.key import code_tree

ANSWERS = ("record", "claim")  # what a cell calls to answer a claim,
DRAWS = ("show",)  # and to hand over a figure
CODE = "code"  # the pages' folder in the site
API = "book/api"


def setup(app: Sphinx) -> None:
    """Adds the pages of code, and under each name of the API page the chapters that use it."""
    app.connect("doctree-resolved", _say_where_used)
    app.connect("html-collect-pages", _code_pages)


@cache
def chapters_of(srcdir: str) -> dict[str, Chapter]:
    """The chapters of a checkout by slug, read once a build."""
    return chapters(Path(srcdir))


def cell_with(chapter: Chapter, word: str, calls: Collection[str]) -> int | None:
    """The number, from 1, of the last code cell with `word` as a string, or with an f-string that may become it.

    One that calls a function of such a name, as ``book.record`` is, is preferred.
    """
    read = {n: _strings_and_calls(source) for n, (source, _) in enumerate(chapter.code, 1)}
    found = [n for n, (strings, _) in read.items() if any(re.fullmatch(s, word) for s in strings)]
    calling = [n for n in found if read[n][1] & set(calls)]
    return next(iter(reversed(calling or found)), None)


@cache
def _strings_and_calls(source: str) -> tuple[set[str], set[str]]:
    """Of a cell its strings, as patterns, and the names of the functions that it calls."""
    strings: set[str] = set()
    called: set[str] = set()
    for node in ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "pass", source, flags=re.M))):
        if isinstance(node, ast.Call):
            called.add(ast.unparse(node.func).rpartition(".")[2])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(re.escape(node.value))
        elif isinstance(node, ast.JoinedStr) and any(isinstance(part, ast.Constant) for part in node.values):
            parts = [re.escape(str(v.value)) if isinstance(v, ast.Constant) else "[a-z0-9]+" for v in node.values]
            strings.add("".join(parts))
    return strings, called


def link(chapter: Chapter, number: int) -> str:
    """The address of a cell, from the top of the site."""
    return f"{CODE}/{chapter.slug}.html#cell-{number}"


def names_used(code: ast.Module) -> set[str]:
    """What code takes of hierlib, by its home: hierlib.inference.infer of ``hl.infer``, where hl is hierlib."""
    aliases: dict[str, str] = {}
    found: set[str] = set()
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            aliases |= {each.asname or each.name.partition(".")[0]: each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            aliases |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    for node in ast.walk(code):
        if isinstance(node, ast.Attribute | ast.Name):
            first, *rest = ast.unparse(node).split(".")
            found.add(".".join([aliases.get(first, ""), *rest]))
    return {_home(name) for name in found if name.startswith("hierlib.")}


def _home(name: str) -> str:
    """Where a name of hierlib is defined: hierlib.theory.meanfield.solve of hierlib.meanfield.solve."""
    first, *rest = name.split(".")[1:]
    known = getattr(hierlib, first, None)
    if isinstance(known, ModuleType):
        return ".".join([known.__name__, *rest])
    return ".".join([known.__module__, first, *rest]) if first in hierlib.__all__ else name


def _say_where_used(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Under each name of the API page the chapters whose code takes it."""
    if page != API or app.builder.name != "html":
        return
    used = {slug: names_used(code_tree(each)) for slug, each in chapters_of(str(app.srcdir)).items()}
    for entry in list(doctree.findall(addnodes.desc)):
        name = next(iter(entry[0].get("ids", [])), "")
        mine = [slug for slug in used if name.startswith("hierlib.") and _home(name) in used[slug]]
        if mine and isinstance(entry[-1], addnodes.desc_content) and entry.get("objtype") in ("function", "class"):
            entry[-1] += _chapter_links(app, mine)


def _chapter_links(app: Sphinx, slugs: list[str]) -> nodes.paragraph:
    """The numbered chapters by number, the pages beside them by title."""
    line = nodes.paragraph("", "Used in ", classes=["used-in"])
    for count, slug in enumerate(slugs):
        page = _page(chapters_of(str(app.srcdir))[slug])
        number = app.env.toc_secnumbers.get(page, {}).get("", ())
        name = f"chapter {number[0]}" if number else f"“{app.env.titles[page].astext()}”"
        link = nodes.reference("", name, internal=True, refuri=app.builder.get_relative_uri(API, page))
        line += [nodes.Text(", "), link] if count else [link]
    return line


def _page(chapter: Chapter) -> str:
    return chapter.path.relative_to(chapter.root).with_suffix("").as_posix()


def _code_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """One page of code for each chapter."""
    if not isinstance(app.builder, StandaloneHTMLBuilder) or app.builder.name != "html":
        return
    for chapter in chapters_of(str(app.srcdir)).values():
        name, page = f"{CODE}/{chapter.slug}", _page(chapter)
        title = escape(app.env.titles[page].astext())
        back = app.builder.get_relative_uri(name, page)
        body = [
            f'<section><h1>The code of “{title}”</h1><p>All cells of <a href="{back}">the chapter</a>, in the order in '
            f"which they run. The page of the chapter shows some of them; the others draw its figures, write numbers "
            f"into its text and answer its claims.</p></section>"
        ]
        for number, (source, tags) in enumerate(chapter.code, 1):
            quiet = next((t for t in tags if t in ("remove-cell", "remove-input", "parameters")), "")
            where = {"": "on the page", "parameters": "on the page: its parameters"}.get(quiet, "here only")
            code = app.builder.highlighter.highlight_block(source, "python")
            head = f'<h2>Cell {number} <span class="cell-where">{where}</span></h2>'
            body.append(f'<section id="cell-{number}">{head}{code}</section>')
        yield name, {"title": f"The code of {title}", "body": "\n".join(body), "parents": []}, "page.html"
