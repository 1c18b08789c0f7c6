"""The figures of the exponents of language, drawn from results that no chapter has made."""

import numpy as np
import pytest

from hierlib.book.figures import two_slopes as figures
from hierlib.experiments.curves import Interval
from hierlib.language import exponents


def around(y):
    return Interval(np.asarray(y), np.asarray(y) * 0.9, np.asarray(y) * 1.1)


def test_lines_have_the_exponents_and_pass_through_a_point():
    laws = {2: exponents(8, 2, 2), 4: exponents(8, 4, 2)}
    fall = {m: around(3.0 ** -np.arange(6)) for m in laws}
    drawing = figures.falls(fall, fall, laws, 2)
    left, right = drawing.fig.axes
    for ax, name, at, first in ((left, "gamma", 3, 2.0), (right, "beta", 1, 1.0)):
        lines = [line for line in ax.get_lines() if line.get_linestyle() == "-"]
        for line, law in zip(lines, laws.values(), strict=True):
            x, y = (np.asarray(each) for each in line.get_data())
            assert x[0] == first and np.isclose(y[at], 3.0**-at)
            np.testing.assert_allclose(np.diff(np.log(y)) / np.diff(np.log(x)), -float(getattr(law, name)))
    assert len(right.get_legend().get_texts()) == 2 and drawing.alt


def test_what_has_not_fallen_is_not_drawn():
    fall = {2: Interval(np.array([1.0, 0.1, -0.01]), np.array([0.9, -0.1, -0.1]), np.array([1.1, 0.2, 0.05]))}
    drawing = figures.falls(fall, fall, {2: exponents(8, 2, 2)}, 2)
    shown = np.asarray(drawing.fig.axes[0].containers[0].lines[0].get_ydata())
    assert np.isnan(shown[2]) and np.isfinite(shown[:2]).all()


def test_places_and_windows_show_every_value():
    drawing = figures.places(np.linspace(3, 1, 64), {2: 1.0 / 2.0 ** np.arange(7)}, 2)
    left, right = drawing.fig.axes
    assert len(left.collections[0].get_segments()) == 32 and drawing.alt
    np.testing.assert_allclose(right.get_lines()[0].get_ydata(), 1.0 / 2.0 ** np.arange(7))
    legal = around(np.array([[0.5, 0.1], [0.9, 0.3], [0.9, 0.9]]))
    drawing = figures.staircase([0, 1, 3], legal, 2)
    (ax,) = drawing.fig.axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["level 1", "class"] and drawing.alt
    assert sum(line.get_linestyle() == ":" for line in ax.get_lines()) == 2


def test_networks_stand_on_the_floor_and_bars_end_on_a_logarithmic_axis():
    readers = np.linspace(2, 1, 5)[:, None] - np.arange(16) / 100
    learnt, missing = {64: readers[1], 256: readers[3]}, around(readers[3] - readers[4])
    beginnings = {"exact": 2.0 ** -np.arange(5), "network": np.full(5, 0.5), "1 level": np.array([1, 1, 1, 1, -1.0])}
    drops = Interval(np.array([1, 0.2, -0.1, 0.01]), np.array([0.9, 0.1, -0.2, -0.01]), np.array([1.1, 0.3, 0.0, 0.03]))
    drawing = figures.floor(learnt, readers, missing, beginnings, (drops, around(3.0 ** -np.arange(4))), 1.5, 2)
    top, missed, left, right = drawing.fig.axes
    ends = [segment[1, 1] for segment in top.collections[0].get_segments()]
    np.testing.assert_allclose(ends, readers[-1])
    for line, each in zip(top.get_lines(), learnt.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), each)
    assert [text.get_text() for text in top.get_legend().get_texts()] == ["64", "256"]
    np.testing.assert_allclose(missed.containers[0].lines[0].get_ydata(), readers[3] - readers[4])
    np.testing.assert_allclose(missed.get_lines()[-1].get_ydata(), readers[3] - readers[4])
    assert [line.get_label() for line in left.get_lines()] == list(beginnings)
    assert np.isnan(left.get_lines()[2].get_ydata()).tolist() == [False] * 4 + [True]
    shown = np.asarray(right.containers[1].lines[0].get_ydata())
    assert np.isnan(shown).tolist() == [False, False, True, False] and drawing.alt
    bar = right.containers[1].lines[2][0].get_segments()[3]
    assert bar[0, 1] == pytest.approx(0.01 / 30) and bar[1, 1] == pytest.approx(0.03)
