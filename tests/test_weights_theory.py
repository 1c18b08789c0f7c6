"""Rules of unequal weights in theory: a pool as the mean field, population dynamics, thresholds, and exact ones."""

import math

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.theory import meanfield, population
from hierlib.theory.population import density_evolution, leaf_sampler, pool_of_beliefs

EPS = np.arange(0.50, 1.0, 0.02)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def half(y, chance):
    """The ε at which a belief is half-way to chance, by a line between two of `EPS`."""
    h = (np.asarray(y) - chance) / (1 - chance)
    i = int(np.flatnonzero(h >= 0.5).max())
    return EPS[i] + (EPS[i + 1] - EPS[i]) * (h[i] - 0.5) / (h[i] - h[i + 1])


@pytest.mark.slow
@pytest.mark.parametrize(("a", "expected"), [(0.0, 0.7256), (0.5, 0.7401), (1.0, 0.8036), (1.5, 0.9064), (2.0, 0.9693)])
def test_zipf_moves_the_transition_of_the_class(a, expected):
    found = pool_of_beliefs(EPS, hl.zipf(8, a), v=32, s=2, L=10, size=2**15, generator=rng())
    assert half(found.marginal[:, -1], 1 / 32) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize(("a", "exact"), [(0.0, 0.7256), (1.0, 0.8015)])
def test_exact_inference_is_where_the_pool_is(a, exact):
    """A few grammars of the paper's size; their own scatter is about .015 each."""
    generator, rows = rng(5), []
    for _ in range(6):
        g = hl.random_grammar(v=32, m=8, s=2, L=10, weights=hl.zipf(8, a), generator=generator)
        x = hl.sample(g, 2, generator=generator)
        seen = torch.cat([hl.epsilon_evidence(x[0], eps=float(e), v=32) for e in EPS[8:20:2]])
        belief = hl.class_posterior(g, seen)[0].gather(1, x[-1].repeat(6, 1))[:, 0]
        rows.append(belief.double().reshape(6, 2).mean(1))
    at = np.interp(-0.5 - 0.5 / 32, -torch.stack(rows).mean(0).numpy(), EPS[8:20:2])
    assert at == pytest.approx(exact, abs=0.025)


def test_equal_weights_are_the_mean_field():
    eps = np.array([0.3, 0.7, 0.8])
    for v, m, s, L in ((8, 3, 2, 4), (3, 9, 3, 3), (4, 1, 2, 3)):
        exact = meanfield.solve(eps, v, m, s, L)
        found = pool_of_beliefs(eps, [1 / m] * m, v=v, s=s, L=L, size=8, generator=rng())
        for mine, theirs in zip(found, exact, strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs, rtol=0, atol=1e-12)


def test_one_level_of_the_maps_is_the_mean_over_weights():
    """F_w with 1/w in place of m, averaged with the chance of w, and likewise down."""
    v, s, eps, w = 8, 2, 0.4, np.array([0.5, 0.3, 0.2])
    p, n = 1 - eps + eps / v, v**s - 1
    up = (w * meanfield.upward_map(p, v, 1 / w, s)).sum()
    q, c = 1 / v, (1 - w / v) / n
    down = (w * (q * w * p + c * (1 - p)) / (q * w * p + c * (v - p))).sum()
    np.testing.assert_allclose(meanfield.downward_map(q, p, v, 1 / w, s).dot(w), down, rtol=1e-12)
    found = pool_of_beliefs(eps, w.tolist(), v=v, s=s, L=1, size=200_000, generator=rng())
    assert float(found.up[0, 1]) == pytest.approx(up, abs=1e-3)
    assert float(found.down[0, 0]) == pytest.approx(down, abs=1e-3)


def test_uneven_rules_keep_a_class_that_uniform_ones_lose():
    """Beyond m_c, with every tuple a rule's: certainty is unstable, and yet the class is known for ever."""
    how = dict(v=32, s=2, L=20, size=2**15, generator=rng())
    assert float(pool_of_beliefs(0.4, hl.zipf(32, 0.0), **how).marginal[0, -1]) == pytest.approx(1 / 32, abs=1e-3)
    assert float(pool_of_beliefs(0.4, hl.zipf(32, 2.0), **how).marginal[0, -1]) == pytest.approx(0.975, abs=0.005)
    assert meanfield.gain_at_certainty(hl.zipf(32, 2.0), 32, 2) == pytest.approx(1.11, abs=0.005)


def test_thresholds():
    assert meanfield.effective_rules(hl.zipf(8, 1.0)).round(2).tolist() == [8, 6.15, 4.84]
    assert meanfield.effective_rules([0.5, 0.5, 0.0]).round(12).tolist() == [2, 2, 2]
    for v, m, s in ((32, 8, 2), (32, 20, 2), (4, 10, 3)):
        even, w = [1 / m] * m, hl.zipf(m, 0.7).numpy()
        certain, chance = (float(meanfield.upward_map_derivative(p, v, m, s)) for p in (1.0, 1 / v))
        assert meanfield.gain_at_certainty(even, v, s) == pytest.approx(certain)
        assert meanfield.gain_at_chance(even, v, s) == pytest.approx(chance)
        y, h = 1 / v, 1e-5
        assert meanfield.gain_at_chance(w, v, s) == pytest.approx(float(w @ _rise(y, h, w, v, s)), rel=1e-4)
    # Kesten-Stigum: the class is found at nearly full noise, in a deep tree, from 1/Σw² < m_KS on
    how = dict(v=32, s=2, L=40, size=2**15, generator=rng())
    for a, kept in ((2.0, False), (2.5, True)):
        w = hl.zipf(8, a)
        assert (meanfield.gain_at_chance(w, 32, 2) > 1) == kept == (1 / float((w**2).sum()) < meanfield.m_KS(32, 2))
        assert (float(pool_of_beliefs(0.995, w, **how).marginal[0, -1]) > 0.05) == kept


