"""The phase diagram that the reader fills in: its points against hierlib, its hands, its address, and what it says."""

import re

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.book.figures import laboratory as figures
from hierlib.experiments.thresholds import mean_field_half_height
from hierlib.experiments.uturns import class_curves

from .engine import node
from .test_figures_laboratory import lab, opened  # noqa: F401  (a fixture)

FILE = "laboratory/phases.js"
SIZE = "phase_v=16&phase_s=2&phase_L=5&phase_from=2&phase_to=10&phase_low=10&phase_high=70"
FILLED = "() => document.querySelector('.phase-said').textContent.startsWith('At ')"


@pytest.mark.parametrize("a, name", [(0, "mean field"), (1, "pool of beliefs")])
def test_points_are_those_of_hierlib_within_their_errors(browser, lab, a, name):  # noqa: F811
    page = opened(browser, f"{lab}?grammars=2&L=2&{SIZE}&phase_grammars=40&phase_a={a}")
    page.wait_for_function(FILLED)
    with page.expect_download() as download:
        page.locator(".phase-csv").evaluate("(button) => button.click()")
    lines = download.value.path().read_text("utf-8").splitlines()
    rows = [line.split(",") for line in lines if line[0] not in "#m"]
    m, eps, kept, error = np.array([row[:4] for row in rows], float).T
    assert len(rows) == 9 * 13 == page.locator(".phase-points tbody tr").count()
    assert {"# L = 5", f"# a = {a}"} <= {*lines}
    rng = torch.Generator().manual_seed(3)
    noises = np.unique(eps)
    for k in map(int, np.unique(m)):
        size = dict(v=16, m=k, s=2, L=5, draws=60, data=1, weights=hl.zipf(k, a), generator=rng)
        again = class_curves(hl.EpsilonNoise(16), noises, **size).numpy()
        at = m == k
        far = np.abs(kept[at] - again.mean(0)) / (np.hypot(error[at], again.std(0, ddof=1) / 60**0.5) + 5e-4)
        assert far.max() < 5, k
    fates = [row[4] for row in rows]
    assert {*fates} == {"kept", "trace", "lost"} - ({"lost"} if a else set())  # uneven rules leave a trace everywhere
    assert page.locator("circle[data-fate=kept]").count() == fates.count("kept")
    assert re.search(rf"{name} of 5 levels is 0\.0\d+ off", page.locator(".phase-said").text_content())
    assert not page.complaints
    page.context.close()


def test_it_is_filled_in_at_a_press_stopped_and_kept_by_the_address(browser, lab):  # noqa: F811
    page = opened(browser, f"{lab}?grammars=2&L=2", width=360, color_scheme="dark", has_touch=True)
    stage, go, said = page.locator(".phase-points"), page.locator(".phase-go"), page.locator(".phase-said")
    tall, (plot, sliders) = (
        stage.bounding_box()["height"],
        (stage.locator(f".{name}").bounding_box() for name in ("phase-picture", "lab-sliders")),
    )
    assert sliders["y"] + sliders["height"] - plot["y"] < 570, "not on one screen"
    assert (
        stage.locator("circle").count() == 0
        and "0 of 156" in page.locator(".phase-progress").locator("..").text_content()
    )
    stage.locator("[name=grammars]").press("End")
    stage.locator("[name=L]").press("End")
    go.tap()
    page.wait_for_function("() => document.querySelectorAll('.phase-points circle').length > 1")
    go.press("Enter")
    assert said.text_content().startswith("Stopped") and go.text_content() == "Fill in"
    assert page.locator(".phase-points tbody tr").count() == stage.locator("circle").count()
    for name in ("grammars", "L"):
        stage.locator(f"[name={name}]").press("Home")
    stage.locator("[name=a]").press("ArrowRight")
    page.wait_for_function(FILLED)  # what is changed after a first press is computed at once
    assert stage.locator("[name=a]").get_attribute("aria-valuetext") == "0.1" and "phase_a=0.1&" in page.url
    assert "phase_L=1&" in page.url and "phase_grammars=2&" in page.url and "grammars=2&L=2" in page.url
    assert stage.bounding_box()["height"] == tall and page.evaluate("document.documentElement.scrollWidth") <= 360
    drawn = stage.locator("svg").inner_html()
    page.goto(page.url)
    page.wait_for_function(FILLED)
    assert stage.locator("svg").inner_html() == drawn, "one address is one diagram"
    page.locator(".laboratory [name=m]").press("ArrowLeft")
    page.wait_for_function("location.search.includes('&m=7&') && location.search.includes('phase_L=1')")
    assert not page.complaints
    page.context.close()


