"""The figures of changes in blocks, drawn from results that no chapter has made."""

import json
import re

import numpy as np
import pytest
import torch

from hierlib.book.figures import changes_in_blocks as figures
from hierlib.experiments.blocks import Around, Expected, Measured
from hierlib.experiments.changes import Curves, Moments
from hierlib.experiments.controls import WithoutTree
from hierlib.experiments.curves import Interval
from hierlib.theory.changes import divergence, mean_field

EPS = np.array([0.3, 0.5, 0.7])


def curves(levels, sampled=True, draws=4):
    rng = torch.Generator().manual_seed(levels)
    shape = (draws, len(EPS))
    found = [torch.rand(*shape, generator=rng) + 3, torch.rand(*shape, generator=rng) + 1]
    exact = Moments(*found, torch.rand(*shape, levels + 1, generator=rng) + 0.1)
    return Curves(exact, exact if sampled else None, torch.ones(shape))


def interval(x):
    return Interval(x, x - 0.1, x + 0.1)


def test_data_at_noises():
    kept = [[np.ones(4), np.ones(2), np.ones(1)], [torch.tensor([True, False, True, False]), np.zeros(2), np.zeros(1)]]
    drawing = figures.data_at_noises(kept, [0.1, 0.9])
    assert [ax.get_title() for ax in drawing.fig.axes] == [r"$\varepsilon$ = 0.10", r"$\varepsilon$ = 0.90"]
    assert drawing.alt and not drawing.live


@pytest.mark.parametrize("star", [0.6, None])
@pytest.mark.parametrize("depths", [(3,), (3, 4)])
def test_susceptibility_has_a_curve_a_depth(star, depths):
    fine = np.linspace(0.1, 0.9, 9)
    expected = {L: mean_field(fine, 8, 3, 2, L) for L in (2, *depths)}
    measured = {L: curves(L, sampled=L == 3) for L in depths}
    drawing = figures.susceptibility(EPS, measured, fine, expected, s=2, star=star)
    left, right = drawing.fig.axes
    assert left.get_legend_handles_labels()[1] == [f"$L$ = {L}" for L in depths]
    diamonds = [line for line in left.get_lines() if line.get_marker() == "D"]
    assert len(diamonds) == 1 and len(left.containers) == len(right.containers) == len(depths)
    dashed = [line for line in right.get_lines() if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1]
    assert len(dashed) == (star is not None) and drawing.alt


def test_the_family_of_depths_is_live_and_has_the_points_that_fit():
    eps, points = np.linspace(0, 1, 11), np.ones((3, 4))
    chi = {L: np.sin(np.pi * eps) * L for L in (2, 3, 4)}
    drawing = figures.family_of_depths(eps, chi, s=2, start=3, points={4: points, 9: points})
    data = json.loads(re.search(r'application/json">(.*?)</script>', drawing.live, re.S)[1])
    assert data["names"] == ["L = 2", "L = 3", "L = 4"] and data["start"] == 1 and list(data["points"]) == ["2"]
    assert data["say"][2] == "Blocks are largest at ε = 0.500, where χ = 4.0; the tree has 16 leaves."
    assert len(drawing.fig.axes[0].get_lines()) == 3


def test_a_live_curve_is_as_high_as_the_sentence_under_it_says():
    eps = np.linspace(0.01, 0.99, 491)
    chi = {L: mean_field(eps, 32, 8, 2, L).chi for L in (6, 14)}
    drawing = figures.family_of_depths(eps, chi, s=2, start=6, points={})
    data = json.loads(re.search(r'application/json">(.*?)</script>', drawing.live, re.S)[1])
    for L, curve, words in zip(chi, data["curves"], data["say"], strict=True):
        finer = np.linspace(0.7, 0.76, 2001)
        assert f"χ = {max(curve):.1f}" in words
        assert max(curve) == pytest.approx(float(mean_field(finer, 32, 8, 2, L).chi.max()), rel=5e-3)  # half a pixel


@pytest.mark.parametrize("a_c", [0.9, None])
def test_correlation_with_and_without_a_power_law(a_c):
    C, r = np.array([1, 0.5, 0.25, 0.1]), np.array([1.5, 3.0])
    controls = WithoutTree(np.ones(2), np.array([2, 4]), np.array([0.1, 1e-9]), r, 0.1 / r, interval(1.0))
    largest = {"tree": ([4, 8], [1, 2]), "chain": ([4, 16], [1, 1]), "flat mixture": ([4, 16], [2, 4])}
    drawing = figures.correlation(interval(C), torch.as_tensor(C), C, controls, largest, s=2, a_c=a_c)
    left, right = drawing.fig.axes
    labels = left.get_legend_handles_labels()[1]
    assert ("power law" in labels) == (a_c is not None) and {"mean field", "exact", "counted in samples"} <= {*labels}
    grey = next(line for line in left.get_lines() if line.get_color() == figures.CHANCE)
    assert grey.get_xdata().tolist() == [1]  # what is nearly zero is left out
    assert {text.get_text() for text in right.texts} == {*largest} and drawing.alt


def test_collapse_scales_lines_and_points_alike():
    y = np.array([1, 2, 1])
    drawing = figures.collapse(EPS, {4: y, 6: 2 * y}, {4: (2.0, np.array([[0.5, 2, 1, 3]]))}, s=2, star=0.5, nu=2.0)
    ax = drawing.fig.axes[0]
    lines = [line for line in ax.get_lines() if line.get_label().startswith("$L$")]
    assert [line.get_ydata().max() for line in lines] == [1, 1]
    assert lines[0].get_xdata() == pytest.approx((EPS - 0.5) * 4) and lines[1].get_xdata() == pytest.approx(
        (EPS - 0.5) * 8
    )
    assert ax.containers[0].lines[0].get_xydata().tolist() == [[0, 1]] and drawing.alt


def test_where_blocks_stay_finite():
    expected = {3: [Expected(0.5, 2, 0.6, 0.1)] * 2, 9: [Expected(0.4, 3, np.nan, 0.1)] * 2}
    measured = {4: Measured(interval(0.5), interval(2.0), interval(0.6))}
    divergences = {s: divergence(8, s, num=5) for s in (2, 3)}
    drawing = figures.where_blocks_stay_finite(divergences, [3, 4], expected, measured)
    left, right = drawing.fig.axes
    assert left.get_legend_handles_labels()[1] == ["$s$ = 2", "$s$ = 3"]
    assert right.get_legend_handles_labels()[1] == ["largest $\\chi$", "class"] and len(right.containers) == 2
    assert figures.where_blocks_stay_finite(divergences, [], {3: []}, {}).alt  # no number of rules to compare


def test_channels_thick_where_counted():
    half = interval(0.5)
    found = {("masks", 3): Around(EPS, curves(3, sampled=False), half), ("masks", 4): Around(EPS, curves(4), half)}
    found |= {("Gaussian", 4): Around(EPS, curves(4), half)}
    drawing = figures.channels(found, s=2)
    left, right = drawing.fig.axes
    assert left.get_legend_handles_labels()[1] == ["masks", "Gaussian"]
    assert len(left.containers) == 3 and len(right.containers) == 2 and drawing.alt
    assert figures.channels({("masks", 3): None}, s=2).fig.axes[0].get_legend() is None  # no channel loses the class
