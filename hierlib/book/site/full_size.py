"""A static figure is a link to itself in full size: on a phone its letters are small."""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from hierlib.book.page.style import ERASED, INK, PAPER

FOLDER = "figures"  # in the site: a folder for each page
_FIGURE = re.compile(r'<svg class="hier-figure".*?</svg>', re.S)
_SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)".*?--figure-width:([\d.]+)', re.S)
_SCALE = 160  # pixels an inch, as wide as a page where there is room
_WORDS = "Open this figure in full size"


def setup(app: Sphinx) -> None:
    """Connects it to Sphinx."""
    app.connect("html-page-context", _link_figures)


def alone(svg: str) -> str:
    """An inline figure as a file of its own: with a size, and with the colours that a page in light mode gives it."""
    wide, high, inches = map(float, _SIZE.findall(svg)[0])
    size = f'width="{inches * _SCALE:.0f}" height="{inches * _SCALE * high / wide:.0f}" '
    look = f"color:{INK};background:{PAPER};--hier-paper:{PAPER};--hier-erased:{ERASED};"
    svg = svg.replace("<svg ", f"<svg {size}", 1).replace('style="', f'style="{look}', 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}\n'


def _link_figures(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    if app.builder.name != "html" or not context.get("body"):
        return
    count = 0

    def link(found: re.Match) -> str:
        nonlocal count
        count += 1
        path = Path(FOLDER) / Path(page).name / f"{count}.svg"
        target = Path(app.outdir) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(alone(found[0]), "utf-8")
        address = context["pathto"](path.as_posix(), 1)
        return f'<a class="hier-full" href="{address}" title="{_WORDS}">{found[0]}</a>'

    context["body"] = _FIGURE.sub(link, context["body"])
