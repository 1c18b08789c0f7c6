"""The site in a headless browser: every page, over http and from the disk. It must have been built before."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from . import axe
from . import browser as b

LIMIT = 3_000_000  # bytes that a page may load
FULL = '{ value: { getItem: () => null, setItem() { throw new DOMException("full", "QuotaExceededError") } } }'


def read(site: Path) -> list[Path]:
    """The pages to read: without the redirect at the top."""
    return [p for p in b.pages(site) if p != Path("index.html")]


def shown_as(scheme: str, seen: b.Visit) -> list[str]:
    """What a page complained of, and whether it has the colours that were asked for."""
    shown = seen.page.evaluate("document.documentElement.dataset.theme")
    return [*seen.complaints, *([] if shown == scheme else [f"asked for {scheme}, got {shown}"])]


def report(findings: dict) -> str:
    return "\n".join(f"{where}: {what}" for where, bad in findings.items() for what in bad)


@pytest.mark.timeout(900)
def test_every_page_on_a_desktop_by_day(browser, site, http):
    """With axe-core's rules, where they could be fetched."""
    try:
        axe.script()
        without = None
    except pytest.skip.Exception as reason:
        without = reason
    found, sizes = {}, {}
    for path in read(site):
        with b.visit(browser, f"{http}/{path}", idle=True) as seen:
            checks = [b.maths, b.figures, b.contrast]
            checks += [b.structure] if path.parent != Path(".") else []  # search and index are the theme's own pages
            checks += [axe.findings] if without is None else []
            sizes[path] = sum(seen.transfers)
            found[path] = [bad for check in checks for bad in check(seen.page)] + shown_as("light", seen)
    table = "\n".join(f"{size / 1e6:6.2f} MB  {path}" for path, size in sizes.items())
    (b.ROOT / "_build" / "page-sizes.txt").write_text(table + "\n")
    assert not any(found.values()), report(found)
    assert min(sizes.values()) > 100_000, f"sizes were not measured\n{table}"
    assert max(sizes.values()) < LIMIT, f"too much to load:\n{table}"
    if without is not None:
        raise without


@pytest.mark.timeout(900)
def test_every_page_on_a_phone_by_night(browser, site, http):
    """None scrolls sideways; then all of it is turned to a desktop's width, which shows other parts."""
    found = {}
    for path in read(site):
        with b.visit(browser, f"{http}/{path}", width=360, scheme="dark") as seen:
            found[path] = [bad for check in (b.maths, b.figures, b.contrast, b.overflow) for bad in check(seen.page)]
            seen.page.set_viewport_size({"width": 390, "height": 800})
            found[path] += b.overflow(seen.page)
            seen.page.set_viewport_size({"width": 1280, "height": 900})
            found[path] += b.contrast(seen.page) + shown_as("dark", seen)
    assert not any(found.values()), report(found)


@pytest.mark.timeout(600)
def test_every_page_from_the_disk(browser, site):
    found = {}
    for path in read(site):
        with b.visit(browser, (site / path).as_uri()) as seen:
            found[path] = seen.complaints + b.maths(seen.page)
    assert not any(found.values()), report(found)


FACES = "() => document.fonts.ready.then((all) => [...all].map((face) => [face.family, face.status]))"


@pytest.mark.timeout(900)
def test_every_page_in_a_sandboxed_frame(browser, site, http):
    """There is no storage there, and fonts come as data only."""
    found, set_in = {}, set()
    for path in read(site):
        with b.framed(browser, f"{http}/{path}") as seen:
            seen.page.wait_for_function(b.LIVE_DRAWN)
            found[path] = seen.complaints + b.maths(seen.page)
            faces = [(name, status) for name, status in seen.page.evaluate(FACES) if name.startswith("MJX")]
            found[path] += [f"the font {name} was refused" for name, status in faces if status == "error"]
            set_in |= {name for name, status in faces if status == "loaded"}
    assert not any(found.values()), report(found)
    assert {"MJXTEX", "MJXTEX-I", "MJXTEX-S1"} <= set_in


def test_search_in_a_sandboxed_frame(browser, site, http):
    with b.framed(browser, f"{http}/search.html?q=belief") as seen:
        seen.page.locator("#search-results a").first.wait_for()
        assert not seen.complaints


