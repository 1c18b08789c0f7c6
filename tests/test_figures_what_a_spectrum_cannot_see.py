"""The figures of what a spectrum cannot see, drawn from results that no chapter has made."""

import json
import re

import numpy as np
import pytest

from hierlib.book.figures import what_a_spectrum_cannot_see as figures
from hierlib.experiments import speciation
from hierlib.experiments.curves import Interval
from hierlib.experiments.speciation import Leads
from hierlib.experiments.spectrum import Forgetting

DEPTHS = (2, 3, 4)


@pytest.mark.parametrize("rules", [(1, 2), (1, 4)])
def test_speciation_tells_what_each_says(rules):
    lost = {m: {depth: Interval(0.1 * depth, 0.1, 0.5) for depth in DEPTHS} for m in rules}
    spectrum = {m: {depth: 0.3 if m == 1 else 0.05 for depth in DEPTHS} for m in rules}
    drawing = figures.speciation(lost, spectrum, s=2, start=rules[1])
    data = json.loads(re.search(r'application/json">(.*?)</script>', drawing.live, re.S)[1])
    assert data["names"] == [f"m = {m}" for m in rules] and data["start"] == 1
    told = "m = 1: exact inference loses the class at t = 0.40 in 4 levels (+0.10 for the last one)"
    assert data["say"][0] == f"{told}, the top direction sinks at 0.30."
    assert data["points"]["1"] == [[depth, 0.05, 0.05, 0.05] for depth in DEPTHS]
    few, many = drawing.fig.axes
    assert [len(ax.get_lines()) for ax in (few, many)] == ([4, 0] if rules[1] <= 2 else [2, 2]) and drawing.alt


def test_eigenvalue_draws_the_pace_of_few_rules_only():
    top = {m: {depth: np.array([1.0, 1.2, 1.4]) * depth for depth in DEPTHS} for m in (1, 3)}
    drawing = figures.eigenvalue(top, m_KS=1.9, s=2)
    (ax,) = drawing.fig.axes
    assert ax.get_legend_handles_labels()[1] == ["$m$ = 1", "$m$ = 3"] and len(ax.containers) == 2
    dashed = [line for line in ax.get_lines() if isinstance(line._unscaled_dash_pattern[1], (list, tuple))]
    paced = [line for line in dashed if len(line.get_xdata()) == 3]
    assert len(paced) == 1 and paced[0].get_ydata() == pytest.approx(4.8 * 1.9 ** np.array([-2.0, -1, 0]))
    assert drawing.alt


@pytest.mark.parametrize("window", [(0.1, 0.4), (np.nan, 0.4)])
def test_information_has_a_panel_a_number_of_rules(window):
    known = np.linspace(1, 0, 5)[None, :, None].repeat(3, 0).repeat(4, 2)
    found = {m: Forgetting(known, known) for m in (1, 4)}
    drawing = figures.information(np.geomspace(0.02, 4, 5), found, {1: window, 4: window}, {1: 0.7, 4: 0.1})
    left, right = drawing.fig.axes
    assert [ax.get_title() for ax in (left, right)] == ["$m$ = 1", "$m$ = 4"]
    assert len(left.get_lines()) == len(right.get_lines()) == 5  # the levels, and the time of sinking
    assert len(left.patches) == np.isfinite(window[0]) and drawing.alt


def test_shares_have_a_line_for_each_number_of_rules():
    falling = np.geomspace(1, 0.01, 4)[None] * np.array([[1.0], [0.8], [1.2]])
    found = {m: {depth: falling[:, : depth + 1] for depth in (2, 3)} for m in (1, 4)}
    left, right = figures.shares(found, pictured=(1, 4)).fig.axes
    assert left.get_yscale() == "log" and [text.get_text() for text in left.texts] == ["$m=1$", "$m=4$"]
    assert right.get_xticklabels()[-1].get_text() == "class" and len(right.containers) == 2


def test_decided_marks_where_a_lead_is_as_long_as_it_is_wide():
    t, width = np.geomspace(0.1, 1, 6), np.array([0.5, 1.5, 4.0])
    square = np.broadcast_to(t[:, None] * width, (2, 6, 3))  # mean 1: the ratio is 1/√(square - 1)
    leads = Leads(t, np.ones((2, 6, 3)), 1 + square, np.full((2, 6, 3), 0.5))
    times = speciation.decided(leads)
    drawing = figures.decided({2: leads, 3: leads}, {2: times, 3: times})
    ax = drawing.fig.axes[0]
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), (0.5 * t) ** -0.5)
    marks = [line.get_xdata()[0] for line in ax.get_lines() if line.get_marker() == "o"]
    assert marks == [one.value for one in times if np.isfinite(one.value)] and len(marks) == 2
    assert [ax.get_title() for ax in drawing.fig.axes] == ["$m$ = 2", "$m$ = 3"]
    assert "that of the leaves nowhere" in drawing.alt and f"through one at {times[2].value:.2f}" in drawing.alt
