"""Blocks of changes: what is read off moments, on moments whose answers are known and on small grammars."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.experiments import blocks, controls
from hierlib.experiments.changes import Curves, Moments
from hierlib.experiments.curves import Interval
from hierlib.theory import meanfield
from hierlib.theory.changes import mean_field


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def moments(chi, draws=6, spread=0.0):
    """Moments whose susceptibility is chi (T,); that of the draws is spread around it, its mean exact."""
    chi = torch.as_tensor(chi, dtype=torch.float64)
    off = torch.linspace(-spread, spread, draws, dtype=torch.float64)[:, None]
    C = torch.tensor([4.0, 1.0, 0.0, 0.0]).double().expand(draws, len(chi), 4)
    return Moments(chi * (1 + off) * 3, torch.full((draws, len(chi)), 3.0).double(), C)


def test_curves_and_their_peak():
    t = np.array([0.1, 0.2, 0.3, 0.4])
    found = blocks.susceptibility_curve(moments([1.0, 4, 3, 1], spread=0.1))
    assert found.value == pytest.approx([1, 4, 3, 1]) and (found.lo < found.value).all() and (found.hi > 1).all()
    assert blocks.length_curve(moments([1.0, 1]), s=2).value.tolist() == [2, 2]  # siblings only
    assert blocks.correlation_at(moments([1.0, 1]), 1).hi.tolist() == [4, 1, 0, 0]
    still = Moments(torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(3, 2, 4))  # no noise: nothing can change
    assert blocks.susceptibility_curve(still).value.tolist() == [1, 1]
    peak = blocks.susceptibility_peak(t, moments([1.0, 3, 4, 3], spread=0.1))
    assert peak.place.bounds == pytest.approx((0.3, 0.3)) and peak.height.value == pytest.approx(4)
    assert 3.5 < peak.height.lo < 4 < peak.height.hi < 4.5


def test_decay_needs_positive_correlations():
    r = np.array([2.0, 4, 8])
    assert blocks.decay_exponent(np.log(r), 3 * r**-0.7) == pytest.approx(0.7)
    assert np.isnan(blocks.decay_exponent(np.log(r), [1, 0.5, 0]))


def test_growth_of_three_depths():
    found = blocks.growth([moments([chi]) for chi in (2.0, 4.0, 5.0)])
    assert found.steps.value == pytest.approx([2, 1]) and float(found.ratio.value) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="at least three depths, got 2"):
        blocks.growth([moments([1.0])] * 2)


def test_what_is_counted_has_the_exact_susceptibility():
    g = hl.random_grammar(v=8, m=3, s=2, L=4, generator=rng())
    x0 = hl.sample(g, 24, generator=rng(1))[0]
    evidence = hl.epsilon_evidence(x0, eps=0.7, v=8)
    gap = blocks.count_gap(g, evidence, x0, num_samples=500, generator=rng(2))
    assert gap.lo < gap.value < gap.hi < 0.3 and abs(gap.value) < 2.5 * (gap.hi - gap.value)
    chi = hl.susceptibility(g, evidence, x0).mean()
    assert chi > 1.5  # independent changes would be far off


def test_measured_peak_is_near_the_expected_one():
    size = dict(v=16, m=4, s=2, L=5)
    expected = blocks.expected_peak(**size)
    eps = np.linspace(0.002, 0.998, 999)
    assert expected.height == pytest.approx(mean_field(eps, **size).chi.max())
    assert float(meanfield.solve(expected.half, **size).P[..., -1]) == pytest.approx((1 + 1 / 16) / 2, abs=0.01)
    found = blocks.measured_peak(**size, draws=8, data=4, generator=rng())
    assert abs(found.place.value - expected.place) < 0.1 and abs(found.half.value - expected.half) < 0.1
    assert found.height.lo < found.height.value < found.height.hi and abs(found.height.value - expected.height) < 1


@pytest.mark.slow
@pytest.mark.parametrize("samples", [0, 6])
def test_around_the_loss_of_the_class(samples):
    how = dict(v=8, m=3, s=2, draws=4, data=3, scan_draws=8, scan_data=4, limit=0.7, generator=rng())
    low, high = (
        blocks.around_loss(hl.MaskNoise(v=8), np.geomspace(0.03, 1, 14), L=L, samples=samples, **how) for L in (2, 4)
    )
    assert 0.2 < low.half.value < 1 and low.t.max() <= 0.7 and low.curves.exact.variance.shape == (4, len(low.t))
    assert (low.curves.sampled is None) == (samples == 0)
    found = blocks.under_channel(low, high)
    assert 0.3 < found.place < 2 and found.off.value == pytest.approx(abs(np.log(found.place)))
    assert found.rise.lo < found.rise.value < found.rise.hi and found.height > 1


def test_channels_that_do_not_lose_the_class_have_no_numbers():
    t, exact = np.array([0.3, 0.4, 0.5]), moments([1.0, 3, 2])
    around = blocks.Around(t, Curves(exact, None, torch.ones(6, 3)), Interval(0.4, 0.3, 0.5))
    found = blocks.under_channels({("a", 2): around, ("a", 4): around, ("b", 2): around, ("b", 4): None}, 2, 4)
    assert [*found] == ["a", "b"] and found["a"] == blocks.under_channel(around, around)
    assert np.isnan([*found["b"].off, *found["b"].rise, found["b"].place, found["b"].height]).all()


def test_kept_symbols_of_one_datum():
    g = hl.random_grammar(v=8, m=3, s=2, L=4, generator=rng())
    x = hl.sample(g, 2, generator=rng(1))
    kept = blocks.kept_at(g, x, [0.0, 0.6, 1.0], seed=3)
    assert [[len(level) for level in each] for each in kept] == [[16, 8, 4, 2, 1]] * 3
    assert all(level.all() for level in kept[0]) and not kept[2][0].all()  # no noise: nothing changes
    y = hl.posterior_sample(g, hl.epsilon_evidence(x[0][:1], eps=0.6, v=8), generator=rng(3))
    assert all((a == (b[0, 0] == c[0])).all() for a, b, c in zip(kept[1], y, x, strict=True))


def test_no_loss_of_the_class_no_changes_around_it():
    noises = np.geomspace(0.01, 0.02, 5)  # too weak
    how = dict(v=8, m=3, s=2, L=3, draws=2, data=2, scan_draws=2, scan_data=2, generator=rng())
    assert blocks.around_loss(hl.MaskNoise(v=8), noises, **how) is None


def test_off_and_rise_have_the_errors_of_both_parts():
    def around(place, height, half):
        t = place + np.array([-0.1, 0, 0.1])
        exact = moments(height - np.array([1.0, 0, 1]))
        return blocks.Around(t, Curves(exact, None, torch.ones(6, 3)), Interval(half, half / 2, half * 2))

    found = blocks.under_channel(around(0.4, 3.0, 0.4), around(0.6, 5.0, 0.4))
    assert found.place == pytest.approx(1.5) and found.height == pytest.approx(3)
    assert found.off.value == pytest.approx(np.log(1.5)) and found.off.hi - found.off.value == pytest.approx(np.log(2))
    assert found.rise.value == pytest.approx(2)


def test_collapse_gap_is_none_where_curves_scale():
    star, nu, eps = 0.5, 2.0, np.linspace(0.2, 0.8, 4001)

    def curve(depth, wide=1.0):
        x = (eps - star) * 2 ** (depth / nu)
        return depth * np.exp(-((x / np.where(x > 0, wide, 1)) ** 2))

    same = blocks.collapse_gap(eps, {10: curve(10), 12: curve(12)}, s=2, star=star, nu=nu)
    assert max(same) < 1e-3
    below, above = blocks.collapse_gap(eps, {10: curve(10), 12: curve(12, 2.0)}, s=2, star=star, nu=nu)
    assert below < 1e-3 and above > 0.2


def test_without_a_tree():
    pair = torch.eye(4).double() * 0.15 + 0.025
    pair[3] = 0  # a symbol that does not occur first
    found = controls.without_tree(pair / pair.sum(), [8, 16, 32], generator=rng(), data=6)
    assert found.chain.shape == found.mixture.shape == (3,) and found.chain_C.shape == (15,)
    assert (found.chain >= 1).all() and found.chain.max() < 3 * found.chain[0]
    assert found.mixture[-1] > 1.5 * found.mixture[0]  # its only block is the whole
    assert found.distance.tolist() == [1.5, 3, 6, 12, 24] and (found.mixture_C > 0).all()
    assert found.chain_C[0] > 3 * abs(found.chain_C[-1]) and abs(found.exponent.value) < 0.5
