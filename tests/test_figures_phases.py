"""Figures of the threshold are drawn from anybody's results, in every phase."""

import json
import re

import numpy as np
import pytest

from hierlib.book.figures import phases
from hierlib.experiments.curves import NOTHING, Interval
from hierlib.experiments.spectrum import KeptDeeper
from hierlib.experiments.thresholds import Doubt, Thresholds, WeakNoise
from hierlib.theory import meanfield

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
