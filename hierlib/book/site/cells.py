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

from docutils import nodes
from sphinx import addnodes

from hierlib.book.runs.checkout import Chapter, chapters
from hierlib.book.runs.key import chapter_code

ANSWERS = ("record", "claim")  # what a cell calls to answer a claim,
DRAWS = ("show", "figure", "html")  # and to hand over a figure
CODE = "code"  # the pages' folder in the site
API = "book/api"


def setup(app) -> None:
    app.connect("builder-inited", lambda app: setattr(app, "hier_chapters", chapters(Path(app.srcdir))))
    app.connect("doctree-resolved", _used_in)
    app.connect("html-collect-pages", _pages)


def cell_with(chapter: Chapter, word: str, calls: Collection[str]) -> int | None:
    """The number, from 1, of the last code cell with `word` as a string, or with an f-string that may become it.

    One that calls a function of such a name, as ``book.record`` is, is preferred.
    """
    found = [n for n, (source, _) in enumerate(chapter.code, 1) if any(re.fullmatch(s, word) for s in _read(source)[0])]
    calling = [n for n in found if _read(chapter.code[n - 1][0])[1] & set(calls)]
    return next(iter(reversed(calling or found)), None)


@cache
def _read(source: str) -> tuple[set[str], set[str]]:
    """Of a cell its strings, as patterns, and the names of the functions that it calls."""
    strings, called = set(), set()
    for node in ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "pass", source, flags=re.M))):
        if isinstance(node, ast.Call):
            called.add(ast.unparse(node.func).rpartition(".")[2])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(re.escape(node.value))
        elif isinstance(node, ast.JoinedStr) and any(isinstance(part, ast.Constant) for part in node.values):
            parts = [re.escape(v.value) if isinstance(v, ast.Constant) else "[a-z0-9]+" for v in node.values]
            strings.add("".join(parts))
    return strings, called


def link(chapter: Chapter, number: int) -> str:
    """The address of a cell, from the top of the site."""
    return f"{CODE}/{chapter.slug}.html#cell-{number}"


def names_used(code: ast.Module) -> set[str]:
    """Dotted names of hierlib that code takes: hierlib.infer of ``hl.infer``, where hl is hierlib."""
    aliases, found = {}, set()
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            aliases |= {each.asname or each.name.partition(".")[0]: each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            aliases |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    for node in ast.walk(code):
        if isinstance(node, ast.Attribute | ast.Name):
            first, *rest = ast.unparse(node).split(".")
            found.add(".".join([aliases.get(first, ""), *rest]))
    return {name for name in found if name.startswith("hierlib.")}


def _used_in(app, doctree, page: str) -> None:
    """Under each name of the API page the chapters whose code takes it."""
    if page != API or app.builder.name != "html":
        return
    used = {slug: names_used(chapter_code(each)) for slug, each in app.hier_chapters.items()}
    for entry in list(doctree.findall(addnodes.desc)):
        name = (entry[0].get("ids") or [""])[0]
        home, _, last = name.rpartition(".")  # hierlib.theory.meanfield.solve may be known as hl.meanfield.solve only
        mine = [slug for slug in used if name in used[slug] or (home == "hierlib" and _anywhere(last, used[slug]))]
        if mine and isinstance(entry[-1], addnodes.desc_content) and entry.get("objtype") in ("function", "class"):
            entry[-1] += _chapter_links(app, mine)


def _anywhere(last: str, names: Collection[str]) -> bool:
    """hierlib.infer is hierlib.inference.infer too."""
    return any(re.fullmatch(rf"hierlib(\.[a-z_]+)?\.{re.escape(last)}", name) for name in names)


def _chapter_links(app, slugs: list[str]) -> nodes.paragraph:
    """The numbered chapters by number, the pages beside them by title."""
    line = nodes.paragraph("", "Used in ", classes=["used-in"])
    for count, slug in enumerate(slugs):
        page = _page(app.hier_chapters[slug])
        number = app.env.toc_secnumbers.get(page, {}).get("", ())
        name = f"chapter {number[0]}" if number else f"“{app.env.titles[page].astext()}”"
        link = nodes.reference("", name, internal=True, refuri=app.builder.get_relative_uri(API, page))
        line += [nodes.Text(", "), link] if count else [link]
    return line


def _page(chapter: Chapter) -> str:
    return chapter.path.relative_to(chapter.root).with_suffix("").as_posix()


def _pages(app) -> Iterator[tuple[str, dict, str]]:
    """One page of code for each chapter."""
    if app.builder.name != "html":
        return
    for chapter in app.hier_chapters.values():
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
