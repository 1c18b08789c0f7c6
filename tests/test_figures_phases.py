"""Figures of the threshold are drawn from anybody's results, in every phase."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.book.figures import phases
from hierlib.experiments.curves import NOTHING, Interval
from hierlib.experiments.spectrum import KeptDeeper
from hierlib.experiments.thresholds import Doubt, Thresholds, WeakNoise
from hierlib.theory import meanfield, population

from .engine import JS

ROWS = np.random.default_rng(0).random((12, 6))


def drawn(drawing):
    """The axes of a drawing that can be shown."""
    assert len(drawing.alt.split()) > 8
    drawing.fig.draw_without_rendering()
    return drawing.fig.axes


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("m, stable", [(1, 1), (4, 2), (12, 1)])
def test_the_map_shows_each_phase_by_its_fixed_points(m, stable):
    drawing = phases.staircases(16, m, 2, 5)
    _, web, under, _ = drawn(drawing)
    dots = [line for line in web.lines if line.get_marker() == "o" and line.get_markersize() == 6]
    assert sum(line.get_markerfacecolor() != "white" for line in dots) == stable
    assert (r"$p^{\ast}$" in [text.get_text() for text in web.texts]) == (stable == 2)
    assert len(under.lines) == 6 + 2
    data = json.loads(re.search(r'json">(.*?)</script>', drawing.live)[1])
    assert data["m"] == m and data["L"] == 5 and len(data["colours"]) == 11


def thresholds():
    return {m: Thresholds(Interval(0.8, 0.7, 0.9), Interval(0.6, 0.5, 0.7)) for m in (2, 4, 8)}


def test_a_phase_diagram_has_two_points_a_number_of_rules():
    [ax] = drawn(phases.phase_diagram(thresholds(), 16, 2, 6))
    assert labels(ax) == ["criterion of the paper", "half height"]
    assert len(ax.containers) == 2 * 3
    [upper] = ax.child_axes
    assert [tick.get_text() for tick in upper.get_xticklabels()] == ["2", "4", "8"]


def test_phase_diagrams_stand_side_by_side():
    axes = drawn(phases.phase_diagrams([(8, 3, 3, thresholds()), (16, 2, 4, thresholds())]))
    assert [ax.get_title() for ax in axes] == ["$s=3$, $v=8$, $L=3$", "$s=2$, $v=16$, $L=4$"]


@pytest.mark.parametrize("kinds", [(4,), (4, 8, 12)])
def test_a_doubt_has_a_line_and_points_a_number_of_rules(kinds):
    [ax] = drawn(phases.doubt(dict.fromkeys(kinds, Doubt(ROWS / 10, NOTHING)), 0.02, 16, 2))
    assert ax.get_yscale() == "log" and len(ax.containers) == len(kinds)
    assert [text.get_text() for text in ax.texts] == [f"$m={m}$" for m in kinds]


def test_never_has_a_point_a_depth():
    [ax] = drawn(phases.never({m: {2: ROWS[:, 0], 5: ROWS[:, 1]} for m in (10, 14)}, 0.05, 16, 2))
    assert labels(ax) == ["$m=10$", "$m=14$"] and len(ax.containers) == 4
    assert ax.get_ylabel().endswith(r"$\varepsilon=.05$")


@pytest.mark.parametrize("m", [1, 4, 12])
def test_scaling_stretches_where_there_is_a_threshold(m):
    eps = np.linspace(0.1, 0.9, 6)
    left, right = drawn(phases.scaling({2: (eps, ROWS), 4: (eps, ROWS)}, 16, m, 2))
    assert labels(left) == ["$L=2$", "$L=4$"]
    there = str(meanfield.phase(16, m, 2)) == "below"
    assert there == (m == 4) == (right.get_xlabel() != "no threshold here")
    x = [bars.lines[0].get_xdata() for bars in right.containers]
    assert np.allclose(x[0], x[1]) != there and np.allclose(x[0], eps - 0.5) != there


def test_a_kind_of_noise_has_its_theories():
    run = WeakNoise(np.linspace(0.2, 0.9, 8), range(1, 7), ROWS)
    found = {(name, m): run for name in ("ε-process", "masks") for m in (2, 6)}
    left, right = drawn(phases.outvoted(found, 8, 4, eps={"ε-process": 0.98}))
    assert (left.get_title(), right.get_title()) == ("ε-process", "masks")
    assert len([line for line in left.lines if len(line.get_xdata()) == 8]) == 4
    assert len([line for line in right.lines if len(line.get_xdata()) == 8]) == 2
    assert len(left.containers) == len(right.containers) == 2


def test_the_plane_fills_what_holds_and_rings_what_is_inferred():
    kept = {(2, 1): (0.95, 0.99), (2, 6): (0.2, 0.99), (3, 12): (0.1, 0.5)}
    held = {key: KeptDeeper(*(Interval(x, x - 0.01, x + 0.01) for x in pair)) for key, pair in kept.items()}
    found = {(depth, m): ROWS[:2, :4] + [[0], [1]] for depth in (2, 4) for m in (1, 2, 6)}
    left, right = drawn(phases.plane_of_children_and_rules(held, found, 8))
    circles = [line.get_markerfacecolor() for line in left.lines if line.get_marker() == "o"]
    squares = [line.get_xydata()[0].tolist() for line in left.lines if line.get_marker() == "s"]
    assert [face == "white" for face in circles] == [False, True, True] and squares == [[2, 1], [2, 6]]
    assert labels(right) == ["$L=2$", "$L=4$"] and len(right.containers) == 4


@pytest.fixture(scope="module")
def live_map(tmp_path_factory):
    """A page with the live map and nothing else, as a file."""
    folder = tmp_path_factory.mktemp("map")
    shutil.copytree(JS.parent, folder / "_static")
    sheets = "".join(f'<link rel="stylesheet" href="_static/css/{name}.css">' for name in ("fonts", "hier", "live"))
    (folder / "map.html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>map</title>{sheets}'
        '<script defer src="_static/js/live.js"></script><meta name="viewport" content="width=device-width">'
        f'<body style="margin:0 14px"><div class="live">{phases.staircases(16, 6, 2, 6).live}</div>',
        "utf-8",
    )
    return (folder / "map.html").as_uri()


# Everything that the pools have to say is there: of all noises, and of a deep tree with so many rules.
FOUND = """() => document.querySelector("polyline").points.length === 201
  && !document.querySelector(".map-said").textContent.includes("being computed")"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("width, scheme", [(800, "light"), (360, "dark")])
