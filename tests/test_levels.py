"""What is read off the curves of all levels, on curves and U-turns whose answers are known."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.experiments import levels
from hierlib.experiments.curves import Interval, estimate, half_height
from hierlib.experiments.uturns import Survivors, kept, level_curves, seen_turn, two_ways

T = np.geomspace(0.01, 1, 80)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def curves(L=3, draws=40, steep=3.0, at=0.1, seed=0):
    """Falls at the same noise, steeper level by level, whose place differs a little from draw to draw."""
    places = at * np.exp(np.random.default_rng(seed).normal(0, 0.02, draws))
    steeps = steep * np.arange(1, L + 2)
    return 1 / (1 + (T[:, None] / places[:, None, None]) ** steeps)


def test_noises_are_closest_around_the_guess():
    t = levels.noises_around(0.07, also=[0.055])
    assert (np.diff(t) > 0).all() and t[0] == pytest.approx(0.07 / 8, abs=1e-6) and t[-1] == pytest.approx(2.1)
    assert 0.055 in t and np.diff(np.log(t)).argmin() in range(*np.searchsorted(t, (0.04, 0.1)))


@pytest.mark.slow
def test_a_rough_scan_finds_the_half_height():
    size = {"v": 6, "m": 2, "s": 2, "L": 4}
    guess = levels.about_half_height(hl.GaussianNoise(6), **size, generator=rng())
    found = level_curves(hl.GaussianNoise(6), T, **size, draws=40, data=4, generator=rng(1)).truth.mean(0).numpy()
    assert guess == pytest.approx(half_height(T, found[:, -1], chance=1 / 6).t, rel=0.3)


@pytest.mark.slow
def test_the_transition_of_curves_that_cross():
    found = levels.transition(T, curves(), chance=0.0)
    assert found.at.value == pytest.approx(0.1, rel=0.01) and found.at.lo < found.at.value < found.at.hi
    assert found.slope.value == pytest.approx(3, rel=0.1)  # 12 / 4
    assert found.cross[1:] == pytest.approx([0.1] * 3, rel=0.02) and np.isnan(found.cross[0])
    assert found.behind.value == found.cross[3] and found.ratio.value == pytest.approx(1, rel=0.02)
    flat = levels.transition(T, np.ones((8, 80, 4)), chance=0.0)
    assert np.isnan(flat.at).all() and np.isnan(flat.behind).all() and np.isnan(flat.cross).all()


def test_the_spread_between_depths_leaves_out_the_threshold():
    near = 1 / (1 + (T / 0.1) ** 3)
    bump = np.where(np.abs(T / 0.1 - 1) < 0.1, 0.5, 0.02)
    two = [np.tile(y[:, None], (12, 1, 1)) for y in (near, near + bump)]
    found, t = levels.largest_spread(T, two, 0, away_from=0.1)
    assert found.value == pytest.approx(0.02) and found.lo == pytest.approx(0.02) and abs(t / 0.1 - 1) > 0.1
    for nothing in (
        levels.largest_spread(T, two[:1], 0, away_from=0.1),
        levels.largest_spread(T, two, 0, away_from=np.nan),
    ):
        assert np.isnan(nothing[0]).all() and np.isnan(nothing[1])


def test_the_slope_of_the_leaves_grows_by_a_factor_a_level():
    slow, fast = curves(steep=2.0), curves(steep=8.0)
    found = levels.leaf_slope_growth(T, slow, fast, 0.1, levels=2)
    assert found.value == pytest.approx(2, rel=0.1) and found.lo < found.value < found.hi  # by a parabola
    assert np.isnan(levels.leaf_slope_growth(T, slow, fast, 0.1, levels=0)).all()


@pytest.mark.slow
def test_widths_of_levels_of_known_steepness():
    found = levels.widths(T, curves(), np.zeros(4))  # ln t from .9 to .1 is 2 ln 9 / steepness
    assert found.sudden.value == pytest.approx(1 / 4, rel=0.05) and found.gentle.value == pytest.approx(4 / 3, rel=0.05)
    five = levels.widths(T, curves(L=4), np.zeros(5))
    assert five.gentle.value == pytest.approx(5 / 4, rel=0.05) and five.gentle.lo <= five.gentle.value
    assert np.isnan(levels.widths(T, np.ones((8, 80, 4)), np.zeros(4)).sudden).all()


def test_depths_are_compared_one_by_one():
    found = {L: curves(L) for L in (1, 3)}
    falls = {L: estimate(lambda y: half_height(T, y[:, -1], chance=0), y) for L, y in found.items()}
    one, three = levels.by_depth(T, found, falls, (0.02, 0.3), at=0.05)
    assert (one.L, three.L) == (1, 3) and one.at.value == pytest.approx(0.1, rel=0.01)
    assert three.slope.value == pytest.approx(3, rel=0.1) and three.lead.value > one.lead.value > 0
    assert one.ahead and three.ahead and one.best == "the class" and three.best == "the class"
    assert not one._replace(lead=Interval(0.01, 0.0, 0.02)).ahead
    upside_down = {3: curves(3)[:, :, ::-1]}
    assert levels.by_depth(T, upside_down, falls, (0.02, 0.3), at=0.05)[0].best == "the leaves"


def test_what_is_left_when_the_class_has_changed():
    top = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double()  # draw 0: one of two has changed; draw 1: both
    leaves = torch.tensor([[0.5, 1.0], [0.3, 0.1]]).double()
    luck = torch.full((2, 2, 2), 0.1).double()
    found = levels.given_changed(Survivors(torch.stack([leaves, top], -1), luck))
    assert found.kept.value == pytest.approx([0.3, 0.0]) and found.accident == pytest.approx([0.1, 0.1])
    assert found.gain.value == pytest.approx([0.2, -0.1]) and found.gain.lo[0] < 0.2 < found.gain.hi[0]
    nothing = levels.given_changed(Survivors(torch.ones(2, 2, 2), luck))
    assert np.isnan(nothing.kept).all() and np.isnan(nothing.accident).all() and np.isnan(nothing.gain).all()


def test_told_the_class_the_top_survives_and_the_rest_is_the_same_run():
    run = {"v": 6, "m": 3, "s": 2, "L": 3, "draws": 6, "data": 4}
    found = levels.told_the_class(hl.GaussianNoise(6), 0.4, seed=3, **run)
    alone = level_curves(hl.GaussianNoise(6), [0.4], **run, generator=rng(3)).truth[:, 0].numpy()
    assert (found.untold == alone).all() and (found.told[:, 3] == 1).all()
    assert (found.told.mean(0) > found.untold.mean(0)).all()


def test_bayesian_beliefs_pass_and_those_of_the_epsilon_process_fail():
    run = {"v": 6, "m": 3, "s": 2, "L": 3, "draws": 60, "data": 6}
    for noise, t, right in ((hl.GaussianNoise(6), [0.1, 0.3], True), (hl.EpsilonNoise(6), [0.4, 0.6], False)):
        gap = levels.nishimori_gap(level_curves(noise, t, **run, generator=rng()))
        assert gap.value.shape == (2, 4) and levels.bayesian(gap, 60).all() == right


def test_the_first_datum_that_goes_in_stages():
    start = [torch.zeros(2, 2**k, dtype=torch.long) for k in (3, 2, 1, 0)]
    changed = ((0, 0, 0, 0), (1, 0, 0, 0), (1, 0, 0, 0), (3, 1, 1, 0), (3, 1, 1, 0), (4, 2, 2, 1))  # nodes a level
    after = [torch.zeros(6, 2, 2**k, dtype=torch.long) for k in (3, 2, 1, 0)]
    for time, counts in enumerate(changed):
        for level, count in enumerate(counts):
            after[level][time, 1, :count] = 1  # the first datum never changes
    assert levels.first_in_stages(start, after) == (1, [1, 3, 5])
    assert levels.first_in_stages(start, [level[:5] for level in after]) is None


def test_a_typical_run_keeps_its_class_as_long_as_most():
    assert levels.typical_run(np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1]], bool), 2) == 1


def test_a_typical_turn_is_one_of_the_runs():
    size = {"v": 6, "m": 2, "s": 2, "L": 3}
    same = levels.typical_turn(hl.GaussianNoise(6), [0.01, 0.3, 5.0], 2, **size, generator=rng())
    assert [level.shape for level in same] == [(3, 8), (3, 4), (3, 2), (3, 1)] and all(level[0].all() for level in same)
    assert same[3][:, 0].tolist() == [True, True, False]


def test_two_ways_back_are_compared_datum_by_datum():
    start = [torch.zeros(4, 2, dtype=torch.long), torch.zeros(4, 1, dtype=torch.long)]
    half = [torch.tensor([[0, 1]] * 4), torch.tensor([[0], [0], [1], [1]])]
    found = two_ways(start, {7: start}, {7: half})
    assert found.one.tolist() == [[[1, 1]] * 4] and found.gap.tolist() == [[0.5, 0.5]]
    assert found.error.tolist() == [[0, 0.25]]


def test_a_turn_is_seen_with_the_beliefs_it_is_drawn_from():
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng())
    x = hl.sample(g, 5000, generator=rng(1))
    turn = seen_turn(g, x, hl.GaussianNoise(4), 0.3, seed=2)
    assert [p.shape for p in turn.belief] == [z.shape for z in x] == [z.shape for z in turn.y]
    gap = kept(x, turn.y).mean(0) - torch.stack([p.double().mean() for p in turn.belief])
    assert gap.abs().max() < 0.02
    again = seen_turn(g, x, hl.GaussianNoise(4), 0.3, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(turn.y, again.y))
