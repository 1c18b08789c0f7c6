"""Covariance by the tree, its top eigenvalue and the information per level, against enumeration."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.enumeration import all_data, brute_force
from hierlib.experiments import spectrum
from hierlib.experiments.uturns import class_curves
from hierlib.probability import prior_marginals

SIZES = [(4, 2, 2, 3), (3, 2, 3, 2), (3, 3, 2, 2), (4, 1, 2, 3)]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def one_hot_covariance(g):
    x = torch.nn.functional.one_hot(all_data(g)[0], g.v).double().flatten(1)  # derivations are equally likely
    x = x - x.mean(0)
    return x.T @ x / len(x)


@pytest.mark.parametrize(("v", "m", "s", "L"), SIZES)
def test_covariance_is_that_of_the_enumeration(v, m, s, L):
    g = hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng())
    for level, found in zip(all_data(g), prior_marginals(g), strict=True):
        counted = torch.nn.functional.one_hot(level, found.shape[1]).double().mean(0)
        torch.testing.assert_close(found, counted, rtol=0, atol=1e-12)
    covariance = one_hot_covariance(g)
    u = torch.randn(g.d, v, dtype=torch.float64, generator=rng(1))
    found = spectrum.covariance_times(g, u)
    torch.testing.assert_close(found.flatten(), covariance @ u.flatten(), rtol=0, atol=1e-12)
    top = float(torch.linalg.eigvalsh(covariance)[-1])
    assert spectrum.top_eigenvalue(g) == pytest.approx(top, rel=1e-6)


def test_classes_of_another_number():
    g = hl.random_grammar(v=4, m=2, s=2, L=3, num_classes=2, generator=rng())
    covariance = one_hot_covariance(g)
    u = torch.randn(8, 4, dtype=torch.float64, generator=rng(1))
    torch.testing.assert_close(spectrum.covariance_times(g, u).flatten(), covariance @ u.flatten(), rtol=0, atol=1e-12)


def test_information_is_between_nothing_and_everything():
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng())
    x = hl.sample(g, 6, generator=rng(1))
    nothing = spectrum.information(g, torch.ones(6, 8, 4, dtype=torch.float64))
    assert nothing.abs().max() < 1e-12
    all_ = spectrum.information(g, hl.epsilon_evidence(x[0], eps=0.0, v=4, dtype=torch.float64))
    for level, prior in enumerate(prior_marginals(g)):
        expected = float(torch.special.entr(prior).sum(1).mean())
        np.testing.assert_allclose(all_[:, level], expected, atol=1e-12)
    evidence = torch.rand(6, 8, 4, dtype=torch.float64, generator=rng(2))
    marginals, _ = brute_force(g, evidence)
    entropy = torch.special.entr(marginals[1]).sum(2).mean(1)
    found = spectrum.information(g, evidence)[:, 1] + entropy
    np.testing.assert_allclose(found, float(torch.special.entr(prior_marginals(g)[1]).sum(1).mean()))


def test_speciation_and_bad_input():
    assert spectrum.speciation_time(np.exp(2)) == pytest.approx(1)
    with pytest.raises(ValueError, match="positive eigenvalue"):
        spectrum.speciation_time(0.0)
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng())
    with pytest.raises(ValueError, match=r"float64 of shape \(8, 4\)"):
        spectrum.covariance_times(g, torch.zeros(8, 4))


def test_clocks_are_of_the_same_grammars():
    size, t = {"v": 4, "m": 2, "s": 2, "L": 3}, [0.1, 0.5, 2.0]
    noise = hl.GaussianNoise(v=4)
    top, belief = spectrum.clocks(noise, t, **size, draws=3, data=5, generator=rng(4))
    again = rng(4)
    expected = class_curves(noise, t, **size, draws=3, data=5, generator=again)
    np.testing.assert_allclose(belief, expected.numpy(), rtol=0, atol=1e-6)
    again = rng(4)
    for value in top:
        state = again.get_state()
        g = hl.random_grammar(**size, generator=again)
        assert spectrum.top_eigenvalue(g) == pytest.approx(value, rel=1e-6)
        again.set_state(state)
        class_curves(noise, t, **size, draws=1, data=5, generator=again)  # on to the next grammar
    assert len(set(top.round(6))) == 3


def test_census_is_the_projection_on_the_means_of_the_classes():
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng())
    every = all_data(g)
    leaves, label = torch.nn.functional.one_hot(every[0], g.v).double(), every[-1][:, 0]
    means = torch.stack([leaves[label == c].mean(0) for c in range(g.num_classes)])
    axes = torch.nn.functional.normalize((means - leaves.mean(0)).flatten(1), dim=1)
    counted = (leaves - leaves.mean(0)).flatten(1) @ axes.T
    scores = spectrum.census(g, leaves * 7)  # the scale of evidence does not matter
    torch.testing.assert_close(scores, counted, rtol=0, atol=1e-12)
    assert (scores.argmax(1) == label).double().mean() > 0.5
    with pytest.raises(ValueError, match=r"evidence: expected \(batch, 8, 4\)"):
        spectrum.census(g, leaves[0])


def test_lag_is_that_of_pairs_of_steps():
    t = np.geomspace(0.05, 5, 80)

    def clock(top, at):  # four grammars that are alike
        curve = 1 / 8 + (1 - 1 / 8) / (1 + (t / at) ** 6)
        return np.full(4, top), np.tile(curve, (4, 1))

    found = spectrum.lag(t, clock(2.0, 0.5), clock(2.0 * np.e, 0.7), v=8)
    assert found.value == pytest.approx(0.5 - 0.2, abs=0.01) and found.bounds == pytest.approx([found.value] * 2)


def test_what_is_forgotten_goes_from_all_to_nothing():
    how = dict(v=8, m=3, s=2, L=3, draws=3, data=6, generator=rng())
    found = spectrum.forgetting(hl.GaussianNoise(v=8), [0.001, 0.2, 6.0], **how)
    assert found.known.shape == found.error.shape == (3, 3, 4)
    assert found.known[:, 0] == pytest.approx(np.ones((3, 4)), abs=1e-6) and np.abs(found.known[:, 2]).max() < 0.05
    assert (found.error[:, 0] < 1e-6).all() and (found.error[:, 2] > 0.5).all()
    assert (np.diff(found.known.mean(0), axis=0) < 0).all() and (np.diff(found.error.mean(0), axis=0) > 0).all()


def test_windows_of_an_error():
    t, error = np.array([1.0, 2, 3, 4]), np.array([0.0, 0.4, 0.3, 0.8])  # the fall is scatter
    assert spectrum.error_reached(t, error, 0.5) == pytest.approx(3)
    assert spectrum.critical_window(t, error) == pytest.approx((1.1, 3.9))
    low, high = spectrum.critical_window(t, error + 0.1)
    assert np.isnan(low) and 3 < high < 4  # it begins before the first time
    errors = np.stack([error, np.zeros(4), [0, 0.8, 0.8, 0.8]], -1)[None].repeat(2, 0)  # leaves, between, class
    expected = np.log(1.95 / 1.05) / np.log(3.9 / 1.1)
    assert spectrum.relative_window(t, errors).value == pytest.approx(expected)
