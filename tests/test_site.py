"""The site in a headless browser: every page, over http and from the disk. It must have been built before."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from hierlib.book import sphinxext

from . import axe
from . import browser as b

LIMIT = 3_000_000  # bytes that a page may load


@pytest.fixture(scope="module")
def browser():
    with b.chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def site(browser):
    """The built site; refuses one that is not made of what is in the checkout now."""
    noted = b.SITE / sphinxext.SOURCES
    if not noted.exists():
        pytest.fail("there is no site in _build/html: run `make book` first")
    was, now = json.loads(noted.read_text()), sphinxext.sources(b.ROOT)
    changed = sorted(k for k in was.keys() | now.keys() if was.get(k) != now.get(k))
    if changed:
        pytest.fail(f"the site is older than {', '.join(changed[:3])} (of {len(changed)}): run `make book` first")
    return b.SITE


@pytest.fixture(scope="module")
def http(site):
    with b.serve(site) as address:
        yield address


def read(site: Path) -> list[Path]:
    """The pages to read: without the redirect at the top."""
    return [p for p in b.pages(site) if p != Path("index.html")]


def report(findings: dict) -> str:
    return "\n".join(f"{where}: {what}" for where, bad in findings.items() for what in bad)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_over_http(browser, site, http, scheme):
    found, sizes = {}, {}
    for path in read(site):
        with b.visit(browser, f"{http}/{path}", scheme=scheme) as seen:
            reader = path.parent != Path(".")  # search and index are the theme's own pages
            checks = [b.maths, b.figures, b.contrast] + ([b.structure] if reader else [])
            found[path] = seen.complaints + [bad for check in checks for bad in check(seen.page)]
            sizes[path] = sum(seen.transfers)
            shown = seen.page.evaluate("document.documentElement.dataset.theme")
            if shown != scheme:
                found[path].append(f"asked for {scheme}, got {shown}")
    table = "\n".join(f"{size / 1e6:6.2f} MB  {path}" for path, size in sizes.items())
    (b.ROOT / "_build" / "page-sizes.txt").write_text(table + "\n")
    assert not any(found.values()), report(found)
    assert min(sizes.values()) > 100_000, f"sizes were not measured\n{table}"
    assert max(sizes.values()) < LIMIT, f"too much to load:\n{table}"


@pytest.mark.timeout(600)
def test_every_page_from_the_disk(browser, site):
    found = {}
    for path in read(site):
        with b.visit(browser, (site / path).as_uri()) as seen:
            found[path] = seen.complaints + b.maths(seen.page)
    assert not any(found.values()), report(found)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("width", [360, 390])
def test_no_page_scrolls_sideways_on_a_phone(browser, site, http, width):
    found = {}
    for path in read(site):
        with b.visit(browser, f"{http}/{path}", width=width) as seen:
            found[path] = b.overflow(seen.page)
    assert not any(found.values()), report(found)


@pytest.mark.timeout(900)
def test_axe_finds_nothing(browser, site, http):
    axe.script()  # or the test is skipped
    found = {}
    for path in read(site):
        with b.visit(browser, f"{http}/{path}") as seen:
            found[path] = axe.findings(seen.page)
    assert not any(found.values()), report(found)


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
        assert copied.strip().startswith('make run CH=lost-all-at-once P="profile=quick seed=0 v=32 m=8')
        seen.page.emulate_media(media="print")
        assert not how.is_visible()


def test_every_link_leads_somewhere(site):
    assert not b.links(site)


def test_every_notebook_can_be_downloaded_as_it_was_executed(browser, site, http):
    notebooks = [p for p in sorted((b.ROOT / "book").glob("*.md")) if "```{code-cell}" in p.read_text()]
    notebooks = [p for p in notebooks if (site / "book" / f"{p.stem}.html").exists()]
    assert notebooks
    for source in notebooks:
        with b.visit(browser, f"{http}/book/{source.stem}.html") as seen:
            link = seen.page.locator("footer a", has_text="executed notebook")
            with seen.page.expect_download() as download:
                link.click()
            cells = json.loads(Path(download.value.path()).read_text())["cells"]
            code = [c for c in cells if c["cell_type"] == "code"]
            assert code and all(c["execution_count"] for c in code), source.name
            assert seen.page.locator(".btn-download-notebook-button").count() == 1, source.name


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


def test_the_strata_take_a_guess_and_then_the_noise_by_keyboard(browser, site, http):
    with b.visit(browser, f"{http}/book/index.html", width=390) as seen:
        stage = seen.page.locator(".strata").first
        data = json.loads(stage.locator("script").text_content())
        slider, word = stage.locator("input"), stage.locator(".strata-word")
        height = stage.bounding_box()["height"]

        def erased():  # pixels of the class's row that have lost its colour, as a fraction
            return stage.locator("canvas").evaluate(
                """(c, colour) => {
                  const row = c.getContext("2d").getImageData(0, Math.round(c.height / 40), c.width, 1).data;
                  const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
                  let n = 0;
                  for (let i = 0; i < row.length; i += 4) n += row[i] !== r || row[i + 1] !== g || row[i + 2] !== b;
                  return n / c.width;
                }""",
                data["colours"][-1],
            )

        slider.focus()
        for _ in range(5):
            seen.page.keyboard.press("ArrowRight")
        assert erased() < 0.05, "a guess must not give the answer away"
        stage.locator(".strata-go").press("Enter")
        assert slider.input_value() == "0"
        assert stage.locator(".strata-guess").is_visible() and not stage.locator(".strata-truth").is_visible()
        seen.page.keyboard.press("End")
        fraction = data["class_kept"][-1]
        assert stage.locator("[data-meter=class] output").inner_text() == f"{fraction * 100:.0f} of 100 runs"
        assert f"{data['leaves_kept'][-1] * 100:.0f} %" in stage.locator("[data-meter=leaves]").inner_text()
        assert stage.locator(".strata-truth").is_visible()
        assert f"You guessed t = {data['t'][5]}." in word.inner_text()
        assert (erased() > 0.95) == ("the class is changed" in stage.locator("canvas").get_attribute("aria-label"))
        assert abs(stage.bounding_box()["height"] - height) < 1, "the page jumps"


SCREENS = [(1280, "light", False), (1280, "dark", False), (360, "dark", True)]  # width, mode, touch


def legible(stage) -> bool:
    """Whether all that is written in a live figure's pictures has the colour of the text, or stands on a colour."""
    return stage.evaluate(
        """(stage) => [...stage.querySelectorAll("svg text:not([fill^='#'])")].every((el) =>
          ["--hier-ink", "--hier-muted"].some((name) => {
            const ink = Object.assign(document.createElement("i"), { style: `color: var(${name})` });
            stage.append(ink);
            const same = getComputedStyle(ink).color === getComputedStyle(el).fill;
            ink.remove();
            return same;
          }))"""
    )