@pytest.mark.parametrize(
    "storage", ['{ get() { throw new DOMException("blocked", "SecurityError") } }', "{ value: null }", FULL]
)
def test_storage_that_is_forbidden_absent_or_full(browser, site, http, storage):
    context = browser.new_context(color_scheme="light")
    define = f"Object.defineProperty(window, name, {{ configurable: true, ...{storage} }})"
    context.add_init_script(f'for (const name of ["localStorage", "sessionStorage"]) {define}')
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{http}/book/index.html")
    theme, shown = "document.documentElement.dataset.theme", set()
    for _ in range(3):
        page.locator(".theme-switch-button").first.click()
        shown.add(page.evaluate(theme))
    assert shown == {"light", "dark"} and page.evaluate("localStorage.getItem('mode')")
    page.goto(f"{http}/search.html?q=belief")  # the theme keeps the place of its sidebar when a page is left
    page.locator("#search-results a").first.wait_for()
    context.close()
    assert not complaints


def test_the_keyboard_leads_through_a_page_and_its_place_is_seen(browser, site, http):
    with b.visit(browser, f"{http}/book/05_lost-all-at-once.html") as seen:
        page = seen.page
        page.keyboard.press("Tab")
        skip = page.locator("#pst-skip-link a")
        assert skip.evaluate("(el) => el === document.activeElement")
        page.wait_for_function("document.activeElement.getBoundingClientRect().top >= 0")  # it slides in
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == "#main-content"
        unseen, kinds = [], set()
        for _ in range(40):
            page.keyboard.press("Tab")
            tag, drawn, html = page.evaluate(
                """async () => {
                  await Promise.allSettled(document.getAnimations().map((each) => each.finished));
                  const el = document.activeElement, style = getComputedStyle(el), box = el.getBoundingClientRect();
                  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
                  return [el.localName, (ring || el.type === "range") && box.width > 0 && style.opacity > 0,
                    el.outerHTML.slice(0, 90)];
                }"""
            )
            kinds.add(tag)
            if not drawn:
                unseen.append(html)
        assert unseen == [] and {"a", "button", "input", "summary"} <= kinds


BELOW = [
    "book/05_lost-all-at-once.html#exercises",
    "book/05_lost-all-at-once.html#fig-phases",
    "book/notation.html#glossary",
    "book/api.html#hierlib.infer",
]


@pytest.mark.parametrize("width", [360, 1280])
def test_an_address_leads_to_its_place_when_all_is_set(browser, site, width):
    """Answers fold and formulas are set above it after the browser has gone there."""
    off = {}
    for address in BELOW:
        page, _, anchor = address.partition("#")
        with b.visit(browser, f"{(site / page).as_uri()}#{anchor}", width=width) as seen:
            seen.page.wait_for_function(b.LIVE_DRAWN)
            seen.page.wait_for_timeout(300)
            top = seen.page.locator(f"[id='{anchor}']").first.evaluate(
                """(el) => el.getBoundingClientRect().top -
                  parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop || 0) -
                  parseFloat(getComputedStyle(el).scrollMarginTop || 0)"""
            )
            if abs(top) > 4:
                off[address] = top
    assert not off


