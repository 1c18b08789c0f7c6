"""Noises compared: numbers of one leaf, the loss of the class and its surroundings, on known cases."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.experiments import channels
from hierlib.experiments.curves import Interval
from hierlib.experiments.uturns import LevelCurves

V = 8
CHANNELS = {"mask": hl.MaskNoise(v=V), "uniform": hl.UniformNoise(v=V), "Gaussian": hl.GaussianNoise(v=V)}
SIZE = dict(v=V, m=3, s=2, L=3)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def curves(t, truth, squared=None):
    """Level curves (T, L+1), the same in each of four draws but for a little that cancels in the mean."""
    truth = torch.as_tensor(truth, dtype=torch.float64)
    truth = truth + 1e-6 * torch.tensor([-1.0, 1, -1, 1]).double()[:, None, None]
    squared = truth if squared is None else squared
    t = torch.as_tensor(t, dtype=torch.float64)
    return LevelCurves(t, truth, squared, truth[..., 0], torch.full(truth.shape[::2], 1 / V))


def falls(t, at, steep=4):
    return 1 / V + (1 - 1 / V) / (1 + (np.asarray(t) / at) ** steep)


def test_doubt_of_masks_is_the_share_of_masks():
    eps, error = channels.mean_doubt(CHANNELS["mask"], [0.1, 0.6, 1.0], leaves=40_000, generator=rng())
    assert (np.abs(eps - [0.1, 0.6, 1]) <= 5 * error + 1e-12).all() and (error < 0.01).all() and error[0] > 0
    assert channels.doubt(1 - 0.3 + 0.3 / V, V) == pytest.approx(0.3)


def test_relaxation_rate_of_an_exponential():
    t = np.linspace(1, 2, 6)
    found = channels.relaxation_rate(t, 1 - 0.3 * np.exp(-2 * t), np.full(6, 1e-4))
    assert found.value == pytest.approx(-2) and -2.1 < found.lo < -2 < found.hi < -1.9


@pytest.mark.parametrize("name", CHANNELS)
def test_numbers_of_a_leaf(name):
    found = channels.leaf_numbers(CHANNELS[name], [0.05, 0.3, 0.9], leaves=20_000, generator=rng())
    assert (np.abs(found.counted - found.bhattacharyya) < 6 * found.error + 1e-9).all()
    for each in found[:3]:
        assert (np.diff(each) > 0).all() and (each > 0).all() and (each <= 1).all()
    if name == "mask":
        assert found.lost == pytest.approx(found.doubt) and found.bhattacharyya.tolist() == [0.05, 0.3, 0.9]


def test_read_off_keeps_the_order_of_the_ends():
    assert channels.read_off(Interval(1.0, 0.5, 2.0), [0, 2], [4.0, 0.0]) == Interval(2.0, 0.0, 3.0)
    assert np.isnan(channels.read_off(Interval(*[np.nan] * 3), [0, 2], [4.0, 0.0])).all()


@pytest.mark.parametrize("name", ["mask", "epsilon"])
def test_curves_are_densest_around_the_loss(name):
    how = dict(**SIZE, draws=6, data=3, top=0.98, generator=rng())
    found, sides = channels.curves_around_loss(CHANNELS.get(name, hl.EpsilonNoise(V)), **how)
    lost, t = channels.class_loss(found, V), found.t.numpy()
    assert t[sides[0]] < lost.t.value < t[sides[1]] and lost.t.lo <= lost.t.value <= lost.t.hi and lost.slope.lo > 0
    near = np.abs(np.log(t / lost.t.value)) < 0.5
    assert np.diff(t[near]).min() < 0.5 * np.diff(t[~near]).max()
    few, _ = channels.curves_around_loss(CHANNELS.get(name, hl.EpsilonNoise(V)), **how, everywhere=False)
    assert len(few.t) < len(t)


def test_without_a_loss_the_curves_are_everywhere():
    found, sides = channels.curves_around_loss(CHANNELS["mask"], **SIZE, draws=2, data=1, top=0.03, generator=rng())
    assert sides[0] < sides[1] < len(found.t) == 12
    assert np.isnan(channels.class_loss(found, V).t.value)


def test_sharpening_is_per_level():
    t = np.geomspace(0.05, 2, 60)
    low = curves(t, np.stack([falls(t, 0.4, 3)] * 3, -1))
    high = curves(t, np.stack([falls(t, 0.4, 12)] * 5, -1))
    assert channels.sharpening(low, high, V).value == pytest.approx(2, rel=0.05)  # 4 times in two levels
    flat = curves(t, np.ones((60, 5)))
    assert np.isnan(channels.sharpening(low, flat, V).value)


def test_the_order_of_levels_turns_at_the_loss():
    t = np.geomspace(0.1, 1, 30)
    lead = np.where(t < 0.4, 0.02, -0.3)
    found = curves(t, np.stack([0.5 - lead, np.full(30, 0.5), np.full(30, 0.5)], -1))
    mean, error = channels.class_lead(found)
    assert mean == pytest.approx(lead) and (error < 1e-6).all()
    assert channels.order_turns(found, 0.4) == (True, True)
    assert channels.order_turns(found, 0.05) == (False, True) and channels.order_turns(found, np.nan) == (False, False)
    turn = channels.turn(CHANNELS["mask"], found, 0.7, v=V, m=3, s=2, data=2, generator=rng())
    assert turn.before.value == pytest.approx(0.02) and turn.after.value == pytest.approx(0.3)
    assert abs(turn.beyond) < 0.1  # chance
    assert channels.turn(CHANNELS["mask"], found, np.nan, v=V, m=3, s=2, data=2, generator=rng()) is None


def test_nishimori_holds_for_channels_and_not_for_the_epsilon_process():
    t = [0.1, 0.5]
    for noise, most in ((CHANNELS["Gaussian"], 5), (hl.EpsilonNoise(V), np.inf)):
        found = channels.nishimori(
            hl.experiments.uturns.level_curves(noise, t, **SIZE, draws=24, data=4, generator=rng())
        )
        assert found.z < most and found.count == 8
    assert found.z > 10 and found.off > 0.05


def test_standard_scores():
    a, b = np.array([[1.0, 5], [3, 5]]), np.array([[4.0, 5], [6, 5]])
    assert channels.standard_scores(a, b).tolist() == pytest.approx([3 / 2**0.5, 0])


def test_a_climb_has_a_threshold_between_what_is_kept_and_lost():
    how = dict(m=3, s=2, levels=12, size=300, pools=2, generator=rng())
    found = channels.climb(CHANNELS["mask"], (0.01, 0.05, 0.9, 0.99), **how)
    assert found.up.shape == (4, 2, 13) and found.threshold == (0.05, 0.9)
    assert channels.climb(CHANNELS["mask"], (0.9,), **how).threshold is None


def test_fates_share_their_random_numbers():
    g = hl.random_grammar(**SIZE, generator=rng())
    x = hl.sample(g, 1, generator=rng(1))
    noises = {
        "epsilon": (hl.EpsilonNoise(V), [0.2, 0.9]),
        "mask": (CHANNELS["mask"], [0.3, 0.3]),
        "again": (CHANNELS["mask"], [0.3]),
    }
    found = channels.fates(g, x, noises, generator=rng(2))
    assert [len(each) for each in found.values()] == [2, 2, 1]
    assert found["epsilon"][1].leaves == pytest.approx(np.full(8, 0.1 + 0.9 / V))
    first, second, third = *found["mask"], *found["again"]
    assert first.leaves.tolist() == second.leaves.tolist() == third.leaves.tolist()
    assert [len(level) for level in first.levels] == [8, 4, 2, 1] and 0 < first.levels[3][0] <= 1
