"""Figures of the average over grammars are drawn from anybody's results."""

import json
import re

import numpy as np
import pytest
import torch

from hierlib.book.figures import averaging
from hierlib.experiments.curves import NOTHING, Interval
from hierlib.experiments.messages import single_messages
from hierlib.experiments.tables import shell_counts


def rng():
    return torch.Generator().manual_seed(0)


def drawn(drawing):
    """The axes of a drawing that can be shown."""
    assert len(drawing.alt.split()) > 8
    drawing.fig.draw_without_rendering()
    return drawing.fig.axes


def test_a_cloud_has_a_curve_a_table_and_all_choices_live():
    counts = {m: shell_counts(30, v=5, m=m, s=3, generator=rng()) for m in (1, 4, 25)}
    drawing = averaging.cloud(counts, 4)
    [ax] = drawn(drawing)
    assert len(ax.lines) == 30 + 3 and drawing.alt.startswith("30 thin curves")
    data = json.loads(re.search(r'json">(.*?)</script>', drawing.live)[1])
    assert (
        data["m"] == [1, 4, 25] and data["start"] == 1 and np.shape(data["own"]) == np.shape(data["all"]) == (3, 30, 3)
    )
    assert np.sum(data["all"][2][0]) == 5**3 - 1  # all tuples are drawn


def test_a_dot_for_each_average():
    [ax] = drawn(averaging.in_standard_errors({"a": 0.5, "b": -1.0, "c": 3.0}))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert ax.containers[0].lines[0].get_xdata().tolist() == [0.5, -1.0, 3.0]


def test_the_cost_of_averaging_is_in_per_cent():
    y, p = np.array([0.001, 0.004]), np.linspace(0.1, 1, 9)
    drawing = averaging.cost_of_averaging([0.3, 0.6], {2: Interval(y, y / 2, y * 2)}, p, {2: p / 100})
    [ax] = drawn(drawing)
    assert ax.containers[0].lines[0].get_ydata() == pytest.approx([0.1, 0.4])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["$m=2$"] and "for 1 numbers" in drawing.alt


def test_single_messages_stand_level_over_level():
    found = single_messages((0.4, 0.7), 3, v=6, m=2, s=2, L=3, draws=2, generator=rng())
    axes = drawn(averaging.single_messages(found, 2, nodes=4))
    assert [ax.get_ylabel() for ax in axes[::2]] == ["level 2", "level 1", "level 0"]
    assert [ax.get_title() for ax in axes[:2]] == [r"$\varepsilon=0.4$", r"$\varepsilon=0.7$"]
    assert all(len(ax.lines) == 6 + 1 + 2 for ax in axes) and len(axes[-1].lines[0].get_xdata()) == 4


@pytest.mark.parametrize("half", [Interval(0.6, 0.5, 0.7), NOTHING])
def test_upward_curves_mark_the_half_height_where_there_is_one(half):
    eps = np.linspace(0.1, 0.9, 5)
    y = np.linspace(1, 0, 5)[:, None] * np.ones(4)
    ax = drawn(averaging.upward_curves(eps, Interval(y, y - 0.01, y + 0.01), 8, 2, 2, half=half))[0]
    assert len(ax.containers) == 4 and len([line for line in ax.lines if len(line.get_xdata()) == 300]) == 4
    assert len(ax.patches) == (half is not NOTHING)