@pytest.mark.parametrize("scrolls", [False, True])
def test_a_reader_who_scrolls_while_the_page_is_set_stays_there(browser, site, scrolls):
    page = browser.new_context(viewport={"width": 360, "height": 800}).new_page()
    page.add_init_script(
        'Object.defineProperty(document.fonts, "ready", { value: new Promise((done) => (window.allIsSet = done)) })'
    )
    page.goto((site / "book" / "notation.html").as_uri() + "#glossary", wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise")
    if scrolls:
        page.mouse.move(150, 400)
        page.mouse.wheel(0, 1000)
        page.wait_for_timeout(300)
    page.evaluate(
        """() => document.querySelector("article")
          .prepend(Object.assign(document.createElement("div"), { style: "height: 3000px" }))"""
    )
    page.wait_for_timeout(300)
    page.evaluate("allIsSet()")
    page.wait_for_timeout(300)
    top = page.locator("#glossary").evaluate("(el) => el.getBoundingClientRect().top")
    assert abs(top) > 400 if scrolls else abs(top) < 200
    page.context.close()


def test_a_static_figure_opens_in_full_size(browser, site):
    """From the disk, with its text at a size that can be read: on a phone the page shows it 340 pixels wide."""
    with b.visit(
        browser, (site / "book" / "09_an-image-half-way-and-back.html").as_uri(), width=360, touch=True
    ) as seen:
        figures = seen.page.locator("figure:not(:has(.live)) svg.hier-figure")
        assert figures.count() == seen.page.locator("figure:not(:has(.live)) a.hier-full > svg").count() > 2
        figure = seen.page.locator("#fig-class-kept a.hier-full")
        small = figure.bounding_box()["width"]
        figure.tap()
        seen.page.wait_for_url("**/figures/**.svg")
        drawn = seen.page.locator("svg").first.bounding_box()
        assert drawn["width"] > 2 * small and drawn["height"] > 200 and not seen.complaints
        ink = seen.page.locator("svg").first.evaluate("(el) => getComputedStyle(el).color")
        assert ink != "rgb(0, 0, 0)"


def test_a_phone_is_shown_no_keys_and_sees_where_code_goes_on(browser, site):
    with b.visit(browser, (site / "book" / "recipes.html").as_uri(), width=360) as seen:
        keys = seen.page.locator(".search-button__kbd-shortcut")
        assert keys.count() and not any(each.is_visible() for each in keys.all())
        code = seen.page.locator(".bd-article pre").evaluate_all(
            "(all) => all.map((el) => [el.scrollWidth > el.clientWidth + 1, getComputedStyle(el).backgroundImage])"
        )
        assert any(wide for wide, _ in code) and all(shade.count("gradient") == 4 for _, shade in code)
        seen.page.set_viewport_size({"width": 1280, "height": 800})
        assert any(each.is_visible() for each in keys.all())


def test_a_figure_says_how_it_was_made(browser, site, http):
    with b.visit(browser, f"{http}/book/05_lost-all-at-once.html", width=390) as seen:
        seen.page.context.grant_permissions(["clipboard-read"])
        assert seen.page.locator("figure").count() == seen.page.locator("figure details.hier-how").count() > 3
        how = seen.page.locator("#fig-phases details.hier-how")
        how.locator("summary").press("Enter")
        assert "lost-all-at-once" in how.locator("dl").inner_text() and b.overflow(seen.page) == []
        with seen.page.expect_download() as download:
            how.locator("a[download]").first.press("Enter")
        data = Path(download.value.path()).read_bytes()
        assert download.value.suggested_filename == "phase-diagram.nc" and data[1:4] == b"HDF"
        button = how.locator("button.copybtn")
        button.press("Enter")
        copied = seen.page.evaluate("navigator.clipboard.readText()")
        assert copied.strip().startswith('make run CH=lost-all-at-once P="profile=quick seed=0 device=')
        seen.page.emulate_media(media="print")
        assert not how.is_visible()


def test_every_link_leads_somewhere(site):
    assert not b.links(site)


def test_no_sentence_takes_the_title_of_a_page_for_a_word_of_its_own():
    """A link after an article is to have words: with its title pasted in, it read "the Every claim, and what …"."""
    pasted = re.compile(r"\b(the|this|an?|its)\s+\{doc\}`[^<`]+`", re.I)
    sentences = [
        f"{p.name}: {m[0]}"
        for p in sorted((b.ROOT / "book").glob("*.md"))
        for m in pasted.finditer(p.read_text("utf-8"))
    ]
    assert not sentences and pasted.search("so says the {doc}`ledger`")


def test_the_recipes_are_named_where_engineers_look(site):
    first = (b.ROOT / "book" / "index.md").read_text("utf-8")
    lines = re.findall(r"^- (?:For engineers|To look things up):.*(?:\n  .*)*", first, re.M)
    assert len(lines) == 2 and all("recipes.md" in line for line in lines)
    assert "*How to …*" in (b.ROOT / "README.md").read_text("utf-8")
    menu = (site / "book" / "index.html").read_text("utf-8").split("In practice", 1)[1].split("Beside it", 1)[0]
    assert re.search(r'href="recipes.html">\s*How to …', menu)


def test_every_notebook_can_be_downloaded_as_it_was_executed(browser, site, http):
    notebooks = [p for p in sorted((b.ROOT / "book").glob("*.md")) if "```{code-cell}" in p.read_text()]
    notebooks = [p for p in notebooks if (site / "book" / f"{p.stem}.html").exists()]
    assert notebooks
    page = browser.new_page()
    for source in notebooks:
        page.goto(f"{http}/book/{source.stem}.html", wait_until="domcontentloaded")
        with page.expect_download() as download:
            page.locator("footer a", has_text="executed notebook").click()
        cells = json.loads(Path(download.value.path()).read_text())["cells"]
        code = [c for c in cells if c["cell_type"] == "code"]
        assert code and all(c["execution_count"] for c in code), source.name
        assert page.locator(".btn-download-notebook-button").count() == 1, source.name
    page.close()


@pytest.mark.parametrize("place", ["http", "file"])
def test_search_finds_a_word_of_a_chapter(browser, site, http, place):
    chapter = next(p for p in sorted((site / "book").glob("[0-9]*.html")))
    title = re.search(r"<title>(.*?)(&#8212;|—)", chapter.read_text("utf-8"), re.S)[1]
    word = max(re.findall(r"[A-Za-z]+", title), key=len).lower()
    base = http if place == "http" else site.as_uri()
    with b.visit(browser, f"{base}/search.html?q={quote(word)}") as seen:
        hit = seen.page.locator(f"#search-results a[href*='{chapter.stem}']").first
        hit.wait_for(timeout=10_000)
        hit.click()
        seen.page.wait_for_load_state("load")
        assert word in seen.page.locator("article h1").inner_text().lower()
        assert not seen.complaints


def test_the_reader_can_switch_to_dark_and_back(browser, site, http):
    with b.visit(browser, f"{http}/book/index.html") as seen:
        theme = "document.documentElement.dataset.theme"
        shown = {seen.page.evaluate(theme)}
        for _ in range(3):
            seen.page.locator(".theme-switch-button").first.click()
            shown.add(seen.page.evaluate(theme))
        assert shown == {"light", "dark"}


# ---- each checker can fail -------------------------------------------------------------------------

GOOD = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>t</title><link rel="icon" href="data:,">
<style>body {{ color: #111; background: #fff }}</style></head><body>
<a href="#main-content">Skip</a><main id="main-content"><article><h1>Title</h1>{body}</article></main>
<footer><span class="hier-stamp">hierlib 0.1.0 · commit abc · built 2026-01-01</span></footer></body></html>"""

BROKEN = [
    (b.maths, r'<span class="math">\(x\)</span>', "not typeset"),
    (b.maths, r"<p>where \(x\) is</p>", "raw LaTeX"),
    (b.maths, "<mjx-merror>oops</mjx-merror>", "error in maths"),
    (b.figures, '<img src="data:," alt="../_images/a.png">', "without words"),
    (b.figures, '<svg role="img"></svg>', "without words"),
    (b.figures, "<figure><figcaption>A caption</figcaption></figure>", "without a number"),
    (b.structure, "<h1>Another</h1>", "2 first headings"),
    (b.structure, '<i id="a"></i><i id="a"></i>', "the id a twice"),
    (b.structure, "<button></button>", "without a name"),
    (b.structure, "<script>onload = () => document.querySelector('.hier-stamp').remove()</script>", "no stamp"),
    (b.overflow, '<div style="width: 2000px">wide</div>', "px wide in"),
    (b.contrast, '<p style="color: #999">grey</p>', "< 4.5"),
    (b.contrast, '<p style="background: #123">on dark</p>', "< 4.5"),
]


@pytest.mark.parametrize("check, body, finding", BROKEN)
def test_a_broken_page_is_caught(browser, tmp_path, check, body, finding):
    (tmp_path / "good.html").write_text(GOOD.format(body="<p>Fine</p>"))
    (tmp_path / "bad.html").write_text(GOOD.format(body=body))
    with b.visit(browser, (tmp_path / "good.html").as_uri()) as seen:
        assert check(seen.page) == []
    with b.visit(browser, (tmp_path / "bad.html").as_uri()) as seen:
        assert any(finding in bad for bad in check(seen.page))


@pytest.mark.parametrize(
    "body, finding",
    [
        ('<img src="http://127.0.0.2:9/a.png" alt="">', "another host"),
        ("<script>console.error('oops')</script>", "console error"),
        ("<script>console.warn('hm')</script>", "console warning"),
        ("<script>throw new Error('oops')</script>", "uncaught"),
        ('<script src="missing.js"></script>', "console error"),
    ],
)
def test_a_noisy_page_is_caught(browser, tmp_path, body, finding):
    (tmp_path / "good.html").write_text(GOOD.format(body=""))
    (tmp_path / "bad.html").write_text(GOOD.format(body=body))
    with b.serve(tmp_path) as address:
        with b.visit(browser, f"{address}/good.html", idle=True) as seen:
            assert seen.complaints == []
            assert sum(seen.transfers) > len(GOOD) // 2
        with b.visit(browser, f"{address}/bad.html") as seen:
            assert any(finding in bad for bad in seen.complaints)


@pytest.mark.parametrize(
    "script, finding",
    [("localStorage.getItem('x')", "uncaught"), ("console.error('oops')", "oops"), ("fetch('good.html')", "fetch")],
)
def test_a_page_that_a_frame_breaks_is_caught(browser, tmp_path, script, finding):
    (tmp_path / "good.html").write_text(GOOD.format(body=""))
    (tmp_path / "bad.html").write_text(GOOD.format(body=f"<script>{script}</script>"))
    with b.serve(tmp_path) as address:
        with b.framed(browser, f"{address}/good.html") as seen:
            assert seen.complaints == []
        with b.framed(browser, f"{address}/bad.html") as seen:
            assert any(finding in bad for bad in seen.complaints)


def test_a_dead_link_is_caught(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#x">1</a><a href="#y">2</a><img src="c.png"><a href="b.html">3</a>'
    )
    (tmp_path / "b.html").write_text("<p>no anchor</p>")
    assert [bad.split(": ")[1] for bad in b.links(tmp_path)] == ["no anchor b.html#x", "no anchor #y", "no file c.png"]
