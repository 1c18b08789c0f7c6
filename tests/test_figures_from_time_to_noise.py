"""The figures that compare noises, drawn from results that no chapter has made."""

import json
import re

import numpy as np
import pytest

from hierlib.book.figures import from_time_to_noise as figures
from hierlib.experiments.channels import Climb, Compared, Fate
from hierlib.experiments.curves import Interval
from hierlib.experiments.leaf_noise import LeafNumbers


def interval(x):
    x = np.asarray(x, float)
    return Interval(x, x - 0.1, x + 0.1)


def test_same_average_is_live_and_shows_every_noise():
    fate = Fate(
        np.array([0.15, 0.15, 0.9, 1.0]), [np.array([0.0, 0.5, 1.0, 1.0]), np.array([0.2, 0.4]), np.array([0.7])]
    )
    drawing = figures.same_average({"epsilon": [fate] * 2, "mask": [fate] * 2}, [0.3, 0.6], start=1, bins=10)
    data = json.loads(re.search(r'application/json">(.*?)</script>', drawing.live, re.S)[1])
    assert data["s"] == 2 and data["L"] == 2 and data["eps"] == [0.3, 0.6] and len(data["trees"]) == 2
    tree = data["trees"][0]
    assert tree["histogram"][0][1] == 0.5 and sum(tree["histogram"][0]) == 1 and tree["kept"] == [0.7, 0.7]
    assert tree["cells"][0] == "sNZAg//"  # class first, 64 steps of belief
    assert [ax.get_title() for ax in drawing.fig.axes[:2]] == ["all alike", "masks"]
    assert drawing.fig.axes[2].get_xlabel() == "class 0.70" and drawing.alt


@pytest.mark.parametrize("star", [0.6, 1.0])
def test_clock_marks_the_threshold_if_there_is_one(star):
    t, eps = np.geomspace(0.01, 2, 9), np.linspace(0.1, 0.99, 9)
    drawing = figures.clock(t, eps, 1 - eps, eps, np.ones((9, 4)), star=star, chance=0.1)
    left, right = drawing.fig.axes[:2]
    assert len(left.get_lines()) == 3 and len(right.texts) == (star < 1) and drawing.alt
    assert len(right.get_lines()) == 4 + 1 + (star < 1)


def test_fed_with_the_average():
    t = np.geomspace(0.02, 1, 5)
    drawing = figures.fed_with_the_average(t, interval(np.ones((5, 3))), t, np.full((5, 3), 0.5), chance=0.1)
    assert [ax.get_title() for ax in drawing.fig.axes] == ["class", "leaves"] and drawing.alt
    assert [label.get_text() for label in drawing.fig.axes[1].get_xticklabels()] == [
        "0.02",
        "0.05",
        "0.1",
        "0.2",
        "0.5",
        "1",
    ]


def test_calibrated_has_the_diagonal_and_a_mark_a_noise():
    drawing = figures.calibrated({"epsilon": ([0.1, 0.4], [0, 1]), "mask": ([0.1, 1], [0.1, 1])})
    ax = drawing.fig.axes[0]
    assert len(ax.get_lines()) == 3 and ax.get_legend_handles_labels()[1] == ["ε-process", "masks"] and drawing.alt


def test_all_levels_has_a_panel_a_noise():
    row = Compared(0.25, interval([0.9, 0.8, 0.7]), np.ones(3), np.ones(3), np.zeros(3))
    drawing = figures.all_levels({"mask": [row, row._replace(t=0.5)]}, chance=0.1)
    (ax,) = drawing.fig.axes
    assert ax.get_title() == "masks: 0.250, 0.500" and len(ax.containers) == 6 and drawing.alt


def test_thresholds_survive_a_slope_that_does_not_exist():
    climbs = {"mask": Climb((0.1, 0.2), np.ones((2, 2, 6)), 0.125)}
    slopes = {"mask": {4: interval(1), 6: interval(2)}, "Gaussian": {4: interval(1), 6: interval(np.nan)}}
    drawing = figures.thresholds(climbs, slopes)
    pools, last = drawing.fig.axes
    assert len(pools.get_lines()) == 4 and pools.get_xlim() == (0, 5)
    assert pools.get_legend_handles_labels()[1] == ["0.1", "0.2"]
    assert [text.get_text() for text in last.texts] == ["masks"] and drawing.alt


def test_against_one_number_sorts_the_points():
    y = np.array([0.2, 0.9, 0.5])
    numbers = LeafNumbers(*[np.array([0.7, 0.1, 0.4])] * 5)
    drawing = figures.against_one_number({"mask": y}, {"mask": numbers}, chance=0.1)
    assert [ax.get_xlabel() for ax in drawing.fig.axes] == [*figures.MEASURES.values()]
    line = drawing.fig.axes[0].get_lines()[0]
    assert line.get_xdata().tolist() == [0.1, 0.4, 0.7] and line.get_ydata().tolist() == [0.9, 0.5, 0.2] and drawing.alt
