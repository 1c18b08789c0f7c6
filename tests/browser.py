"""Chromium, a server for a folder, and what can be wrong with a page: each checker returns its findings."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from hierlib.book.site.pdf import NO_BROWSER, find_chromium

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@contextlib.contextmanager
def chromium():
    """A headless Chromium; without one CI fails, and a developer is told what was not tested."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        except Error as error:
            reason = f"not tested: the site in a browser, because {NO_BROWSER}"
            if os.environ.get("CI"):
                pytest.fail(f"{reason}\n{error}")
            pytest.skip(reason)
        yield browser
        browser.close()


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address at which the folder is served."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


# In a page: milliseconds from its start, once every live figure is drawn; before, false.
LIVE_DRAWN = """() => [...document.querySelectorAll(".live-stage[data-live]")].every((stage) =>
  !stage.closest(".live-failed") && stage.querySelector("svg, canvas, [role=img], .words-text ins")) &&
  performance.now()"""


@dataclass
class Visit:
    """A page, open, and what happened while it loaded."""

    page: object
    url: str
    complaints: list[str] = field(default_factory=list)
    transfers: list[int] = field(default_factory=list)


@contextlib.contextmanager
def visit(
    browser, url: str, *, width: int = 1280, scheme: str = "light", touch: bool = False, idle: bool = False
) -> Iterator[Visit]:
    """Opens a page in a fresh profile and waits until its maths is set; `idle`: until nothing was loaded for .5 s."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=touch)
    context.set_default_timeout(120_000)  # a busy machine is slow, and not broken
    page = context.new_page()
    seen = Visit(page, url)
    home = urlsplit(url)[:2]

    def on_request(request):
        where = urlsplit(request.url)
        if where.scheme not in ("data", "blob") and where[:2] != home:
            seen.complaints.append(f"a request to another host: {request.url}")

    def on_console(message):
        if message.type in ("error", "warning"):
            seen.complaints.append(f"console {message.type}: {message.text}")

    page.on("request", on_request)
    page.on("console", on_console)
    page.on("pageerror", lambda error: seen.complaints.append(f"uncaught: {error}"))
    page.on("requestfailed", lambda request: seen.complaints.append(f"failed: {request.url}"))
    page.on("requestfinished", lambda request: seen.transfers.append(_size(request)))
    page.goto(url, wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise.then(() => document.fonts.ready)")
    if idle:
        page.wait_for_load_state("networkidle")
    page.evaluate("() => Promise.allSettled(document.getAnimations().map((each) => each.finished))")  # colours fade in
    try:
        yield seen
    finally:
        context.close()


@contextlib.contextmanager
def framed(browser, url: str) -> Iterator[Visit]:
    """Opens a page in a sandboxed frame, which has no storage and counts as another site; `page` is the frame.

    Fonts that are refused there are no complaint: the text falls back to the fonts of the machine.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
    page.on(
        "console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") and _grave(m.text) else None
    )
    page.set_content(f'<iframe sandbox="allow-scripts" src="{url}" width="1200" height="800"></iframe>')
    page.wait_for_load_state("networkidle")
    frame = page.frames[1]
    frame.wait_for_load_state("load")
    frame.evaluate("() => window.MathJax?.startup?.promise")
    try:
        yield Visit(frame, url, complaints)
    finally:
        context.close()


def _grave(message: str) -> bool:
    return not message.startswith(("Access to font at", "Failed to load resource: net::ERR_FAILED"))


def _size(request) -> int:
    sizes = request.sizes() if request.url.startswith("http") else None
    return sizes["responseBodySize"] + sizes["responseHeadersSize"] if sizes else 0


# ---- what can be wrong with an open page ----------------------------------------------------------


def maths(page) -> list[str]:
    """Formulas that are not typeset."""
    return page.evaluate(
        r"""() => {
          const bad = [];
          for (const el of document.querySelectorAll(".math"))
            if (!el.querySelector("mjx-container mjx-math mjx-c"))
              bad.push("not typeset: " + el.textContent.slice(0, 60));
          for (const el of document.querySelectorAll("mjx-merror, [data-mml-node=merror]"))
            bad.push("an error in maths: " + (el.getAttribute("title") ?? el.textContent).slice(0, 80));
          const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          for (let n; (n = walk.nextNode()); )
            if (/\\[([]|\$\$|\\begin\{/.test(n.data) && !n.parentElement.closest("code, pre, script, style, noscript"))
              bad.push("raw LaTeX: " + n.data.trim().slice(0, 60));
          return bad;
        }"""
    )


def figures(page) -> list[str]:
    """Pictures without words, and figures without a number."""
    return page.evaluate(
        r"""() => {
          const bad = [];
          const words = (t) => t && t.trim().length >= 15 && !/_images\/|\.(png|svg|jpe?g|gif)$/i.test(t.trim());
          for (const el of document.querySelectorAll("article :is(img, svg[role=img], canvas)"))
            if (!words(el.getAttribute("alt") ?? el.getAttribute("aria-label")))
              bad.push("a picture without words: " + el.outerHTML.slice(0, 90));
          for (const el of document.querySelectorAll("article figure"))
            if (!/^(Figure|Table|Listing) \d+(\.\d+)* *$/.test(el.querySelector(".caption-number")?.textContent ?? ""))
              bad.push("a figure without a number: " + (el.id || el.outerHTML.slice(0, 90)));
          for (const el of document.querySelectorAll("article svg.hier-figure"))
            if (!el.closest("figure")) bad.push("a figure outside a figure: " + el.getAttribute("aria-label"));
          return bad;
        }"""
    )


