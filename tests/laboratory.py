"""A page with the figures of the laboratory and nothing else, opened from a file."""

import shutil
from pathlib import Path

from hierlib.book.figures.laboratory import datum_html, laboratory_html, phases_html, string_html

from .engine import JS

SHEETS = ("fonts", "hier", "content", "live", "laboratory")
# In the page: whether its curves are there, and told.
DONE = "!document.querySelector('.lab-busy') && document.querySelector('.lab-said').textContent"


def page(folder: Path) -> Path:
    """Such a page in a folder, with its scripts and style sheets."""
    shutil.copytree(JS.parent, folder / "_static")
    sheets = "".join(f'<link rel="stylesheet" href="_static/css/{name}.css">' for name in SHEETS)
    scripts = '<script defer src="_static/js/live.js"></script>'
    path = folder / "lab.html"
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>laboratory</title>{sheets}{scripts}'
        '<meta name="viewport" content="width=device-width"><body style="margin:0 14px">'
        f'<div class="live">{laboratory_html()}<div class="live-still">still</div></div>'
        f'<div class="live">{datum_html()}</div><div class="live">{phases_html()}</div>'
        f'<div class="live">{string_html()}</div>',
        "utf-8",
    )
    return path


def slide(stage, name: str, value: float) -> None:
    """Moves a slider of a figure, as the reader's hand does."""
    stage.locator(f"[name={name}]").evaluate(
        "(el, value) => { el.value = value; el.dispatchEvent(new Event('input', { bubbles: true })); }", value
    )