@pytest.mark.parametrize("width, scheme, touch", SCREENS)
def test_ways_back_in_the_browser_come_to_what_belief_propagation_says(browser, site, http, width, scheme, touch):
    where = f"{http}/book/03_half-way-and-back.html"
    with b.visit(browser, where, width=width, scheme=scheme, touch=touch) as seen:
        stage = seen.page.locator("[data-live=small-grammar]")
        slider = stage.locator("input")
        height = stage.bounding_box()["height"]

        def press(name):
            button = stage.locator("button", has_text=re.compile(f"^{name}$"))
            button.tap() if touch else button.press("Enter")

        def meter():
            kept, runs = re.findall(r"\d+", stage.locator(".grammar-count").inner_text())
            return int(kept), int(runs), float(stage.locator(".grammar-belief").inner_text())

        def crosses():
            return stage.locator("svg rect[stroke='var(--hier-changed)']").count()

        slider.press("Home")
        assert meter() == (1, 1, 1.0) and crosses() < 10
        few = crosses()
        slider.press("End")
        assert "t = 1.2," in slider.get_attribute("aria-valuetext") and crosses() > few + 20
        slider.press("Home")
        assert crosses() == few, "the same noise, another picture"

        for _ in range(4):
            press("100 more ways back")
        far = []
        for _ in range(2):
            for _ in range(10):
                slider.press("ArrowRight")
            kept, runs, p = meter()
            assert runs == 401
            far.append(abs(kept / runs - p) <= 4 * (max(p * (1 - p), 1 / runs) / runs) ** 0.5)
        assert all(far), "frequencies must come to the posterior"
        words = stage.locator("[role=status]").inner_text()
        assert f"belief propagation says {p:.3f}" in words and f"Over {runs} ways back" in words
        now = stage.locator("svg").inner_html()
        press("Another way back")
        assert meter()[1] == 402
        press("Another datum")
        assert meter()[1] == 1 and stage.locator("svg").inner_html() != now
        assert legible(stage)
        assert abs(stage.bounding_box()["height"] - height) < 1, "the page jumps"
        assert not seen.complaints and not b.overflow(seen.page)


