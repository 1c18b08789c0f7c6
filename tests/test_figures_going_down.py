"""The figures of the way down, drawn from results that no chapter has made."""

import json
import re

import numpy as np
import pytest
import torch

from hierlib.book.figures import going_down as figures
from hierlib.experiments.curves import Interval
from hierlib.experiments.messages import Averaged, Compared, NodeBeliefs
from hierlib.theory import meanfield

EPS, L = np.array([0.1, 0.5, 0.9]), 3


def interval(x):
    x = np.asarray(x, float)
    return Interval(x, x - 0.1, x + 0.1)


def levels():
    fine = np.linspace(0.05, 0.95, 7)
    expected, line = (meanfield.solve(x, 8, 3, 2, L).P for x in (EPS, fine))
    return figures.Levels(EPS, interval(expected + 0.02), expected, fine, line)


def test_bad_message_shows_one_datum_and_measures_all():
    rng = torch.Generator().manual_seed(0)
    nodes = [NodeBeliefs(*(torch.rand(4, 200 // 2**l, generator=rng) for _ in range(3))) for l in range(L)]
    expected = {m: meanfield.solve(0.1, 8, m, 2, L) for m in (1, 3)}
    drawing = figures.bad_message({1: nodes, 3: nodes}, expected, m=3, level=1)
    data = json.loads(re.search(r'application/json">(.*?)</script>', drawing.live, re.S)[1])
    assert data["m"] == [1, 3] and data["start"] == [1, 1] and len(data["colours"]) == L + 1
    assert [len(kind) for kind in data["points"][0][0]] == [128] * 3  # no more than fit
    assert data["sd"][0][1][2] == pytest.approx(float(nodes[1].marginal.std(correction=0)), abs=1e-4)
    assert data["theory"][1][2][1] == pytest.approx(expected[3].q[2], abs=1e-4)
    assert drawing.fig.axes[1].get_title() == f"downward, sd {data['sd'][1][1][1]:.3f}" and drawing.alt


def test_averaging_names_each_belief_in_the_parent():
    q, p = np.array([0.125, 0.5]), np.array([0.2, 0.8])
    drawing = figures.averaging(Averaged(np.zeros(3), q, p, interval(np.ones((2, 2)))), v=8)
    (ax,) = drawing.fig.axes
    assert [text.get_text() for text in ax.texts] == ["$q = 1/v$", "$q = 0.5$"] and len(ax.containers) == 2
    assert ax.get_lines()[0].get_ydata().tolist() == [100, 100] and drawing.alt


@pytest.mark.parametrize("star", [0.6, 1.0])
@pytest.mark.parametrize("figure", [figures.downward, figures.marginals])
def test_levels_and_what_the_theory_misses(figure, star):
    drawing = figure(levels(), star=star, chance=0.125)
    left, right = drawing.fig.axes[:2]
    assert len(left.containers) == L + 1 and drawing.alt
    gaps = [line for line in right.get_lines() if line.get_marker() == "o"]
    assert len(gaps) == L + 1 and gaps[0].get_ydata() == pytest.approx([0.02] * 3)
    assert len(right.texts) == (star < 1)  # no threshold, no mark
    assert len(right.patches) == (figure is figures.marginals)


def test_levels_of_each_kind_have_their_own_line():
    theory = meanfield.solve(EPS, 8, 3, 2, L)
    found = {
        kind: Compared(interval(rows + 0.1), rows, rows, rows)
        for kind, rows in zip(("up", "down", "marginal"), theory, strict=True)
    }
    drawn = figures.levels_of(EPS, found, v=8, m=3, s=2, L=L)
    assert list(drawn) == list(found)
    for each, rows in zip(drawn.values(), theory, strict=True):
        at = np.array([np.interp(EPS, each.fine, each.line[:, level]) for level in range(L + 1)]).T
        assert at == pytest.approx(rows, abs=2e-3) and (each.expected == rows).all()
        assert each.found.value == pytest.approx(rows + 0.1)


def test_synonyms_counts_the_nodes_next_to_each_mark():
    beliefs = [1.0, 0.99, 0.5, 0.34, 0.33, 0.2, 0.1, 0.52]
    drawing = figures.synonyms(beliefs, [0.5, 0.3, 0.1, 0.05, 0.05], mean_field=0.7, level=2, L=L)
    (ax,) = drawing.fig.axes
    dots = next(line for line in ax.get_lines() if line.get_marker() == "o")
    assert dots.get_ydata().tolist() == [0.25, 0.25, 0.25, 0.25] and "level 2" in ax.get_xlabel() and drawing.alt


@pytest.mark.parametrize("star", [0.6, 0.0])
def test_leaves_and_class(star):
    drawing = figures.leaves_and_class(levels(), star=star, chance=0.125)
    (ax,) = drawing.fig.axes
    assert [text.get_text() for text in ax.texts] == ["leaves", "class"] and len(ax.containers) == 2
    assert sum(line.get_marker() == "v" for line in ax.get_lines()) == (star > 0) and drawing.alt
