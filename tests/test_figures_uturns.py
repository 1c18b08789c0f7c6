"""Figures of U-turns are drawn from anybody's results, also where there is no threshold."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.book.figures import levels, small_grammar, uturns
from hierlib.experiments.curves import Interval
from hierlib.experiments.levels import Depth, GivenChanged
from hierlib.experiments.observables import Calibration
from hierlib.experiments.uturns import seen_turn

T, L = np.geomspace(0.02, 1, 40), 3
MEAN = 1 / (1 + (T[:, None] / 0.1) ** np.arange(1, L + 2))
KEPT = Interval(MEAN, MEAN - 0.01, MEAN + 0.01)
HALF, NONE = Interval(0.1, 0.09, 0.11), Interval(np.nan, np.nan, np.nan)


def drawn(drawing, live=""):
    """The axes of a drawing that can be shown."""
    assert len(drawing.alt.split()) > 8 and bool(drawing.live) == bool(live) and live in drawing.live
    drawing.fig.draw_without_rendering()
    return drawing.fig.axes


def strips(ax):
    return [patch for patch in ax.patches if patch.get_zorder() == 0]


def test_trees_say_what_was_kept():
    start = [np.zeros(2**k, int) for k in (3, 2, 1, 0)]
    ends = [[level.copy() for level in start] for _ in range(3)]
    ends[2][0][:3], ends[2][3][0] = 1, 1
    titles = [ax.get_title() for ax in drawn(uturns.trees_of_turns(start, ends, [0.1, 0.2, 0.3]))]
    assert titles[0] == "the datum" and titles[1].endswith("8 of 8 leaves kept, class kept")
    assert titles[3].startswith("back from $t = 0.30$") and titles[3].endswith("5 of 8 leaves kept, class changed")


def test_calibration_has_a_point_a_bin():
    found = Calibration(np.array([0.1, 0.5, 0.9]), np.array([0.1, 0.52, 0.9]), np.full(3, 0.01))
    drawing = uturns.calibration(found)
    [ax] = drawn(drawing)
    assert drawing.alt.startswith("3 points") and len(ax.containers[0].lines[0].get_xdata()) == 3


def test_depths_have_a_line_for_each_number_of_rules():
    lead = {3: {4: Interval(0.1, 0.0, 0.2), 6: Interval(0.3, 0.2, 0.4)}, 8: {4: Interval(-0.1, -0.2, 0.0)}}
    ax, right = drawn(uturns.depths(lead, {1: None, 3: 4, 8: 7}, limit=9.0))
    assert [text.get_text() for text in ax.texts] == ["$m=3$", "$m=8$"]
    assert right.get_lines()[0].get_xydata().tolist() == [[3, 4], [8, 7]] and right.get_lines()[1].get_xdata()[0] == 9
    assert len(drawn(uturns.depths(lead, {1: None}, limit=9.0))[1].get_lines()) == 1  # far to the right: not shown


def test_two_ways_stand_side_by_side():
    ways = np.random.default_rng(0).random((2, 2, 50, L + 1))
    [ax] = drawn(uturns.two_ways_back(*ways, [150, 300], [0.8, 0.4]))
    assert len(ax.containers) == 2 * (L + 1)
    assert [text.get_text() for text in ax.texts] == ["leaves", "1", "2", "class"]
    assert ax.get_xticklabels()[0].get_text().startswith("150\n")


@pytest.mark.parametrize("half", [HALF, NONE])
def test_level_curves_mark_the_half_height_where_there_is_one(half):
    ax = drawn(uturns.level_curves(T, KEPT, (0.02, 0.9), half=half, chance=0.1))[0]
    assert len([line for line in ax.lines if len(line.get_xdata()) == len(T)]) == L + 1
    assert len(strips(ax)) == (half is HALF) and "chance" in [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("half, cross", [(HALF, [np.nan, 0.11, 0.1, 0.09]), (NONE, [np.nan] * 4)])
def test_the_lead_dots_each_crossing(half, cross):
    lead = Interval(*(y - MEAN[:, :1] for y in KEPT))
    ax = drawn(uturns.lead_over_the_leaves(T, lead, np.array(cross), half=half))[0]
    dots = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert dots == [x for x in cross if np.isfinite(x)] and len(strips(ax)) == (half is HALF)


@pytest.mark.parametrize("slope", [Interval(2.0, 1.9, 2.1), NONE])
@pytest.mark.parametrize("sizes", [(1, 3), (3,)])
def test_sharpening_fits_a_line_where_it_can(slope, sizes):
    curves, slopes = dict.fromkeys(sizes, MEAN), dict.fromkeys(sizes, slope)
    left, right = drawn(uturns.sharpening(T, curves, slopes, [0.5] * len(sizes), (0.02, 0.9)))
    assert len(left.lines) == 2 * len(sizes)
    fitted = [line for line in right.lines if len(line.get_xdata()) == 50]
    assert len(fitted) == (len(sizes) > 1 and slope is not NONE)


def test_survivors_with_and_without_a_changed_class():
    rows, none = np.random.default_rng(0).random((20, L + 1)), np.full(L + 1, np.nan)
    level = np.linspace(0.5, 0, L + 1)
    some = GivenChanged(Interval(level, level, level), level / 5, Interval(level, level, level))
    nothing = GivenChanged(Interval(none, none, none), none, Interval(none, none, none))
    for found in (some, nothing):
        left, right = drawn(uturns.survivors(found, rows, rows / 2, 0.1))
        assert ("by accident" in [text.get_text() for text in left.texts]) == (found is some)
        assert {"told the class", "not told"} == {text.get_text() for text in right.texts}
        assert [label.get_text() for label in right.get_xticklabels()] == ["leaf", "2", "class"]


def test_the_identity_has_a_square_a_noise():
    axes = drawn(uturns.nishimori({"one": (MEAN, MEAN), "another": (MEAN[:5], MEAN[:5] / 2)}))
    assert [ax.get_title() for ax in axes] == ["one", "another"]
    assert [len(ax.lines) for ax in axes] == [L + 2] * 2


def test_a_turn_of_your_own_is_live_and_printed():
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=torch.Generator().manual_seed(0))
    x = hl.sample(g, 1, generator=torch.Generator().manual_seed(1))
    turns = {t: seen_turn(g, x, hl.GaussianNoise(4), t, seed=0) for t in (0.1, 0.4)}
    drawing = small_grammar.turns_of_your_own(g, np.geomspace(0.05, 1.2, 41), x, turns)
    assert [ax.get_title()[:9] for ax in drawn(drawing, 'data-live="small-grammar"')] == ["$t = 0.1$", "$t = 0.4$"]
    assert "8 leaves" in drawing.alt


def test_a_turn_is_linked_to_the_curves():
    stops = np.geomspace(0.03, 0.8, 20)
    same = [np.ones((20, 2 ** (L - l)), bool) for l in range(L + 1)]
    drawing = levels.linked(same, stops, T, MEAN, turn=8)
    assert len(drawn(drawing, 'data-live="level-curves"')) == 6 and 'value="9"' in drawing.live


def test_a_table_of_depths_leaves_its_first_lines_empty():
    found = uturns.depth_rows(
        [Depth(8, HALF, NONE, HALF, "the leaves"), Depth(10, NONE, HALF, HALF, "level 3")], lines=3
    )
    assert len(found) == 15 and found["row0_L"] == found["row0_best"] == "–"
    assert found["row1_L"] == 8 and found["row1_t"] == (HALF, ".4f") and found["row2_best"] == "level 3"