@pytest.mark.parametrize("width, scheme, touch", SCREENS)
def test_one_point_moves_the_phase_diagram_the_map_and_the_levels(browser, site, http, width, scheme, touch):
    where = f"{http}/book/05_lost-all-at-once.html"
    with b.visit(browser, where, width=width, scheme=scheme, touch=touch) as seen:
        stage = seen.page.locator("[data-live=map]")
        point = stage.locator("[role=slider]")
        height = stage.bounding_box()["height"]

        def at():
            return tuple(float(stage.locator(f"[name={name}]").input_value()) for name in ("m", "eps"))

        def pictures():  # the staircase and the curve of the class
            return [
                stage.locator("path[stroke-width='1.4']").get_attribute("d"),
                stage.locator("polyline").last.get_attribute("points"),
            ]

        m, eps = at()
        assert stage.locator("polyline").count() == 11
        stairs, curve = pictures()
        point.press("ArrowUp")
        assert at() == pytest.approx((m, eps + 0.005))
        assert pictures()[0] != stairs and pictures()[1] == curve, "the noise moves along the curves"
        stairs = pictures()[0]
        point.press("ArrowRight")
        assert at()[0] == m + 1
        assert pictures()[0] != stairs and pictures()[1] != curve, "the rules make other curves"
        assert point.evaluate("(el) => el === document.activeElement")
        assert point.get_attribute("aria-valuetext") == f"m = {m + 1:.0f}, ε = {at()[1]:.3f}"

        box = point.locator("circle").last.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        if touch:
            finger = seen.page.context.new_cdp_session(seen.page)
            for kind, share in [("Start", 0), *(("Move", i / 8) for i in range(1, 9)), ("End", 1)]:
                spot = [] if kind == "End" else [{"x": x + 40 * share, "y": y + 50 * share}]
                finger.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": spot})
        else:
            seen.page.mouse.move(x, y)
            seen.page.mouse.down()
            seen.page.mouse.move(x + 40, y + 50, steps=3)
            seen.page.mouse.up()
        box = point.locator("circle").last.bounding_box()
        assert abs(box["y"] + box["height"] / 2 - y - 50) < 3, "the point stays under the finger"
        moved = at()
        assert moved[0] > m + 1 and moved[1] < eps
        stage.locator("polyline").last.scroll_into_view_if_needed()
        box = stage.locator("polyline").last.bounding_box()
        place = {"x": 0.25 * box["width"], "y": 0.5 * box["height"]}
        x, y = box["x"] + place["x"], box["y"] + place["y"]
        seen.page.touchscreen.tap(x, y) if touch else seen.page.mouse.click(x, y)
        assert at() == pytest.approx((moved[0], 0.25), abs=0.01), "the levels are a cut at this m"
        assert "after 10 levels" in stage.locator("[role=status]").inner_text()
        assert legible(stage)
        assert abs(stage.bounding_box()["height"] - height) < 1, "the page jumps"
        assert not seen.complaints and not b.overflow(seen.page)


@pytest.mark.parametrize("javascript", [True, False])
def test_a_live_figure_shows_its_still_twin_without_scripts(browser, site, http, javascript):
    context = browser.new_context(java_script_enabled=javascript)
    page = context.new_page()
    page.goto(f"{http}/book/index.html")
    assert page.locator(".live-stage").first.is_visible() == javascript
    assert page.locator(".live-still svg.hier-figure").first.is_visible() != javascript
    page.emulate_media(media="print")
    assert page.locator(".live-still svg.hier-figure").first.is_visible()
    context.close()


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
        with b.visit(browser, f"{address}/good.html") as seen:
            assert seen.complaints == []
            assert sum(seen.transfers) > len(GOOD) // 2
        with b.visit(browser, f"{address}/bad.html") as seen:
            assert any(finding in bad for bad in seen.complaints)


def test_a_dead_link_is_caught(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#x">1</a><a href="#y">2</a><img src="c.png"><a href="b.html">3</a>'
    )
    (tmp_path / "b.html").write_text("<p>no anchor</p>")
    assert [bad.split(": ")[1] for bad in b.links(tmp_path)] == ["no anchor b.html#x", "no anchor #y", "no file c.png"]
