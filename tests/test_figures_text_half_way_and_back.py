"""The figures of a text on a U-turn, drawn from results that no chapter has made."""

import json
import re

import numpy as np
import pytest

from hierlib.book.figures import text_half_way_and_back as figures
from hierlib.experiments.curves import Interval

T = np.array([0.2, 0.6, 1.0])


def interval(x):
    x = np.asarray(x, float)
    return Interval(x, x - 0.1, x + 0.1)


def test_passage_is_live_and_shows_the_nearest_fractions():
    texts = [["in", "the", "end"], ["in", "the", "end"], ["in", "a", "end"], ["at", "a", "time"]]
    erased = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], bool)
    drawing = figures.passage([0.0, *T], texts, erased, shown=(0.3, 0.9))
    data = json.loads(re.search(r'application/json">(.*?)</script>', drawing.live, re.S)[1])
    assert data["t"] == [0, 0.2, 0.6, 1] and data["start"] == 2
    said = {text.get_text() for text in drawing.fig.texts}
    assert {"start", "$t$ = 0.2", "$t$ = 1", "time"} <= said and "$t$ = 0.6" not in said and drawing.alt


@pytest.mark.parametrize("kinds", [("text",), ("text", "shuffled")])
def test_believed_has_a_panel_a_text(kinds):
    found = {kind: figures.Believed(T / 4, T / 4, interval(T / 4)) for kind in kinds}
    axes = figures.believed(T, found).fig.axes
    assert [ax.get_title() for ax in axes] == [figures.NAMES[kind] for kind in kinds]
    names = ["belief in the truth", "sum of squares", "come back the same"]
    assert axes[-1].get_legend_handles_labels()[1] == names


def test_susceptibility_names_its_curves():
    drawing = figures.susceptibility(T, {"text": interval([1, 1.5, 1.2]), "shuffled": interval([1, 1, 1])})
    (ax,) = drawing.fig.axes
    assert [text.get_text() for text in ax.texts] == ["words on their own", "text", "shuffled verses"]
    assert len(ax.containers) == 2 and drawing.alt


@pytest.mark.parametrize("d", [12, 64])
def test_reach_leaves_out_the_word_itself(d):
    correlation = {"text": interval(0.5 ** np.arange(d))}
    drawing = figures.reach(T, correlation, {"text": interval([1, 2, 3])}, at=0.6)
    left, right = drawing.fig.axes
    line = left.get_lines()[0] if len(left.get_lines()[0].get_xdata()) > 2 else left.get_lines()[1]
    assert line.get_xdata()[0] == 1 and line.get_xdata()[-1] == min(24, d - 1) and left.get_title() == "$t$ = 0.6"
    assert right.get_legend_handles_labels()[1] == ["text"] and drawing.alt


def test_local_order_has_a_panel_with_and_without_the_mask_given():
    curve, few = (T, interval([1, 1.5, 1.2])), (T[:2], interval([1, 2]))
    left, right = figures.local_order(curve, few, few, few).fig.axes
    assert [ax.get_title() for ax in (left, right)] == ["masks of their own", "given the mask"]
    assert left.get_legend_handles_labels()[1] == ["text", "trigrams"] and len(right.containers) == 2


def test_company_names_the_words_on_both_sides():
    together = np.array([[np.nan, 0.4], [0.4, np.nan]])
    drawing = figures.company(together, ["two", "words"])
    ax = drawing.fig.axes[0]
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["two", "words"]
    assert ax.images[0].get_clim() == (-0.5, 0.5) and drawing.alt
