"""Susceptibility and correlation of changes, against enumeration and samples; identities of the mean field."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.enumeration import all_data
from hierlib.experiments import changes, controls
from hierlib.theory import meanfield
from hierlib.theory.changes import _fading, correlation_length, divergence, exponents, mean_field, unbounded_rules

F64 = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def enumerated(data, weight, x0):
    """Mean and covariance of kept leaves of one datum, from all data (k, d) and their posterior weight (k,)."""
    kept = (data == x0).double()
    mean = weight @ kept
    return mean, (kept - mean).T @ ((kept - mean) * weight[:, None])


@pytest.mark.parametrize(("v", "m", "s", "L"), [(4, 2, 2, 3), (3, 2, 3, 2), (3, 3, 2, 2), (4, 1, 2, 3)])
def test_moments_are_those_of_the_enumeration(v, m, s, L):
    g = hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng())
    x0 = hl.sample(g, 5, generator=rng(1))[0]
    evidence = torch.rand(5, g.d, v, dtype=F64, generator=rng(2)) + 0.05
    leaf = torch.randint(g.d, (5,), generator=rng(3))
    evidence[4, leaf[4], x0[4, leaf[4]]] = 0  # there is another datum that differs there
    found = changes.kept_moments(g, evidence, x0, leaf)
    differentiated = changes.moments_of(lambda e: hl.class_posterior(g, e, backend="torch")[1], evidence, x0, leaf)
    for one, other in zip(found, differentiated, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)
    data = all_data(g)[0]
    for k in range(5):
        weight = evidence[k].gather(1, data.T).T.prod(1)
        mean, covariance = enumerated(data, weight / weight.sum(), x0[k])
        torch.testing.assert_close(found.mean[k], mean, rtol=0, atol=1e-10)
        torch.testing.assert_close(found.variance[k], covariance.sum(), rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(found.with_one[k], covariance[leaf[k]], rtol=0, atol=1e-10)
        chi = (covariance.sum() / covariance.diagonal().sum()).nan_to_num(1)  # where nothing can change
        torch.testing.assert_close(changes.susceptibility(g, evidence, x0)[k], chi, rtol=1e-9, atol=0)


def test_exact_and_sampled_susceptibility_agree():
    g = hl.random_grammar(v=8, m=3, s=2, L=5, generator=rng())
    x0 = hl.sample(g, 20, generator=rng(1))[0]
    evidence = hl.epsilon_evidence(x0, eps=0.75, v=8)
    y = hl.posterior_sample(g, evidence, num_samples=600, generator=rng(2))[0]
    found = changes.sampled_moments(y, x0, 2)
    exact = changes.kept_moments(g, evidence, x0)
    for sampled, value in ((found.variance, exact.variance), (found.independent, exact.independent)):
        z = (sampled - value) / (value * (2 / 599) ** 0.5)
        assert abs(float(z.mean())) * 20**0.5 < 4
    every = []
    for k in range(g.d):
        leaf = torch.full((20,), k)
        every.append(4 * changes.by_distance(changes.kept_moments(g, evidence, x0, leaf).with_one, leaf, 2))
    every = torch.stack(every).mean(0)  # C by level, over all pairs
    gap = (found.C - every).numpy()
    assert (np.abs(gap.mean(0)) < 4 * gap.std(0, ddof=1) / 20**0.5 + 1e-12).all()
    assert gap.std(0).min() > 0 and float(every[:, 1].min()) > 0.01


def test_nothing_can_change_without_noise():
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng())
    x0 = hl.sample(g, 3, generator=rng(1))[0]
    assert changes.susceptibility(g, hl.epsilon_evidence(x0, eps=0.0, v=4), x0).tolist() == [1, 1, 1]


def test_what_cannot_be_kept_is_not_taken_as_known():
    """Evidence that is sure of another datum: the leaf was something else, and the grammar has no datum with both."""
    g = hl.random_grammar(v=4, m=1, s=2, L=3, generator=rng())
    x = all_data(g)[0]
    differ = (x[0] != x[1]).nonzero()[:1, 0]
    kept = changes.kept_moments(g, hl.epsilon_evidence(x[1:2], eps=0.0, v=4), x[:1], differ)
    assert not kept.with_one.any() and abs(float(kept.variance)) < 1e-14
    assert torch.equal(kept.mean, (x[:1] == x[1:2]).double()) and torch.equal(kept.changed, 1 - kept.mean)


def test_by_distance():
    leaf = torch.tensor([0, 5])
    covariance = torch.arange(16.0).reshape(2, 8)
    found = changes.by_distance(covariance, leaf, 2)
    assert found[0].tolist() == [0, 1, 2.5, 5.5]
    assert found[1].tolist() == [13, 12, 14.5, 9.5]  # leaf 5: itself, 4, (6, 7), (0 … 3)
    with pytest.raises(ValueError, match=r"expected s\^L = 2\^L leaves, got 9"):
        changes.by_distance(torch.zeros(1, 9), torch.tensor([0]), 2)


def test_moments_of_samples_by_level():
    y = torch.randint(3, (4, 50, 9), generator=rng())
    x0 = torch.randint(3, (4, 9), generator=rng(1))
    found = changes.sampled_moments(y, x0, 3)
    for k in range(4):
        covariance = (y[k] == x0[k]).double().T.cov()
        torch.testing.assert_close(found.variance[k], covariance.sum())
        torch.testing.assert_close(found.independent[k], covariance.diagonal().sum())
        by_level = torch.stack(
            [4 * changes.by_distance(covariance[i : i + 1], torch.tensor([i]), 3)[0] for i in range(9)]
        )
        torch.testing.assert_close(found.C[k], by_level.mean(0))


@pytest.mark.parametrize("noise", [hl.EpsilonNoise(8), hl.MaskNoise(8), hl.UniformNoise(8), hl.GaussianNoise(8)])
def test_curves_count_what_they_compute(noise):
    found = changes.curves(noise, [0.1, 0.8], v=8, m=3, s=2, L=4, draws=12, data=4, samples=120, generator=rng())
    for exact, counted in zip(found.exact, found.sampled, strict=True):
        gap = (counted - exact).flatten(1).numpy()
        assert (np.abs(gap.mean(0)) < 4.5 * gap.std(0, ddof=1) / 12**0.5 + 1e-9).all()
    assert (found.truth[:, 0] > found.truth[:, 1]).all()
    assert found.exact.C.shape == (12, 2, 5) and found.truth.shape == (12, 2)
    one = changes.curves(noise, [0.1], v=8, m=3, s=2, L=4, draws=1, data=4, generator=rng())
    assert one.sampled is None
    torch.testing.assert_close(one.exact.variance[0, 0], found.exact.variance[0, 0])


def test_correlation_length():
    assert correlation_length([[4, 1, 0, 0], [4, 0, 0, 1]], 2).tolist() == [2, 8]
    assert float(correlation_length([1, 1, 1], 2)) == pytest.approx((1 * 2 + 2 * 4) / 3)


def test_the_chain_and_the_mixture_are_what_they_say():
    v, d = 3, 5
    prior, transition = torch.rand(v, dtype=F64, generator=rng()), torch.rand(v, v, dtype=F64, generator=rng(1))
    prior, transition = prior / prior.sum(), transition / transition.sum(1, keepdim=True)
    data = torch.cartesian_prod(*[torch.arange(v)] * d)
    chain = prior[data[:, 0]] * torch.stack([transition[data[:, i], data[:, i + 1]] for i in range(d - 1)]).prod(0)
    leaves = torch.rand(4, d, v, dtype=F64, generator=rng(2))
    leaves = leaves / leaves.sum(2, keepdim=True)
    mixture = leaves[:, torch.arange(d), data].prod(2).mean(0)
    evidence = torch.rand(2, d, v, dtype=F64, generator=rng(3))
    x0 = data[[7, 100]]
    for p, function in (
        (chain, controls.chain_log_evidence(prior, transition)),
        (mixture, controls.mixture_log_evidence(leaves)),
    ):
        assert float(p.sum()) == pytest.approx(1)
        found = changes.moments_of(function, evidence, x0, torch.tensor([1, 4]))
        for k in range(2):
            weight = p * evidence[k].gather(1, data.T).T.prod(1)
            assert float(function(evidence)[k]) == pytest.approx(float(weight.sum().log()))
            mean, covariance = enumerated(data, weight / weight.sum(), x0[k])
            torch.testing.assert_close(found.mean[k], mean, rtol=0, atol=1e-10)
            torch.testing.assert_close(found.with_one[k], covariance[[1, 4][k]], rtol=0, atol=1e-10)
    x = controls.sample_chain(prior, transition, 40_000, 2, generator=rng(4))
    counts = torch.bincount(x[:, 0] * v + x[:, 1], minlength=v * v) / len(x)
    expected = (prior[:, None] * transition).flatten()
    assert ((counts - expected).abs() < 5 * (expected / len(x)) ** 0.5).all()


@pytest.mark.parametrize(("v", "m", "s"), [(32, 8, 2), (16, 4, 2), (8, 3, 3), (6, 5, 4)])
def test_identities_of_the_mean_field(v, m, s):
    eps, L = np.linspace(0.01, 0.99, 25), 6
    found, found_changes = meanfield.solve(eps, v, m, s, L), mean_field(eps, v, m, s, L)
    a = (m - 1) / (v**s - 1)
    for k in range(1, L + 1):  # the chain from the class down gives the marginals of eq. (62)
        p, P = found.p[:, k - 1], found.P[:, k]
        up = (p**s + a * p * (1 - p ** (s - 1))) / (p**s + a * (1 - p**s))
        apart = p * (1 - p ** (s - 1)) / (1 - p**s)
        np.testing.assert_allclose(up * P + apart * (1 - P), found.P[:, k - 1], rtol=0, atol=1e-12)
        np.testing.assert_allclose(_fading(p, a, s), up - apart, atol=1e-14)
    P0 = found.P[:, 0]
    np.testing.assert_allclose(found_changes.C[:, 0], 4 * P0 * (1 - P0), atol=1e-14)
    assert (found_changes.C > -1e-12).all() and (found_changes.chi >= 1 - 1e-9).all()
    star = float(meanfield.fixed_points(v, m, s)[1])
    if 1 / v < star < 1:
        slope = float(meanfield.upward_map_derivative(star, v, m, s))
        assert s * float(_fading(np.array(star), a, s)) == pytest.approx(slope)
        found = exponents(v, m, s)
        assert found.a_c == pytest.approx(2 * (1 - 1 / found.nu)) and found.diverges == (slope**2 > s)


def test_no_threshold_no_exponents():
    for m in (1, 20):
        with pytest.raises(ValueError, match="m_KS < m < m_c"):
            exponents(32, m, 2)


def test_mean_field_is_near_exact_inference():
    v, m, s, L, eps = 32, 8, 2, 6, 0.6
    rows = []
    for seed in range(8):
        g = hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng(seed))
        x0 = hl.sample(g, 12, generator=rng(seed + 100))[0]
        leaf = torch.randint(g.d, (12,), generator=rng(seed))
        kept = changes.kept_moments(g, hl.epsilon_evidence(x0, eps=eps, v=v), x0, leaf)
        rows.append(
            (kept.variance.mean() / kept.independent.mean(), 4 * changes.by_distance(kept.with_one, leaf, s).mean(0))
        )
    chi = np.array([float(a) for a, _ in rows])
    C = torch.stack([b for _, b in rows]).numpy()
    theory = mean_field(eps, v, m, s, L)
    assert abs(chi.mean() - theory.chi) < 4 * chi.std(ddof=1) / 8**0.5 + 0.1
    assert (np.abs(C.mean(0) - theory.C) < 4 * C.std(0, ddof=1) / 8**0.5 + 0.01).all()


def test_bad_input():
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng())
    evidence, x0 = torch.ones(2, 8, 4), torch.zeros(2, 7, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"evidence \(batch, d, v\) and x0 \(batch, d\)"):
        changes.susceptibility(g, evidence, x0)
    with pytest.raises(ValueError, match="at least 2 samples"):
        changes.sampled_moments(torch.zeros(2, 1, 7), x0, 2)
    with pytest.raises(ValueError, match=r"expected s\^L = 2\^L leaves, got 7"):
        changes.sampled_moments(torch.zeros(2, 3, 7), x0, 2)


@pytest.mark.parametrize("v", [8, 16, 24, 64])
def test_the_closed_form_finds_where_blocks_are_unbounded(v):
    found, ends = divergence(v, 2, num=4000), unbounded_rules(v)
    seen = found.m[found.ratio > 1]
    assert (ends is None) == (len(seen) == 0)
    if ends:
        assert ends == pytest.approx([seen[0], seen[-1]], rel=0.003) and ends[0] <= seen[0] and seen[-1] <= ends[1]


def test_no_unbounded_blocks_without_an_alphabet():
    with pytest.raises(ValueError, match=r"v: expected integers ≥ 2, got 1\.0"):
        unbounded_rules(1)


def test_divergence_agrees_with_the_exponents():
    found = divergence(32, 2)
    assert (np.diff(found.m) > 0).all() and 0 < found.place[0] < found.place[-1] < 1
    for m in (3, 8, 12):
        assert exponents(32, m, 2).diverges == bool(np.interp(m, found.m, found.ratio) > 1)
