"""Loops over rule draws, data and noise levels."""

import pytest
import torch

import hierlib as hl
from hierlib.experiments import uturns as experiments
from hierlib.experiments.uturns import class_curves, level_curves, survivors, uturn

SMALL = {"v": 6, "m": 3, "s": 2, "L": 4}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_level_curves_are_what_infer_gives_one_at_a_time():
    noise, t = hl.GaussianNoise(6), [0.05, 0.2]
    found = level_curves(noise, t, **SMALL, draws=2, data=3, generator=rng())
    assert found.truth.shape == found.squared.shape == (2, 2, 5)
    gen = rng()
    for draw in range(2):
        g = hl.random_grammar(**SMALL, generator=gen)
        x = hl.sample(g, 3, generator=gen)
        state = gen.get_state()
        for i, time in enumerate(t):
            gen.set_state(state)  # common random numbers
            evidence = noise.evidence(noise.corrupt(x[0], time, generator=gen), time)
            b = hl.infer(g, evidence)
            assert found.truth[draw, i] == pytest.approx(hl.overlap(b, x).double(), abs=1e-6)
            for level, belief in enumerate(b.marginals):
                assert found.squared[draw, i, level] == pytest.approx(belief.square().sum(-1).mean().item(), abs=1e-6)
            assert found.alone[draw, i] == pytest.approx(evidence.gather(2, x[0][..., None]).mean().item(), abs=1e-6)


def test_chunks_change_nothing(monkeypatch):
    run = {"noise": hl.GaussianNoise(6), "t": torch.linspace(0.05, 0.5, 5), **SMALL, "draws": 2, "data": 3}
    whole = level_curves(**run, generator=rng())
    monkeypatch.setattr(experiments, "CHUNK", 2 * 3 * 16 * 6)
    for a, b in zip(whole, level_curves(**run, generator=rng()), strict=True):
        assert a == pytest.approx(b, abs=1e-6)


def test_noise_levels_share_their_random_numbers():
    """The masks of a datum are nested, so that its leaves are hidden one after the other."""
    found = level_curves(hl.MaskNoise(6), torch.linspace(0, 1, 30), **SMALL, draws=3, data=1, generator=rng())
    assert (found.alone.diff(dim=1) <= 1e-9).all()


