"""Thresholds of exact inference, and how sharply the class is lost, against the mean field and known curves."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.experiments import spectrum, thresholds
from hierlib.experiments.curves import Interval, ratio_of_means
from hierlib.theory import meanfield

SIZE = {"v": 16, "m": 4, "s": 2}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_mean_field_is_at_half_height_there():
    eps = thresholds.mean_field_half_height(**SIZE, L=6)
    assert meanfield.solve(eps, **SIZE, L=6).p[-1] == pytest.approx((1 + 1 / 16) / 2, abs=1e-3)
    assert thresholds.mean_field_half_height(v=16, m=1, s=2, L=60) > 0.99


def test_exact_inference_loses_the_class_near_the_mean_field():
    run = {"draws": 30, "data": 4, "steps": (-0.08, 0, 0.08), "generator": rng(), "seed": 1}
    found = thresholds.thresholds(**SIZE, L=6, **run)
    theory = float(meanfield.critical_noise(**SIZE)), thresholds.mean_field_half_height(**SIZE, L=6)
    for each, expected in zip(found, theory):
        assert each.lo <= each.value <= each.hi and each.value == pytest.approx(expected, abs=0.06)


def test_criteria_read_off_one_curve():
    eps = np.linspace(0, 0.95, 96)
    rows = np.clip(1.2 - 1.5 * eps, 0.1, 1) + np.linspace(-0.01, 0.01, 11)[:, None]
    found = thresholds.criteria(eps, rows, v=10)
    assert found["leaves"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["half"] == pytest.approx(0.65 / 1.5, abs=1e-6)
    assert found["trace"] == pytest.approx((1.1 - 5 * rows[:, 0].std(ddof=1) / 11**0.5) / 1.5, abs=1e-6)


@pytest.mark.parametrize("m, grows", [(4, False), (14, True)])
def test_a_doubt_grows_by_the_slope_at_certainty(m, grows):
    found = thresholds.doubt_upward(0.01, v=16, m=m, s=2, L=4, draws=60, data=6, generator=rng())
    slope = float(meanfield.upward_map_derivative(1.0, 16, m, 2))
    assert found.doubt.shape == (60, 5) and found.ratio.value == pytest.approx(slope, abs=0.06)
    assert (found.doubt.mean(0)[-1] > found.doubt.mean(0)[0]) == grows


def test_slopes_and_their_growth_are_those_of_the_curves():
    eps, rng_ = np.linspace(0.4, 0.6, 30), np.random.default_rng(0)
    steep = {L: 1.5**L * np.exp(rng_.normal(0, 0.05, 40)) for L in (2, 4, 6)}
    slopes = []
    for values in steep.values():  # each meets the belief of a leaf, 1 - ε (1 - 1/v), at ε = .5
        curves = 1 - 0.5 * 0.9 - values[:, None] * (eps - 0.5)
        slopes.append(thresholds.log_slopes(eps, curves, v=10))
    assert [len(x) for x in slopes] == [40, 40, 40]
    assert np.allclose(slopes[0], np.log(steep[2]), atol=1e-9)
    growth = thresholds.growth_a_level([2, 4, 6], slopes, seed=0, num=500)
    assert growth.value == pytest.approx(np.log(1.5), abs=0.02) and growth.lo < growth.value < growth.hi
    assert len(thresholds.log_slopes(eps, np.full((3, 30), 0.2), v=10)) == 0  # never above: no crossing
    for depths, few in (([2], slopes[:1]), ([2, 4], [slopes[0], slopes[1][:7]]), ([2, 4], [])):
        assert np.isnan(thresholds.growth_a_level(depths, few, seed=0)).all()


@pytest.mark.parametrize("v, s", [(12, 2), (6, 3), (4, 4)])
def test_the_middle_fixed_point_repels_above_kesten_stigum_only(v, s, monkeypatch):
    assert thresholds.middle_repels(v, s)
    limit = meanfield.m_KS
    monkeypatch.setattr(meanfield, "m_KS", lambda v, s: limit(v, s) - 1)  # one number of rules too many
    assert not thresholds.middle_repels(v, s)


def test_rules_are_shares_of_the_limit_and_legal():
    limit = float(meanfield.m_c(8, 3))
    assert thresholds.rules_at(8, 3, 0.5, 0.2, 0.2, 0.0, 99) == [1, round(0.2 * limit), round(0.5 * limit), 64]


def measured(shift):
    """Thresholds that are off the mean field by `shift`, below the limit (m_c = 8.5) and above it."""
    found = {}
    for m in (4, 6, 8, 10):
        star = float(meanfield.critical_noise(16, m, 2)) + shift * m
        found[m] = thresholds.Thresholds(Interval(star, star - 0.1, star + 0.1), Interval(0.5, 0.4, 0.6))
    return found


def test_gaps_are_the_largest_of_each_range():
    found = thresholds.gaps(measured(-0.01), 16, 2)
    assert found == pytest.approx((0.06, 0.08, -0.1))
    few_only = {m: each for m, each in measured(0.01).items() if m < 5}
    assert thresholds.gaps(few_only, 16, 2)[0] == pytest.approx(0.04)
    assert np.isnan(thresholds.gaps(few_only, 16, 2)[1:]).all()


def test_a_phase_diagram_holds_both_criteria_and_the_mean_field():
    table = thresholds.phase_diagram(measured(0.01), 16, 2)
    assert table.m.values.tolist() == [4, 6, 8, 10]
    assert table.mean_field.sel(m=6) == float(meanfield.critical_noise(16, 6, 2))
    point = table.threshold.sel(m=10)
    assert point.sel(criterion="root above leaves").values == pytest.approx([0.1, 0.0, 0.2])
    assert point.sel(criterion="half height", bound="hi") == 0.6


def test_the_farthest_from_the_mean_field_keeps_its_own_error():
    theory, spread = meanfield.solve(0.05, 16, 12, 2, 4).p, np.array([-0.02, 0.0, 0.02])
    found = {12: {2: theory[2] + 0.01 + spread, 4: theory[4] - 0.03 + spread / 2}}
    far = thresholds.off_the_mean_field(found, 0.05, 16, 2)
    assert far.value == pytest.approx(0.03) and far.hi - far.value == pytest.approx(1.96 * 0.01 / 3**0.5)


def test_few_rules_outvote_a_weak_noise_and_many_do_not():
    run = dict(v=8, s=4, levels=5, depths=(1, 4), draws=12, data=4, pool=2000)
    few, many = (thresholds.weak_noise(hl.MaskNoise(8), 0.95, m=m, **run, generator=rng()) for m in (2, 24))
    for each in (few, many):
        assert each.population.shape == (5,) and each.found.shape == (12, 2) and each.depths == (1, 4)
        off = np.abs(each.found.mean(0) - each.population[[0, 3]])
        assert (off < 0.1).all()
    assert few.found[:, 1].mean() > few.found[:, 0].mean() + 0.1
    assert many.found[:, 1].mean() < few.found[:, 1].mean() - 0.3


def test_what_is_kept_is_of_the_two_deepest_trees():
    rows = np.linspace(0.7, 0.9, 5)
    named = {(3, L, 2): np.array([rows * share, 1 - 0.1 * rows]) for L, share in ((2, 5.0), (4, 1.0), (6, 0.5))}
    named |= {(2, 8, 2): np.ones((2, 5)), (3, 8, 4): np.ones((2, 5))}
    found = spectrum.kept_deeper(named, 3, 2)
    assert found.census.value == pytest.approx(0.5) and not found.holds
    assert found.exact.value == pytest.approx(0.92) and found.exact.hi <= 1
    del named[3, 6, 2]
    assert spectrum.kept_deeper(named, 3, 2).census.value == pytest.approx(0.2)
    assert spectrum.kept_deeper({(2, 1, 1): named[2, 8, 2], (2, 2, 1): named[2, 8, 2]}, 2, 1).holds


def test_a_census_names_the_class_less_often_than_exact_inference():
    run = {"v": 8, "s": 2, "L": 4, "draws": 12, "data": 80, "generator": rng()}
    census, exact = spectrum.named_rightly(hl.MaskNoise(v=8), 0.1, m=4, **run)
    assert census.shape == exact.shape == (12,) and 0 < census.mean() < exact.mean() <= 1
    blind = spectrum.named_rightly(hl.MaskNoise(v=8), 1.0, m=4, **run)
    assert np.abs(blind.mean(1)).max() < 0.1


def test_a_ratio_of_means_covers_the_true_one():
    draw, inside = np.random.default_rng(0), []
    for _ in range(300):
        found = ratio_of_means(draw.normal(2, 0.5, 40), draw.normal(4, 0.5, 60))
        inside.append(found.lo < 0.5 < found.hi)
    assert 0.9 < np.mean(inside) < 0.99
