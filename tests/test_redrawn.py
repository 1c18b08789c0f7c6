"""Symbols redrawn less often than said: the two ends, and how rare what is between is."""

import math

import pytest
import torch

import hierlib as hl
from hierlib.experiments.redrawn import FewerRedrawn, misled
from hierlib.experiments.uturns import level_curves

V = 6


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_ends_are_the_eps_process_and_the_channel():
    size = dict(v=V, m=2, s=2, L=3, draws=1, data=6)  # one grammar: the ε-process draws no noise before the next
    t = [0.3, 0.7]
    none = level_curves(FewerRedrawn(V, share=0.0), t, **size, generator=rng())
    all_ = level_curves(FewerRedrawn(V), t, **size, generator=rng())
    for found, noise in ((none, hl.EpsilonNoise(V)), (all_, hl.UniformNoise(V))):
        torch.testing.assert_close(found.truth, level_curves(noise, t, **size, generator=rng()).truth)


def test_a_share_of_the_redrawings_takes_place_and_the_evidence_is_that_of_all():
    noise, x0 = FewerRedrawn(V, share=0.25), torch.zeros(50, 400, dtype=torch.int64)
    seen = noise.corrupt(x0, 0.8, generator=rng())
    assert abs((seen != 0).double().mean() - 0.25 * 0.8 * (1 - 1 / V)) < 0.01
    assert torch.equal(noise.evidence(seen, 0.8), hl.UniformNoise(V).evidence(seen, 0.8))
    each = noise.corrupt(x0, torch.linspace(0, 1, 50), generator=rng())
    assert not each[0].any() and each[-1].any()


def test_probability_of_so_few_changes():
    assert FewerRedrawn(V).log10_probability(0.4, 100) == 0
    changed = 0.4 * (1 - 1 / V)
    assert math.isclose(FewerRedrawn(V, share=0.0).log10_probability(0.4, 100), 100 * math.log10(1 - changed))
    n, k = 3000, 500  # Stirling against the binomial law, to leading order
    exact = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    exact += k * math.log(changed) + (n - k) * math.log(1 - changed)
    found = FewerRedrawn(V, share=k / n / changed).log10_probability(0.4, n)
    assert abs(found - exact / math.log(10)) < 3


def test_the_more_mislead_the_sooner_the_class_is_lost():
    size = dict(v=8, m=3, s=2, L=4, draws=12, data=3)
    none, all_ = misled([0.0, 1.0], **size, generator=rng())
    assert none.half > all_.half and none.changed == 0 and all_.changed == pytest.approx(all_.half * 7 / 8)
    assert none.log10_probability < -1 and all_.log10_probability == 0
    assert none.gap > 0.05 > abs(all_.gap)  # Nishimori's identity holds for the channel only
    kept = misled([0.0], **size | {"m": 1}, generator=rng())[0]
    assert kept.half > none.half or math.isnan(kept.half)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_share_out_of_range(share):
    with pytest.raises(ValueError, match=r"share: expected in \[0, 1\]"):
        FewerRedrawn(V, share=share)
