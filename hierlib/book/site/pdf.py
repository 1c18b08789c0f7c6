"""The whole book as one PDF: the pages of the site in one document, printed by a headless Chromium.

Live figures are there as their static twins, formulas are set by the site's own MathJax, and a link from page to page
becomes one inside of the document. Answers are unfolded; folded code is left out, the executed notebooks have it.
"""

import os
import posixpath
import re
import shutil
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from hierlib._files import whole
from hierlib._locks import locked
from hierlib.book.runs.checkout import contents
from hierlib.book.runs.errors import BadRequest
from hierlib.book.site.build import SiteError

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NO_BROWSER = (
    "there is no Chromium: install it (Debian: `apt install chromium`; anywhere: "
    "`python -m playwright install chromium`), or name it in $CHROMIUM"
)
# Only on screen: what a script draws, buttons, marks to link to, folded code, and notes with files to download.
_SCREEN_ONLY = "script, .live-stage, a.headerlink, button, details.above-input, details.hier-how"
_WIDTH = 800  # CSS pixels of the text; the sheet of A4 shows them smaller by _SCALE
_SCALE = 0.82
_STYLE = """
@page { size: A4; margin: 18mm 17mm 20mm; }
html, body, .bd-main, .bd-content, .bd-article-container { display: block !important; width: auto; overflow: visible; }
html[data-theme] body { font-size: 15px; }
.bd-article { padding: 0 !important; }
.page, nav.book-contents { break-before: page; }
.page > section > h1 { margin-top: 0; }
header.cover { padding-top: 40vh; }
header.cover p { font-family: var(--hier-sans); }
nav.book-contents li { list-style: none; }
nav.book-contents ul { padding: 0; }
h1, h2, h3, h4, h5, h6 { white-space: break-spaces; } /* or bookmarks join the words where a heading wraps */
.pst-scrollable-table-container, div.math, div.math > mjx-container { overflow: visible !important; }
.bd-article table.table, .bd-article .cell_output table { min-width: 0; overflow-wrap: anywhere; }
dl.py { break-inside: auto; }
"""
# What is wider than the text shrinks to its width: on paper nothing scrolls.
_FIT = """() => {
  const fit = (el, wide, room) => { if (wide > room + 1) el.style.zoom = Math.floor(98 * room / wide) / 100; };
  for (const el of document.querySelectorAll("div.math > mjx-container"))
    fit(el, el.querySelector("mjx-math").getBoundingClientRect().width, el.clientWidth);
  for (const el of document.querySelectorAll("article table"))
    fit(el, el.getBoundingClientRect().width, el.parentElement.clientWidth);
}"""
_UNSET = """() => [...document.querySelectorAll(".math")].filter((el) => !el.querySelector("mjx-container mjx-c"))
  .concat([...document.querySelectorAll("mjx-merror")]).map((el) => el.textContent.trim().slice(0, 60))"""


