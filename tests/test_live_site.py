"""The live figures in a headless browser: by keyboard, mouse and touch, in both modes, on a phone and on paper."""

import json
import re

import pytest

from . import browser as b

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


# What a page may move while it loads, if it is in a live figure: a fraction of the screen, as browsers count it.
_SHIFTS = """() => new Promise((done) => {
  const moved = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries())
      for (const { node } of entry.sources)
        if (!entry.hadRecentInput && node?.parentElement?.closest(".live")) moved.push([entry.value, node.nodeName]);
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(moved), 100);
})"""
_PIXELS = "(all) => all.map((el) => el.toDataURL())"


def live_pages(site):
    pages = [page for page in b.pages(site) if re.search('<[a-z]+ class="live-stage', (site / page).read_text("utf-8"))]
    assert len(pages) > 10
    return pages


@pytest.mark.timeout(900)
@pytest.mark.parametrize("width, scheme, touch", SCREENS)
def test_every_live_figure_answers_to_its_first_control_and_keeps_its_height(browser, site, http, width, scheme, touch):
    found = {}
    for path in live_pages(site):
        with b.visit(browser, f"{http}/{path}", width=width, scheme=scheme, touch=touch) as seen:
            bad = found[path] = list(seen.complaints)
            for i, stage in enumerate(seen.page.locator(".live-stage[data-live]").all()):
                name, height = stage.get_attribute("data-live"), stage.bounding_box()["height"]
                before = stage.inner_html() + str(stage.locator("canvas").evaluate_all(_PIXELS))
                control = stage.locator("input[type=range], [tabindex='0'], button:enabled").first
                control.scroll_into_view_if_needed()
                if touch and control.evaluate("(el) => el.type === 'range'"):
                    box = control.bounding_box()
                    there = control.evaluate("(el) => (el.value - el.min) / (el.max - el.min)")
                    away = 0.2 if there > 0.5 else 0.8
                    seen.page.touchscreen.tap(box["x"] + away * box["width"], box["y"] + box["height"] / 2)
                else:
                    control.press("ArrowRight" if control.evaluate("(el) => el.type === 'range'") else "Enter")
                after = stage.inner_html() + str(stage.locator("canvas").evaluate_all(_PIXELS))
                bad += [f"{name} {i}: nothing happens"] if before == after else []
                bad += [f"{name} {i}: jumps"] if abs(stage.bounding_box()["height"] - height) >= 1 else []
                bad += [] if legible(stage) else [f"{name} {i}: text of another colour"]
    assert not any(found.values()), found


# What stands at the axes and lines of the live figures that have any.
NAMED = {
    "level-curves": ["probability kept", "noise t", "class", "leaves"],
    "small-grammar": ["probability kept", "noise t", "class", "leaves"],
    "layers": ["how alike start and end are", "class kept", "inversion time|noise"],
    "family": ["others"],
    "learnt": ["allowed by a rule", "training strings P", "level 1", "level 3", "chance", "the law"],
    "messages-at-truth": ["belief in the true symbol", "upward", "each point one node"],
    "cloud": ["belief p in each true child", "message p′", "annealed map", "mean", "rule draws"],
    "same-average": ["share of the leaves", "leaf belief", "class on top"],
    "one-datum": ["class", "level 2", "leaves", "seen"],
    "own-string": ["class", "level 2", "leaves", "string", "noise"],
    "laboratory": ["probability kept", "noise", "class", "leaves"],
    "phase-points": ["noise ε", "rules per symbol", "kept", "any depth", "half lost"],
    "map": ["noise ε", "rules per symbol", "belief in the truth", "class", "leaves"],
}
# Texts of a figure that are cut off at its edge or lie on each other, as pairs.
_CROWDED = """(stage) => {
  const edge = stage.getBoundingClientRect();
  const all = [...stage.querySelectorAll("svg text")].map((el) => [el.textContent, el.getBoundingClientRect()]);
  const bad = all.filter(([, box]) => box.left < edge.left - 2 || box.right > edge.right + 2).map(([words]) => words);
  for (const [i, [words, a]] of all.entries())
    for (const [other, b] of all.slice(i + 1))
      if (a.left < b.right - 2 && b.left < a.right - 2 && a.top < b.bottom - 4 && b.top < a.bottom - 4)
        bad.push(`${words} | ${other}`);
  return bad;
}"""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("width", [1280, 360])
def test_axes_and_lines_of_live_figures_have_names(browser, site, http, width):
    missing, there = {}, set()
    for path in live_pages(site):
        with b.visit(browser, f"{http}/{path}", width=width) as seen:
            seen.page.wait_for_function(b.LIVE_DRAWN)
            for stage in seen.page.locator(".live-stage[data-live]").all():
                name = stage.get_attribute("data-live")
                words = " ".join(stage.locator("svg text, div").all_text_contents())
                lacks = [each for each in NAMED.get(name, []) if not re.search(each, words)]
                lacks += stage.evaluate(_CROWDED) if name in NAMED else []
                there.add(name)
                if lacks:
                    missing[f"{path} {name}"] = lacks
    assert not missing and set(NAMED) <= there


@pytest.mark.timeout(600)
def test_nothing_in_a_live_figure_moves_while_the_page_loads(browser, site, http):
    found = {}
    for path in live_pages(site):
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.goto(f"{http}/{path}", wait_until="domcontentloaded")
        page.wait_for_function(b.LIVE_DRAWN, timeout=60_000)
        page.wait_for_load_state("networkidle")
        found[path] = page.evaluate(_SHIFTS)
        page.context.close()
    assert not any(found.values()), found


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
