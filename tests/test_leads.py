"""The lead of the class over the leaves: the depth that it takes, and a lead that is not just the largest of many."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.experiments.leads import depth_needed, lead_at, lead_elsewhere, leads
from hierlib.experiments.uturns import level_curves
from hierlib.theory import meanfield


def test_the_lead_at_one_noise_is_that_of_the_curves():
    run = dict(v=8, m=2, s=2, L=3, draws=8, data=4)
    found = lead_at(hl.GaussianNoise(8), 0.2, **run, generator=torch.Generator().manual_seed(0))
    curves = level_curves(hl.GaussianNoise(8), [0.2], **run, generator=torch.Generator().manual_seed(0)).truth[:, 0]
    assert found.value == (curves[:, 3] - curves[:, 0]).numpy().mean() and found.lo < found.value < found.hi


def test_depth_needed_is_the_first_that_leads_and_grows_with_the_rules():
    found = [depth_needed(16, m, 2) for m in (2, 3, 4, 5)]
    assert found == sorted(found)
    for m, L in zip((2, 3, 4, 5), found, strict=True):
        leading = [meanfield.best_kept(16, m, 2, n).lead > 1e-3 for n in range(1, L + 1)]
        assert leading == [False] * (L - 1) + [True]
    assert depth_needed(16, 12, 2) is None  # more rules than a class can bear
    assert depth_needed(16, 4, 2, deepest=3) is None and depth_needed(16, 4, 2, lead=0.2) > depth_needed(16, 4, 2)


def test_a_lead_is_not_the_largest_of_noisy_means():
    g = np.random.default_rng(0)
    nothing = g.normal(size=(400, 30, 3))
    assert (nothing[..., -1] - nothing[..., 0]).mean(0).max() > 0.1  # who picks the largest finds a lead
    found = lead_elsewhere(nothing)
    assert found.lo < 0 < found.hi
    nothing[:, 7, -1] += 2
    assert abs(lead_elsewhere(nothing).value - 2) < 0.4


@pytest.mark.slow
def test_leads_of_exact_inference():
    rng = torch.Generator().manual_seed(0)
    found = leads(hl.GaussianNoise(8), [2, 3], [2, 3], v=8, s=3, draws=16, data=32, generator=rng)
    assert {m: list(row) for m, row in found.items()} == {2: [2, 3], 3: [2, 3]}
    assert found[2][3].lo > 0 and found[2][3].value > found[2][2].value
