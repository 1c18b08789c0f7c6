"""The figures of pictures made of parts, drawn from results that no chapter has made."""

import numpy as np

from hierlib.book.figures import parts_in_pictures as figures
from hierlib.experiments.curves import Interval

R = (0.1, 0.05, 0.02)


def around(y):
    return Interval(np.asarray(y), np.asarray(y) - 0.01, np.asarray(y) + 0.01)


def test_a_sheet_makes_changed_tiles_pale_and_names_new_classes():
    pictures = np.full((3, 2, 8, 8, 3), 100, np.uint8)
    changed = np.zeros((3, 2, 8, 8), bool)
    changed[2, 0, :4] = True
    drawing = figures.sheet(pictures, changed, [[0, 1], [0, 1], [2, 1]], pictures[:2, 0], (0.1, 0.05))
    axes = np.reshape(drawing.fig.axes, (3, 3))
    assert axes[0, 1].get_title() == "$r$ = 0.1" and drawing.alt
    assert [ax.get_title() for ax in axes[1]] == ["A", "A", "× C"]
    seen = axes[1, 2].images[0].get_array()
    assert (seen[:4, :, 3] < 100).all() and (seen[4:, :, 3] == 255).all()


def test_levels_and_layers_have_their_own_panels():
    levels, layers = around(np.linspace(1, 0.1, 12).reshape(3, 4)), around(np.linspace(1, 0.2, 6).reshape(3, 2))
    left, right = figures.kept(R, levels, layers, ["block 1", "logits"]).fig.axes
    assert len(left.containers) == 4 and len(right.containers) == 2
    np.testing.assert_array_equal(left.containers[3].lines[0].get_ydata(), levels.value[:, 3])
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["leaves", "level 1", "level 2", "class"]
    assert left.get_xlim()[0] > left.get_xlim()[1], "noise grows to the right"


def test_each_denoiser_has_a_curve_and_controls_are_lines():
    known = {"all": around([-0.1, 0.0, 0.2]), "two": around([0.0, 0.1, 0.2])}
    drawing = figures.known(R, known, {"untrained": around([0.1, 0.2, 0.3]), "shuffled": around([0.2, 0.2, 0.3])})
    (ax,) = drawing.fig.axes
    assert len(ax.containers) == 2 and len(drawing.fig.legends[0].get_texts()) == 4 and drawing.alt
    np.testing.assert_array_equal(ax.containers[0].lines[0].get_ydata(), known["all"].value)
