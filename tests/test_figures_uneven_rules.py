"""The figures of uneven rules, drawn from results that no chapter has made."""

import numpy as np

from hierlib.book.figures import uneven_rules as figures
from hierlib.experiments.curves import Interval


def around(y):
    return Interval(np.asarray(y), np.asarray(y) * 0.9, np.asarray(y) * 1.1)


EPS = {a: np.linspace(0, 1, 5) for a in (0.0, 1.0, 2.0)}
LINES = {a: (1 + a) / 4 * np.linspace(1, 0.1, 5) for a in EPS}
POINTS = {a: around(y) for a, y in LINES.items()}


def test_each_unevenness_has_its_points_and_its_line():
    drawing = figures.uneven(EPS, POINTS, LINES)
    (ax,) = drawing.fig.axes
    assert len(ax.containers) == 3 and drawing.alt
    for container, a in zip(ax.containers, EPS, strict=True):
        np.testing.assert_array_equal(container.lines[0].get_ydata(), LINES[a])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["uniform", "$k^{-1}$", "$k^{-2}$"]


def test_rescue_shows_the_way_up_beside():
    levels = {a: np.linspace(0.6, a / 2, 21) for a in EPS}
    drawing = figures.rescue(EPS, POINTS, LINES, levels, np.full(21, 0.99))
    left, right = drawing.fig.axes
    assert len(left.containers) == 3 and len(right.get_lines()) == 4 and drawing.alt
    np.testing.assert_array_equal(right.get_lines()[-1].get_ydata(), 0.99)
    assert len(drawing.fig.legends[0].get_texts()) == 3


def test_half_heights_are_over_the_first():
    found = {"masks": {0.0: around(0.25), 1.0: around(0.5)}, "Gaussian": {0.0: around(0.1), 1.0: around(0.3)}}
    (ax,) = figures.noises(found).fig.axes
    shown = [np.asarray(container.lines[0].get_ydata()) for container in ax.containers]
    np.testing.assert_allclose(shown, [[1, 2], [1, 3]])


def test_lines_of_covariances_have_the_exponents():
    found = {"uniform": around(4.0 ** -np.arange(5)), "uneven": around(2.0 ** -np.arange(5))}
    (ax,) = figures.covariance(found, {"uniform": 2.5, "uneven": 1.5}, 2).fig.axes
    lines = [line for line in ax.get_lines() if line.get_linestyle() == "-"]
    for line, law in zip(lines, (2.5, 1.5), strict=True):
        x, y = (np.asarray(each) for each in line.get_data())
        np.testing.assert_allclose(np.diff(np.log(y)) / np.diff(np.log(x)), -law)