def find_chromium() -> str | None:
    """$CHROMIUM, or the browser on the path; None where there is only Playwright's own, if any."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def make_pdf(root: Path, target: Path) -> Path:
    """Prints the site that is in _build/html.

    Raises:
        BadRequest: there is no site, no Chromium, or no Playwright to drive it.
        SiteError: a formula was not set.
    """
    html = root / "_build" / "html"
    if not (html / "index.html").exists():
        raise BadRequest("there is no site yet; `make book` builds it")
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise BadRequest("the PDF is printed through Playwright: `pip install playwright`") from None
    page = root / "_build" / "book.html"
    with whole(target) as part, locked(root / "_build" / "site.lock"), sync_playwright() as playwright:
        page.write_text(assemble(html, contents(root)), "utf-8")
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--disable-gpu"])
        except Error as error:
            raise BadRequest(f"{NO_BROWSER}\n{str(error).splitlines()[0]}") from None
        _print(browser, page.as_uri(), part)
        browser.close()
    return target


def assemble(html: Path, names: list[str]) -> str:
    """One document of the named pages, to be written beside the folder of the site.

    Ids get their page's name before them, and links between the pages are turned to them.
    """
    from bs4 import BeautifulSoup

    soups = {name: BeautifulSoup((html / f"{name}.html").read_text("utf-8"), "html.parser") for name in names}
    parts, contents = [], []
    for name, soup in soups.items():
        article = _the(soup, "article.bd-article")
        for unwanted in article.select(_SCREEN_ONLY):
            unwanted.decompose()
        for folded in article.select("details"):
            folded["open"] = ""
        for tag in article.find_all(True):
            _point(tag, name, names, html.name)
        parts.append(f'<div class="page" id="{_stem(name)}">{article.decode_contents()}</div>')
        contents.append(f'<li><a href="#{_stem(name)}">{escape(_the(article, "h1").get_text().strip())}</a></li>')
    first = soups[names[0]]
    head = _the(first, "head")
    title = _the(first, "title").get_text().rpartition("—")[2].strip()
    stamp = first.select_one(".hier-stamp")
    styles = [str(_point(link, names[0], names, html.name)) for link in head.select("link[rel=stylesheet]")]
    maths = [str(_point(s, names[0], names, html.name)) for s in head.select("script") if "mathjax" in str(s).lower()]
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"{''.join(styles)}<style>{_STYLE}</style>{''.join(maths)}</head><body>"
        '<main class="bd-main"><div class="bd-content"><div class="bd-article-container"><article class="bd-article">'
        f'<header class="cover"><p class="h1">{escape(title)}</p>{stamp or ""}</header>'
        f'<nav class="book-contents" aria-label="Contents"><h2>Contents</h2><ul>{"".join(contents)}</ul></nav>'
        f"{''.join(parts)}</article></div></div></main></body></html>"
    )


def _the(within: "BeautifulSoup | Tag", selector: str) -> "Tag":
    """The first element that the selector finds; every page of the site has one."""
    if (found := within.select_one(selector)) is None:
        raise SiteError(f"expected an element {selector} in each page of the site, found none; build it anew")
    return found


def _point(tag: "Tag", page: str, names: list[str], folder: str) -> "Tag":
    """Turns the ids of a tag and what it points to from those of a page to those of the whole; returns the tag."""
    if "id" in tag.attrs:
        tag["id"] = f"{_stem(page)}--{tag['id']}"
    for key, value in tag.attrs.items():
        if not isinstance(value, str):
            continue
        if key in ("for", "aria-labelledby", "aria-describedby"):
            tag[key] = " ".join(f"{_stem(page)}--{id}" for id in value.split())
        elif key in ("href", "src", "xlink:href"):
            tag[key] = _link(value, page, names, folder)
        elif "url(#" in value:
            tag[key] = value.replace("url(#", f"url(#{_stem(page)}--")
    if tag.name == "a" and tag.get("href") == "":
        del tag["href"]
    return tag


def _link(link: str, page: str, names: list[str], folder: str) -> str:
    """A link of a page as one of the whole; "" to pages that are not in it."""
    where = urlsplit(link)
    if where.scheme or where.netloc:
        return link
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(where.path))) if where.path else page
    name = path.removesuffix(".html") if where.path else page
    if name in names:
        return f"#{_stem(name)}--{where.fragment}" if where.fragment else f"#{_stem(name)}"
    return "" if path.endswith(".html") else f"{folder}/{path}"


def _stem(page: str) -> str:
    return re.sub(r"\W+", "-", page.rpartition("/")[2])


def _print(browser: "Browser", url: str, target: Path) -> None:
    page = browser.new_page(viewport={"width": _WIDTH, "height": 1100}, color_scheme="light")
    page.set_default_timeout(600_000)
    page.emulate_media(media="print")
    page.goto(url, wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.evaluate("() => document.fonts.ready.then(() => null)")
    if unset := page.evaluate(_UNSET):
        raise SiteError(f"{len(unset)} formulas were not set: {'; '.join(unset[:3])}")
    page.evaluate(_FIT)
    foot = (
        '<div style="width: 100%; padding: 0 17mm; font: 8pt sans-serif; color: #555; display: flex">'
        '<span class="title"></span><span class="pageNumber" style="margin-left: auto"></span></div>'
    )
    page.pdf(
        path=target,
        prefer_css_page_size=True,
        print_background=True,
        scale=_SCALE,
        tagged=True,
        outline=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=foot,
    )