def _rise(y, h, w, v, s):
    """The slope of F_w at y."""

    def F(p):
        P, u = p**s, (1 - p**s) / (v**s - 1)
        return (w * P + (1 - w) * u) / (w * P + (v - w) * u)

    return (F(y + h) - F(y - h)) / (2 * h)


@pytest.mark.slow
def test_population_dynamics_with_weights_is_exact_inference_of_one_level():
    """One level has one node, and so no rules are shared: then the population is the mean over grammars."""
    v, m, s, eps, w = 4, 3, 2, 0.5, torch.tensor([0.7, 0.25, 0.05], dtype=torch.float64)
    leaves = leaf_sampler(hl.EpsilonNoise(v=v), eps)
    found = density_evolution(leaves, m=m, s=s, L=1, size=20_000, weights=w, generator=rng())
    generator, rows = rng(1), []
    for _ in range(1500):
        g = hl.random_grammar(v=v, m=m, s=s, L=1, weights=w, generator=generator)
        x = hl.sample(g, 8, generator=generator)
        b = hl.infer(g, hl.epsilon_evidence(x[0], eps=eps, v=v, dtype=torch.float64))
        kinds = (b.up[1], x[1]), (b.down[0], x[0]), (b.marginals[0], x[0]), (b.marginals[1], x[1])
        each = [belief.gather(2, true[..., None]).mean() for belief, true in kinds]
        rows.append(torch.stack(each))
    rows = torch.stack(rows)
    mine = torch.stack([found.up[:, 1], found.down[:, 0], found.marginal[:, 0], found.marginal[:, 1]], 1)
    error = (rows.var(0) / len(rows) + mine.var(0) / len(mine)).sqrt()
    assert ((rows.mean(0) - mine.mean(0)).abs() < 4.5 * error).all()


def test_population_dynamics_of_equal_weights_has_the_same_bits():
    leaves, how = leaf_sampler(hl.EpsilonNoise(v=8), 0.5), dict(m=3, s=2, L=2, size=50)
    plain = density_evolution(leaves, **how, generator=rng())
    same = density_evolution(leaves, **how, weights=[1 / 3] * 3, generator=rng())
    other = density_evolution(leaves, **how, weights=[[0.5, 0.25, 0.25], hl.zipf(3, 2.0)], generator=rng())
    assert all(torch.equal(a, b) for a, b in zip(plain, same, strict=True))
    assert not torch.allclose(plain.up, other.up) and other.marginal.isfinite().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pool_of_beliefs(0.5, None, v=4, s=2, L=2, generator=rng()), "weights: expected numbers"),
        (lambda: pool_of_beliefs(0.5, [0.5, 0.6], v=4, s=2, L=2, generator=rng()), "sum to one within"),
        (lambda: pool_of_beliefs(0.5, [0.2] * 5, v=4, s=2, L=2, generator=rng()), "expected m ≤"),
        (lambda: pool_of_beliefs(0.5, [[0.5, 0.5]] * 3, v=4, s=2, L=2, generator=rng()), "L = 2, got 3"),
        (lambda: pool_of_beliefs(1.5, [0.5, 0.5], v=4, s=2, L=2, generator=rng()), r"eps in \[0, 1\]"),
        (lambda: pool_of_beliefs(0.5, [0.5, 0.5], v=4, s=2, L=0, generator=rng()), "L: expected at least 1"),
        (lambda: meanfield.effective_rules([0.5, 0.4]), "weights: expected .* sum to one, got"),
        (lambda: meanfield.gain_at_chance([1.5, -0.5], 4, 2), "weights: expected .* sum to one, got"),
        (lambda: meanfield.gain_at_certainty([[1.0]], 4, 2), "weights: expected"),
        (
            lambda: density_evolution(
                leaf_sampler(hl.EpsilonNoise(v=4), 0.5), m=3, s=2, L=2, weights=[0.5, 0.5], generator=rng()
            ),
            r"weights: expected \(3,\), got \(2,\)",
        ),
    ],
)
def test_what_is_no_weights_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_true_rule_is_used_as_often_as_its_weight():
    w = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    table = population._planted_weights(20_000, 2, w, rng()).reshape(2, 3, -1)
    assert torch.allclose(table.sum(1), torch.ones(2, 20_000, dtype=torch.float64))
    assert (table[1] == w[:, None]).all()
    share = torch.stack([(table[0, 0] == x).double().mean() for x in w])
    assert float((share - w).abs().max()) < 4 * math.sqrt(0.25 / 20_000)
