"""What a noise leaves of one leaf, on known cases."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.experiments import leaf_noise
from hierlib.experiments.curves import Interval

V = 8
CHANNELS = {"mask": hl.MaskNoise(v=V), "uniform": hl.UniformNoise(v=V), "Gaussian": hl.GaussianNoise(v=V)}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_doubt_of_masks_is_the_share_of_masks():
    eps, error = leaf_noise.mean_doubt(CHANNELS["mask"], [0.1, 0.6, 1.0], leaves=40_000, generator=rng())
    assert (np.abs(eps - [0.1, 0.6, 1]) <= 5 * error + 1e-12).all() and (error < 0.01).all() and error[0] > 0
    assert leaf_noise.doubt(1 - 0.3 + 0.3 / V, V) == pytest.approx(0.3)


@pytest.mark.parametrize("name", CHANNELS)
def test_calibrated_beliefs_tell_the_doubt_with_less_error(name):
    t, how = [0.2, 0.9], dict(leaves=40_000, generator=rng())
    eps, error = leaf_noise.mean_doubt(CHANNELS[name], t, **how)
    sharper, smaller = leaf_noise.mean_doubt(CHANNELS[name], t, **how, calibrated=True)
    assert (np.abs(eps - sharper) < 5 * np.hypot(error, smaller)).all() and (error > 0).all()
    assert name == "mask" or smaller[1] < error[1] / 2  # of a mask both are 1 or 1/v


def test_relaxation_rate_of_an_exponential():
    t = np.linspace(1, 2, 6)
    found = leaf_noise.relaxation_rate(t, 1 - 0.3 * np.exp(-2 * t), np.full(6, 1e-4))
    assert found.value == pytest.approx(-2) and -2.1 < found.lo < -2 < found.hi < -1.9


@pytest.mark.parametrize("name", CHANNELS)
def test_numbers_of_a_leaf(name):
    found = leaf_noise.leaf_numbers(CHANNELS[name], [0.05, 0.3, 0.9], leaves=20_000, generator=rng())
    assert (np.abs(found.counted - found.bhattacharyya) < 6 * found.error + 1e-9).all()
    for each in found[:3]:
        assert (np.diff(each) > 0).all() and (each > 0).all() and (each <= 1).all()
    if name == "mask":
        assert found.lost == pytest.approx(found.doubt) and found.bhattacharyya.tolist() == [0.05, 0.3, 0.9]


def test_read_off_keeps_the_order_of_the_ends():
    assert leaf_noise.read_off(Interval(1.0, 0.5, 2.0), [0, 2], [4.0, 0.0]) == Interval(2.0, 0.0, 3.0)
    assert np.isnan(leaf_noise.read_off(Interval(*[np.nan] * 3), [0, 2], [4.0, 0.0])).all()


def test_the_strength_at_a_doubt_leaves_this_doubt():
    t = np.geomspace(0.01, 2, 30)
    eps, _ = leaf_noise.mean_doubt(CHANNELS["Gaussian"], t, leaves=8000, generator=rng())
    strength = leaf_noise.strength_at(CHANNELS["Gaussian"], [0.2, 0.6], t, eps)
    fresh, _ = leaf_noise.mean_doubt(CHANNELS["Gaussian"], strength, leaves=40_000, generator=rng(1))
    assert (np.abs(fresh - [0.2, 0.6]) < 0.02).all()
    assert leaf_noise.doubt_at(CHANNELS["Gaussian"], strength[1], t, eps) == pytest.approx(0.6)
    for noise in (CHANNELS["mask"], hl.EpsilonNoise(V)):
        assert leaf_noise.strength_at(noise, 0.3, t, eps) == 0.3 == leaf_noise.doubt_at(noise, 0.3, t, eps)


def test_gaussian_diffusion_relaxes_like_its_signal():
    late = np.array([1.0, 1.3, 1.6])
    found = leaf_noise.relaxation(CHANNELS["Gaussian"], [0.05, 0.1, 0.3], late, generator=rng())
    ratio = 1 / np.expm1(2 * late)  # of signal to noise
    assert 0.5 < found.share < 1 and found.rate.value == pytest.approx(np.polyfit(late, np.log(ratio), 1)[0], abs=0.08)
    assert found.rate.hi - found.rate.lo < 0.02