def structure(page) -> list[str]:
    """Landmarks, headings and names that a screen reader steers by; ids used twice; the stamp."""
    return page.evaluate(
        r"""() => {
          const bad = [], all = (s) => [...document.querySelectorAll(s)];
          if (!document.documentElement.lang) bad.push("no language");
          if (all("main").length !== 1) bad.push("not one main landmark");
          if (all("article h1").length !== 1) bad.push(all("article h1").length + " first headings");
          if (!document.querySelector("a[href='#main-content']")) bad.push("no skip link");
          const ids = new Set();
          for (const el of all("[id]")) ids.has(el.id) ? bad.push("the id " + el.id + " twice") : ids.add(el.id);
          for (const el of all("button, input:not([type=hidden], .sidebar-toggle), select, main a[href]"))
            if (!(el.textContent.trim() || el.ariaLabel || el.title || el.placeholder || el.labels?.length ||
                  el.querySelector("img[alt], svg[aria-label]")))
              bad.push("a control without a name: " + el.outerHTML.slice(0, 90));
          const stamp = document.querySelector("footer .hier-stamp")?.textContent ?? "";
          if (!/^hierlib \d+\.\d+\S* · commit \S+.* · built \d{4}-\d\d-\d\d$/.test(stamp))
            bad.push("no stamp: " + stamp);
          return bad;
        }"""
    )


def overflow(page) -> list[str]:
    """What makes the page scroll sideways."""
    return page.evaluate(
        r"""() => {
          const wide = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= wide) return [];
          const out = [...document.querySelectorAll("main *")].filter((el) => {
            const box = el.getBoundingClientRect();
            if (!box.width || box.right <= wide + 1) return false;
            for (let up = el.parentElement; up; up = up.parentElement)
              if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(up).overflowX)) return false;
            return true;
          });
          return [`${document.documentElement.scrollWidth} px wide in ${wide}: ` +
            out.slice(0, 3).map((el) => el.outerHTML.slice(0, 80)).join(" | ")];
        }"""
    )


def contrast(page) -> list[str]:
    """Text of a contrast below 4.5 (3 if large), and figures whose ink is."""
    return page.evaluate(
        r"""() => {
          const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
            .getContext("2d", { willReadFrequently: true });
          const rgba = (css) => {
            pen.clearRect(0, 0, 1, 1); pen.fillStyle = css; pen.fillRect(0, 0, 1, 1);
            const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
          };
          const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
          const lum = (c) => c.slice(0, 3).map((x) => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
            .reduce((s, x, i) => s + x * [0.2126, 0.7152, 0.0722][i], 0);
          const ground = (el) => {
            const layers = [];
            for (; el; el = el.parentElement) {
              layers.push(rgba(getComputedStyle(el).backgroundColor));
              if (layers.at(-1)[3] === 1) break;
            }
            return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
          };
          const ratio = (a, b) => {
            const [x, y] = [lum(a), lum(b)].sort((p, q) => q - p);
            return (x + 0.05) / (y + 0.05);
          };
          const bad = new Map();
          const test = (el, least) => {
            const style = getComputedStyle(el), back = ground(el), ink = rgba(style.color);
            let alpha = ink[3];
            for (let up = el; up; up = up.parentElement) alpha *= +getComputedStyle(up).opacity;
            if (alpha < 0.05) return; // there on hover only
            const got = ratio(over([...ink.slice(0, 3), alpha], back), back);
            if (got < least - 0.005)
              bad.set(`${got.toFixed(2)} < ${least}: ${style.color} on ${back.map(Math.round)}, ` +
                `${el.tagName}.${el.getAttribute("class") ?? ""} "${el.textContent.trim().slice(0, 30)}"`, 1);
          };
          const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), done = new Set();
          for (let n; (n = walk.nextNode()); ) {
            const el = n.parentElement;
            if (!n.data.trim() || done.has(el) || el.closest("script, style, svg, mjx-assistive-mml")) continue;
            done.add(el);
            if (!el.checkVisibility({ checkOpacity: false, checkVisibilityCSS: true })) continue;
            const style = getComputedStyle(el), size = parseFloat(style.fontSize);
            test(el, size >= 24 || (size >= 18.66 && +style.fontWeight >= 700) ? 3 : 4.5);
          }
          document.querySelectorAll("svg.hier-figure, mjx-container").forEach((el) => test(el, 4.5));
          return [...bad.keys()];
        }"""
    )


# ---- what can be wrong with the files of a site ----------------------------------------------------


class _Page(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids |= {values[k] for k in ("id", "name") if values.get(k)}
        self.links += [values[k] for k in ("href", "src") if values.get(k)]


def pages(site: Path) -> list[Path]:
    """The pages of a site, relative to it."""
    return sorted(p.relative_to(site) for p in site.rglob("*.html") if "_static" not in p.parts)


def links(site: Path) -> list[str]:
    """Links and sources that lead nowhere in the site."""
    parsed = {(site / p).resolve(): _Page((site / p).read_text("utf-8")) for p in pages(site)}
    bad = []
    for path, page in parsed.items():
        for link in page.links:
            where = urlsplit(link)
            if where.scheme or where.netloc:
                continue
            target = (path.parent / unquote(where.path)).resolve() if where.path else path
            if not target.is_file():
                bad.append(f"{path.relative_to(site.resolve())}: no file {link}")
            elif where.fragment and target in parsed and unquote(where.fragment) not in parsed[target].ids:
                bad.append(f"{path.relative_to(site.resolve())}: no anchor {link}")
    return bad