def test_what_cannot_be_computed_is_put_right_and_the_grid_has_all_points_once():
    script = """return data.map((search) => {
      const { setting } = T.phasesFromAddress(search), { rules, noises, points } = T.phaseGrid(setting);
      return [setting, rules, noises, points];
    });"""
    searches = [
        "",
        "phase_v=999&phase_from=9&phase_to=3",
        "phase_v=3&phase_to=40",
        "phase_low=99&phase_high=x",
        "phase_s=4&L=3",
    ]
    for setting, rules, noises, points in node(script, searches, "laboratory/setting.js", FILE):
        assert 1 <= setting["from"] <= setting["to"] <= setting["v"] ** (setting["s"] - 1)
        assert setting["s"] ** setting["L"] * setting["v"] <= 2**17
        assert rules[0] == setting["from"] and rules[-1] == setting["to"] and np.all(np.diff(rules) > 0)
        assert 0 <= noises[0] < noises[-1] <= 1 and [noises[0], noises[-1]] == [
            setting["low"] / 100,
            setting["high"] / 100,
        ]
        assert sorted(points) == sorted([m, eps] for m in rules for eps in noises)
    first = node(script, [""], "laboratory/setting.js", FILE)[0][3][:12]
    assert {eps for _, eps in first} >= {0, 1}, "the rough picture comes first"


def test_fate_and_half_height():
    script = """
      const fates = [[0.6, 0.1], [0.5, 0.1], [0.3, 0.1], [0.1005, 0]]
        .map(([kept, error]) => T.fate({ kept, error }, 10));
      return [...fates, ...[[4, 8], [11, 3], [1, 5]].map(([m, L]) => T.halfHeight(m, { v: 16, s: 2, L }))];"""
    *fates, a, b, c = node(script, None, "laboratory/setting.js", FILE)
    assert fates == ["kept", "trace", "lost", "lost"]
    wanted = [mean_field_half_height(16, m, 2, L) for m, L in ((4, 8), (11, 3), (1, 5))]
    assert [a, b, c] == pytest.approx(wanted, abs=1e-3)


def test_a_job_without_points_is_refused():
    script = """
    const all = { classPoints: { points: [] }, halfHeights: { rules: [] }, meanField: { eps: [] } };
    return Object.entries(all).map(([job, none]) => {
      try { [...Engine.jobs[job]({ ...data, ...none })]; } catch (error) { return error.message; }
    });"""
    points, rules, eps = node(script, {"v": 4, "s": 2, "L": 2, "a": 1, "grammars": 2})
    assert points.startswith("points: expected one pair [m, eps] or more, got")
    assert rules.startswith("rules: expected one number m or more, got") and eps.startswith("eps: expected one noise")


def test_a_line_of_uneven_rules_needs_no_press(browser, lab):  # noqa: F811
    page = opened(browser, f"{lab}?grammars=2&L=2")
    page.locator(".phase-points [name=a]").press("End")
    page.wait_for_function("document.querySelector('.phase-points polyline[stroke-dasharray]').points.length === 12")
    assert page.locator(".phase-points circle").count() == 0
    assert "any depth" not in page.locator(".phase-picture").text_content()
    page.locator(".phase-points [name=a]").press("Home")
    page.wait_for_function("document.querySelector('.phase-picture').textContent.includes('any depth')")
    assert not page.complaints
    page.context.close()


def test_the_still_fills_what_survives():
    kept = np.array([[1, 0.9, 1 / 16], [1, 0.3, 1 / 16]])
    drawing = figures.phases([2, 8], [0.1, 0.5, 1.0], kept, v=16, s=2, L=4)
    assert "6 points" in drawing.alt and "3 keep more" in drawing.alt and 'data-live="phase-points"' in drawing.live
    (ax,) = drawing.fig.axes
    assert ax.collections[0].get_facecolors()[:, 3] == pytest.approx([1, 0.893, 0.03, 1, 0.253, 0.03], abs=1e-2)
    assert ax.get_legend_handles_labels()[1] == ["ε*, any depth", "half height, L = 4"]
