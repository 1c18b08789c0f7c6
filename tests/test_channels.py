"""Noises compared: the loss of the class and its surroundings, on known cases."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.experiments import channels
from hierlib.experiments.curves import Interval
from hierlib.experiments.leaf_noise import LeafNumbers
from hierlib.experiments.uturns import LevelCurves
from hierlib.theory.population import density_evolution, leaf_sampler

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


def test_a_survey_measures_every_noise_at_its_depths():
    noises = {"mask": CHANNELS["mask"], "Gaussian": CHANNELS["Gaussian"]}
    size = dict(v=V, m=3, s=2, draws=4, data=2)
    found = channels.survey(noises, {"mask": (2, 3), "Gaussian": (3,)}, **size, generator=rng())
    assert [*found] == [("mask", 2), ("mask", 3), ("Gaussian", 3)]
    assert [each.curves.truth.shape[-1] - 1 for each in found.values()] == [2, 3, 3]
    first = channels.curves_around_loss(noises["mask"], **size, L=2, everywhere=False, generator=rng())
    assert torch.equal(found["mask", 2].curves.truth, first.curves.truth)
    kept = channels.summary(first.curves)
    assert torch.equal(kept["truth"], first.curves.truth.mean(0)) and kept["sd_over_draws"].shape == kept["truth"].shape


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
    t_lead, surest = channels.surest_lead(found)
    assert t_lead < 0.4 and surest.value == pytest.approx(0.02)
    assert channels.order_turns(found, 0.4) == (True, True)
    assert channels.order_turns(found, 0.05) == (False, True) and channels.order_turns(found, np.nan) == (False, False)
    turn = channels.turn(CHANNELS["mask"], found, 0.7, v=V, m=3, s=2, data=2, generator=rng())
    assert turn.before.value == pytest.approx(0.02) and turn.after.value == pytest.approx(0.3)
    assert abs(turn.beyond) < 0.1  # chance
    none = channels.turn(CHANNELS["mask"], found, np.nan, v=V, m=3, s=2, data=2, generator=rng())
    assert np.isnan([*none.before, *none.after, none.beyond]).all()


def test_numbers_of_a_leaf_where_the_class_is_lost():
    t = np.geomspace(0.05, 0.9, 60)
    found = curves(t, np.stack([falls(t, 0.4, 6)] * 3, -1))
    numbers = LeafNumbers(t, 2 * t, t**2, t, t)
    at = channels.at_loss(
        numbers={"mask": numbers}, curves={"mask": found}, losses={"mask": channels.class_loss(found, V)}
    )
    half = at["doubt"]["mask"].value
    assert half == pytest.approx(0.4, rel=0.02) and at["lost"]["mask"].value == pytest.approx(2 * half)
    assert at["bhattacharyya"]["mask"].value == pytest.approx(half**2, rel=0.01)
    one, two = Interval(0.2, 0.1, 0.3), Interval(0.5, 0.4, 0.6)
    assert channels.factor({"a": two, "b": one}) == 2.5
    assert np.isnan(channels.factor({"a": one, "b": Interval(np.nan, np.nan, np.nan), "c": two}))


def test_strengths_stand_on_both_sides_of_the_half_height():
    weak, below, above, strong = channels.strengths_near(CHANNELS["mask"], 0.9)
    assert weak < below < 0.9 < above == strong == 0.99
    assert channels.strengths_near(CHANNELS["Gaussian"], 0.9)[-1] == pytest.approx(1.17)
    assert channels.strengths_near(CHANNELS["mask"], np.nan) == channels.strengths_near(CHANNELS["mask"], 0.3)


def test_pools_and_the_mean_field_beside_exact_inference():
    found = hl.experiments.uturns.level_curves(CHANNELS["mask"], [0.2, 0.4], **SIZE, draws=40, data=4, generator=rng())
    how = dict(m=3, s=2, L=3, size=400, pools=6, generator=rng())
    pools = density_evolution(leaf_sampler(CHANNELS["mask"], 0.4), **how)
    each = channels.compared(found, 1, pools, np.full(4, 0.5))
    assert each.t == pytest.approx(0.4) and each.mean_field.tolist() == [0.5] * 4
    assert each.exact.value == pytest.approx(found.truth[:, 1].mean(0).numpy())
    assert each.population == pytest.approx(each.exact.value, abs=0.1) and (each.z < 6).all() and each.z.shape == (4,)
    upward = density_evolution(leaf_sampler(CHANNELS["mask"], 0.4), **how, downward=False)
    with pytest.raises(ValueError, match="pools: expected those of"):
        channels.compared(found, 1, upward, np.full(4, 0.5))


def test_nishimori_holds_for_channels_and_not_for_the_epsilon_process():
    t = [0.1, 0.5]
    for noise, most in ((CHANNELS["Gaussian"], 5), (hl.EpsilonNoise(V), np.inf)):
        found = channels.nishimori(
            hl.experiments.uturns.level_curves(noise, t, **SIZE, draws=24, data=4, generator=rng())
        )
        assert found.z < most and found.means == 8
    assert found.z > 10 and found.off > 0.05


def test_standard_scores():
    a, b = np.array([[1.0, 5], [3, 5]]), np.array([[4.0, 5], [6, 5]])
    assert channels.standard_scores(a, b).tolist() == pytest.approx([3 / 2**0.5, 0])


def test_a_climb_has_a_threshold_between_what_is_kept_and_lost():
    how = dict(m=3, s=2, levels=12, size=300, pools=2, generator=rng())
    found = channels.climb(CHANNELS["mask"], (0.01, 0.05, 0.9, 0.99), **how)
    assert found.up.shape == (4, 2, 13) and found.threshold == (0.05, 0.9)
    assert np.isnan(channels.climb(CHANNELS["mask"], (0.9,), **how).threshold).all()


@pytest.mark.slow
def test_a_bracket_is_halved_while_its_pools_agree():
    how = dict(m=3, s=2, levels=40, size=300, pools=2)
    found = channels.climb(CHANNELS["mask"], (0.3, 0.8), **how, generator=rng())
    once = channels.narrowed(CHANNELS["mask"], found, halvings=1, **how, generator=rng())
    assert once.t == (0.3, 0.55, 0.8) and once.threshold == (0.3, 0.55) and once.up.shape == (3, 2, 41)
    twice = channels.narrowed(CHANNELS["mask"], found, halvings=2, **how, generator=rng())
    assert np.allclose(twice.t, (0.3, 0.425, 0.55, 0.8)) and np.allclose(twice.threshold, (0.425, 0.55))
    many = channels.narrowed(CHANNELS["mask"], found, halvings=9, **how, generator=rng())
    low, high = many.threshold
    assert len(many.t) < 2 + 9 and 0.42 < low < high < 0.56, "pools of 300 disagree on what is nearer"
    assert channels.narrowed(CHANNELS["mask"], found, halvings=0, **how, generator=rng()) is found
    lost = channels.climb(CHANNELS["mask"], (0.9,), **how, generator=rng())
    assert channels.narrowed(CHANNELS["mask"], lost, halvings=2, **how, generator=rng()) is lost, "no bracket"


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