def test_uneven_rules_in_the_live_map_are_those_of_hierlib(browser, live_map, width, scheme):
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    page.set_default_timeout(120_000)
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(live_map)
    page.wait_for_function("document.querySelector('polyline')")
    stage, said = page.locator("[data-live=map]"), page.locator(".map-said")
    slider = {name: stage.locator(f"[name={name}]") for name in ("a", "m", "eps")}
    before, tall = (stage.locator("svg").inner_html(), said.text_content()), stage.bounding_box()["height"]

    def curve(which):  # of the levels: belief at each noise
        axis, points = stage.locator("svg").evaluate(
            """(svg, which) => {
              const of = svg.querySelectorAll("polyline")[which];
              const axes = [...svg.querySelectorAll("path")].map((el) => el.getAttribute("d"));
              return [axes.filter((d) => /v[0-9.]+h/.test(d)).pop(), [...of.points].map(({ x, y }) => [x, y])];
            }""",
            which,
        )
        left, top, high, wide = map(float, re.findall(r"[0-9.]+", axis))
        x, y = np.array(points).T
        return (x - left) / wide, 1 - (y - top) / high

    slider["a"].press("ArrowRight")
    assert slider["a"].get_attribute("aria-valuetext") == "0.1"
    for presses, m, doubts in (("End", 6, "die out"), ("End", 16, "grow")):
        slider["a"].press(presses)
        for _ in range(m - int(slider["m"].input_value())):
            slider["m"].press("ArrowRight")
        page.wait_for_function(FOUND)
        law, rng = hl.zipf(m, 2.0), torch.Generator().manual_seed(0)
        eps, pool = float(slider["eps"].input_value()), dict(v=16, s=2, size=2**15, generator=rng)
        words = said.text_content()
        start, top, leaves = (float(x) for x in re.findall(r"(?:From|goes to|leaves have) (\d\.\d+)", words))
        wanted = population.pool_of_beliefs([eps], law, L=6, **pool)
        assert start == pytest.approx(1 - eps + eps / 16, abs=6e-4)
        assert [top, leaves] == pytest.approx([float(wanted.up[0, -1]), float(wanted.marginal[0, 0])], abs=0.02)
        assert f"small doubts {doubts}" in words
        assert (doubts == "die out") == (meanfield.gain_at_certainty(law.numpy(), 16, 2) < 1)
        bears = float(re.search(r"below ε ≈ (\d\.\d+)", words)[1])
        beside = population.pool_of_beliefs([bears - 0.04, min(bears + 0.04, 1)], law, L=60, **pool).up[:, -1]
        assert beside[0] > 0.5 > beside[1], "the noise that a deep tree bears"
        for level in (0, 6):
            noise, belief = curve(level)
            assert noise == pytest.approx(np.linspace(0, 1, 201), abs=1e-3)
            wanted = population.pool_of_beliefs(noise[::20].clip(0, 1), law, L=6, **pool).marginal[:, level]
            assert belief[::20] == pytest.approx(wanted.numpy(), abs=0.025)
        assert stage.locator("circle[r='2.5']").count() == 6, "a corner a level"
        assert stage.bounding_box()["height"] == tall and page.evaluate("document.documentElement.scrollWidth") <= width
    for _ in range(10):
        slider["m"].press("ArrowLeft")
    slider["a"].press("Home")
    assert slider["a"].get_attribute("aria-valuetext") == "0, even"
    assert (stage.locator("svg").inner_html(), said.text_content()) == before
    assert not complaints
    page.context.close()
