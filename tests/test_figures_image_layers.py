"""Figures of layers on images, drawn from anybody's cosines, also where nothing inverts or is missing."""

import numpy as np
import pytest
import torch

from hierlib.book.figures import image_layers
from hierlib.experiments.curves import Interval
from hierlib.images.inversion import Inversion
from hierlib.images.layer_statistics import Ahead, Change, Difference, Look, Split
from hierlib.images.probe import LayerSimilarity

T = np.array([0.1, 0.3, 0.5, 0.7, 1.0])
NAMES = ["conv 1", "conv 2", "hidden", "logits"]
CURVES = np.stack([1 - T, 1 - T**2, 1 - T**3, np.clip(1.6 - 1.6 * T, 0, 1)], 1)


def drawn(drawing):
    assert len(drawing.alt.split()) > 8 and "nan" not in drawing.alt
    drawing.fig.draw_without_rendering()
    return drawing.fig.axes


def a_look(names=NAMES, n=20):
    curves = torch.tensor(CURVES[:, -len(names) :])
    alike = [LayerSimilarity(names, y.repeat(n, 1), torch.arange(n) < 20 * (1 - t)) for y, t in zip(curves, T)]
    return Look(alike, torch.zeros(5, len(names), dtype=torch.float64))


def an_inversion(values):
    return Inversion(torch.tensor(values), torch.full((len(values),), 0.1))


def test_trained_and_untrained_have_a_curve_a_layer():
    height = {"untrained": CURVES[:, ::-1], "trained": CURVES}
    drawing = image_layers.trained_and_untrained(T, NAMES, height, 1 - T)
    trained, untrained = drawn(drawing)
    assert trained.get_title() == "trained" and len(trained.lines) == 1 + len(NAMES)
    np.testing.assert_array_equal(untrained.lines[1].get_ydata(), CURVES[:, -1])
    assert "Trained: at 0.5 hidden is highest and conv 1 lowest" in drawing.alt and 'data-live="layers"' in drawing.live


@pytest.mark.parametrize("half", [0.5, np.nan])
def test_figure_2_has_bands_at_both_ends(half):
    bands = [Interval(y, y - 0.1, y + 0.1) for y in (CURVES[:, 0], CURVES[:, -1])]
    ax, right = drawn(image_layers.means_and_peaks(T, CURVES, torch.from_numpy(CURVES), bands, 1 - T, half))
    assert len(ax.collections) == 2 and not right.collections
    assert [ax.get_title(), right.get_title()] == ["mean", "peak"]
    with pytest.raises(ValueError):
        image_layers.means_and_peaks(T, CURVES, CURVES, bands[:1], 1 - T, half)


def test_differences_say_on_which_side_they_are():
    up, down, flat = ([x] * 5 for x in (0.3, -0.3, 0.0))
    inverted = an_inversion([-0.3, -0.3, 0.0, 0.3, 0.3])
    drawing = image_layers.differences(T, inverted, an_inversion(flat), 0.5, T, an_inversion(down))
    ax, _ = drawn(drawing)
    assert "trained networks, which is below and above zero at some times" in drawing.alt
    assert "untrained networks, which is at zero at all times" in drawing.alt
    assert drawing.alt.endswith("two clouds, which is below zero at some times.")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["trained", "untrained"]
    drawing = image_layers.differences(T, an_inversion(up), an_inversion(flat), np.nan, T, an_inversion(down))
    assert "trained networks, which is above zero at some times" in drawing.alt


def test_each_choice_is_a_row():
    rows = {"as above": Ahead(Difference(0.2, 0.1), Difference(-0.4, 0.1), 0.7)}
    rows["otherwise"] = Ahead(Difference(0.1, 0.1), Difference(0.3, 0.1), 1.0)
    drawing = image_layers.choices(rows)
    before, after = drawn(drawing)
    assert [label.get_text() for label in before.get_yticklabels()] == ["as above", "otherwise"]
    assert before.containers[0].lines[0].get_xdata().tolist() == [0.2, 0.1]
    assert after.get_xlim()[0] <= -0.48 and "2 of the points before the class is lost, and 1 after" in drawing.alt


def test_another_time_index_or_none():
    rows = torch.randn(5, 12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 100
    found = Change(rows[..., :2], rows[..., 2], torch.arange(12))
    [ax] = drawn(image_layers.other_index(T, found, "conv 1"))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["class kept", "conv 1", "logits"]
    drawing = image_layers.other_index(T, None, "conv 1")
    [ax] = drawn(drawing)
    assert not ax.containers and drawing.alt.startswith("No points")


@pytest.mark.parametrize("count", [1, 4])
def test_a_panel_for_each_kind_of_network(count):
    panels = {f"kind {i}": [a_look(NAMES[: 4 - i % 2])] * (1 + i) for i in range(count)}
    axes = drawn(image_layers.kinds(T, panels))
    assert [ax.get_title() for ax in axes] == list(panels)
    assert [len(ax.lines) for ax in axes] == [1 + 4 - i % 2 for i in range(count)]


def test_images_by_class_leave_out_what_is_missing():
    kept, changed = CURVES.copy(), CURVES - 0.2
    kept[-1], changed[0] = np.nan, np.nan
    parted = Split(*(Interval(y, y - 0.05, y + 0.05) for y in (kept, changed)))
    drawing = image_layers.by_class(T, NAMES, parted, np.nan)
    [ax] = drawn(drawing)
    assert len(ax.containers) == 6 and len(ax.containers[0].lines[0].get_xdata()) == 4
    assert "at 0.5 they are 0.20 apart in the first layer and 0.20 in the logits" in drawing.alt
    none = Interval(*[np.full_like(CURVES, np.nan)] * 3)
    assert "too few images" in image_layers.by_class(T, NAMES, Split(parted.kept, none), 0.5).alt
    drawn(image_layers.by_class(T, NAMES, Split(none, none), 0.5))
