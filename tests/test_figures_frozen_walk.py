"""The figures of chains of U-turns, drawn from results that no chapter has made."""

import numpy as np
import pytest

from hierlib.book.figures import frozen_walk as figures
from hierlib.experiments.curves import Interval


def around(y):
    return Interval(np.asarray(y), np.asarray(y) * 0.9, np.asarray(y) * 1.1)


def test_relaxation_has_a_line_a_noise_and_a_colour_a_level():
    times = np.array([[10.0, 30, 20, 8], [5, 4, 3, 1]])
    drawing = figures.relaxation([0.2, 0.3], around(times), 128)
    (ax,) = drawing.fig.axes
    lines = [line.get_ydata() for line in ax.get_lines() if line.get_color() == figures.CHANCE]
    np.testing.assert_array_equal(lines, times)
    assert [text.get_text() for text in ax.texts] == ["$t=0.2$", "$t=0.3$"] and drawing.alt
    assert len(ax.containers) == 4 and len({c.lines[0].get_color() for c in ax.containers}) == 4
    cut = figures.relaxation([0.2, 0.3], around(times), 30)
    assert any((np.asarray(line.get_ydata()) == 30).all() for line in cut.fig.axes[0].get_lines())


@pytest.mark.parametrize("extreme", [False, True])
def test_bound_has_the_diagonal_and_every_point(extreme):
    bounds = np.array([[10.0, 20, np.inf if extreme else 8], [0.0 if extreme else 5, 4, 1]])
    drawing = figures.bound(bounds, np.array([[12.0, 30, 9], [5, 4, 1]]))
    (ax,) = drawing.fig.axes
    diagonal, *points = ax.get_lines()
    assert (
        (np.asarray(diagonal.get_xdata()) == np.asarray(diagonal.get_ydata())).all()
        and len(points) == 3
        and drawing.alt
    )
    assert np.isfinite(ax.get_xlim()).all() and ax.get_legend_handles_labels()[1] == ["leaf", "level 1", "class"]


def test_modes_draws_matrices_their_fragments_and_times():
    matrix = np.eye(6)
    drawing = figures.modes([matrix, matrix], [0.1, 0.5], [0, 2, 6], [0.9, 0.5], [0.95, 0.8])
    first, second, times = drawing.fig.axes
    assert (first.get_title(), second.get_title()) == ("$t=0.1$", "$t=0.5$") and len(first.get_lines()) == 2
    x, y = times.get_lines()[1].get_data()
    np.testing.assert_allclose([x, y], [[9.4912, 1.4427], [19.4957, 4.4814]], rtol=1e-4)
    assert drawing.alt


def test_reach_has_points_where_it_was_measured():
    expected = {4: [1, 0.5, 0.2], 10: [1, 0.9, 0.9], 12: [1, 1, 1]}
    drawing = figures.reach({4: around([0.4, 0.2]), 10: around([0.8, 0.8])}, expected, 8.0)
    (ax,) = drawing.fig.axes
    assert len(ax.containers) == 2 and len(ax.texts) == 3 and "0.50" in ax.texts[0].get_text() and drawing.alt


def test_learnt_has_three_ways_back():
    legal = {name: around([1.0, 0.8, 0.7]) for name in ("128", "4096", "exact")}
    drawing = figures.learnt(legal, {name: around(2.0) for name in legal})
    left, right = drawing.fig.axes
    assert left.get_legend_handles_labels()[1] == list(legal) and len(right.containers) == 3 and drawing.alt