def test_the_two_limits_of_the_noise():
    noise = hl.GaussianNoise(6)
    for conditional in (False, True):
        found = level_curves(noise, [1e-3, 40.0], **SMALL, draws=3, data=4, generator=rng(), conditional=conditional)
        assert found.truth[:, 0] == pytest.approx(1.0, abs=1e-5)
        # at infinite noise the truth is one draw from the prior, so only the class is the same for all
        assert found.squared[:, 1] == pytest.approx(found.chance, abs=1e-5)
        assert found.truth[:, 1, -1] == pytest.approx(1.0 if conditional else 1 / 6, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize(("noise", "t"), [(hl.GaussianNoise(6), [0.1, 0.3]), (hl.MaskNoise(6), [0.3, 0.6])])
def test_belief_in_the_truth_is_the_sum_of_squared_beliefs(noise, t, conditional):
    found = level_curves(noise, t, **SMALL, draws=150, data=8, generator=rng(), conditional=conditional)
    gap = (found.truth - found.squared).flatten(1)
    error = gap.std(0) / len(gap) ** 0.5
    assert error.max() < 0.01
    assert (gap.mean(0).abs() <= 4 * error + 1e-6).all()


def test_that_identity_fails_for_the_epsilon_process():
    found = level_curves(hl.EpsilonNoise(6), [0.5], **SMALL, draws=50, data=4, generator=rng())
    gap = (found.truth - found.squared)[:, 0]
    assert (gap.mean(0) > 10 * gap.std(0) / 50**0.5)[:-1].all()


def test_a_uturn_keeps_a_symbol_as_often_as_its_marginal_says():
    noise, gen, runs = hl.GaussianNoise(6), rng(), 4000
    g = hl.random_grammar(**SMALL, generator=gen)
    x = [level.repeat(runs, 1) for level in hl.sample(g, 1, generator=gen)]
    state, times = gen.get_state(), [0.1, 0.25]
    y = uturn(g, x[0], noise, times, generator=gen)
    for i, time in enumerate(times):
        gen.set_state(state)
        b = hl.infer(g, noise.evidence(noise.corrupt(x[0], time, generator=gen), time))
        for level in range(5):
            belief = b.marginals[level].gather(2, x[level][..., None])[..., 0].double().mean(1)
            kept = (y[level][i] == x[level]).double().mean(1)
            assert abs((kept - belief).mean()) < 4 * (kept - belief).std() / runs**0.5 + 1e-9
        again = hl.parse(g, y[0][i])
        assert all((a == level[i]).all() for a, level in zip(again, y, strict=True))


def test_uturn_told_the_class_comes_back_to_it():
    gen = rng()
    g = hl.random_grammar(**SMALL, generator=gen)
    x = hl.sample(g, 50, generator=gen)
    prior = torch.nn.functional.one_hot(x[-1][:, 0], 6).float()
    y = uturn(g, x[0], hl.GaussianNoise(6), [3.0], generator=gen, class_prior=prior)
    assert (y[-1][0] == x[-1]).all()
    assert (y[0][0] != x[0]).any()


def test_survivors_at_both_ends_of_the_noise():
    run = {**SMALL, "draws": 40, "data": 20}
    early = survivors(hl.GaussianNoise(6), 1e-3, **run, generator=rng())
    assert (early.kept == 1).all()
    late = survivors(hl.GaussianNoise(6), 30.0, **run, generator=rng())
    gap = (late.kept - late.coincidence).mean(1)
    assert (gap.mean(0).abs() < 4 * gap.std(0) / 40**0.5).all()
    with pytest.raises(ValueError, match="data: expected at least 2"):
        survivors(hl.GaussianNoise(6), 0.1, **SMALL, draws=1, data=1, generator=rng())


@pytest.mark.parametrize(
    "noise, t, a",
    [
        (hl.EpsilonNoise(v=6), [0.1, 0.5, 0.9], 1.5),
        (hl.MaskNoise(v=6), [0.2, 0.6], 0.0),
        (hl.GaussianNoise(v=6), [0.3], 0.0),
    ],
)
def test_class_curves_are_the_top_level(noise, t, a, monkeypatch):
    size = {"v": 6, "m": 3, "s": 2, "L": 4, "weights": hl.zipf(3, a), "draws": 3, "data": 5}
    every = level_curves(noise, t, **size, generator=torch.Generator().manual_seed(1)).truth[..., -1]
    monkeypatch.setattr(experiments, "CHUNK", 2 * 5 * 16 * 6)  # two noise levels at a time
    top = class_curves(noise, t, **size, generator=torch.Generator().manual_seed(1))
    assert top.shape == (3, len(t)) and torch.allclose(top, every, atol=1e-6)


@pytest.mark.parametrize("measure", [level_curves, class_curves, survivors], ids=lambda f: f.__name__)
def test_nothing_to_measure_is_refused(measure):
    asked = dict(draws=2, data=2, generator=rng()) | SMALL
    for change, message in (
        (dict(draws=0), "draws: expected at least 1, got 0"),
        (dict(data=0), "data: expected at least"),
        (dict(draws=1.5), r"draws: expected a whole number, got 1\.5"),
        (dict(generator=None), "generator: expected a torch.Generator, .* got None"),
    ):
        with pytest.raises(ValueError, match=message):
            measure(hl.MaskNoise(6), 0.3, **asked | change)
    if measure is not survivors:
        with pytest.raises(ValueError, match="t: expected one noise level or more, got none"):
            measure(hl.MaskNoise(6), [], **asked)
