"""Chains of U-turns: drawn ones against the exact matrix, their autocorrelations, relaxation times and bounds."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

import hierlib as hl
from hierlib.enumeration import all_data
from hierlib.experiments import transitions
from hierlib.experiments.chains import autocorrelation, chain, least_times, relaxation_times, walk
from hierlib.experiments.uturns import level_curves
from hierlib.grammar import encode
from hierlib.probability import prior_marginals


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(v=3, m=2, s=2, L=2, seed=0):
    return hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng(seed))


def numbers(g, leaves):
    """The places of strings among `all_data`."""
    place = {code: i for i, code in enumerate(encode(all_data(g)[0], g.v).tolist())}
    return np.array([place[code] for code in encode(leaves, g.v).flatten().tolist()])


@pytest.mark.parametrize("noise", [hl.MaskNoise(v=3), hl.UniformNoise(v=3), hl.EpsilonNoise(v=3)], ids=str)
def test_drawn_chains_follow_the_exact_matrix(noise):
    """From one string the states after one and after three U-turns, by χ²."""
    g, n = drawn(), 20_000
    exact = transitions.kernel(g, noise, 0.35)
    start = exact.x[0][5]
    y = chain(g, start.repeat(n, 1), noise, 0.35, 3, generator=rng(1))
    assert [tuple(level.shape) for level in y] == [(4, n, 4), (4, n, 2), (4, n, 1)]
    assert (y[0][0] == start).all()
    for step in (1, 3):
        expected = n * torch.linalg.matrix_power(exact.matrix, step)[5].numpy()
        counts = np.bincount(numbers(g, y[0][step]), minlength=24)
        rare = expected < 5
        assert counts[expected < 1e-9].sum() == 0
        kept = [*zip(counts[~rare], expected[~rare], strict=True), (counts[rare].sum(), expected[rare].sum())]
        kept = np.array([pair for pair in kept if pair[1] > 0])
        assert stats.chisquare(*kept.T).pvalue > 1e-3
    for state in range(4):
        assert all((a[state] == b).all() for a, b in zip(y, hl.parse(g, y[0][state]), strict=True))


def test_a_chain_is_u_turns_in_a_row_and_each_may_have_its_own_noise_level():
    g = drawn(v=8, m=3, L=3)
    x = hl.sample(g, 6, generator=rng(1))[0]
    noise, t = hl.MaskNoise(v=8), torch.tensor([0.0, 0.0, 0.5, 0.5, 1.0, 1.0], dtype=torch.float64)
    y = chain(g, x, noise, t, 4, generator=rng(2))
    assert (y[0][:, :2] == x[:2]).all() and (y[0][1:, 2:] != x[2:]).any()
    state, again = rng(2), x
    for step in range(1, 5):
        seen = noise.evidence(noise.corrupt(again, t, generator=state))
        again = hl.posterior_sample(g, seen, generator=state)[0][:, 0]
        assert (again == y[0][step]).all()
    steps = walk(g, x, noise, t, 4, generator=rng(2))
    for number, levels in enumerate(steps):
        assert all((a == b[number]).all() for a, b in zip(levels, y, strict=True))
    assert len(chain(g, x, noise, 0.3, 0, generator=rng())[0]) == 1


class Shy:
    """One's own noise: the left half of a string is never seen, the right half always."""

    v = 8

    def corrupt(self, x0, t, *, generator):
        return x0

    def evidence(self, x_t, t):
        seen = torch.nn.functional.one_hot(x_t, 8).double()
        seen[:, : x_t.shape[1] // 2] = 1 / 8
        return seen


def test_any_noise_will_do():
    g = drawn(v=8, m=3, L=3)
    x = hl.sample(g, 40, generator=rng(1))[0]
    y = chain(g, x, Shy(), 1.0, 5, generator=rng(2))
    assert (y[0][..., 4:] == x[:, 4:]).all() and (y[0][1:, :, :4] != x[:, :4]).any()
    y = chain(g, x, hl.GaussianNoise(v=8), 0.4, 5, generator=rng(2))
    assert hl.parse(g, y[0].flatten(0, 1))[3].numel() == 240


def test_autocorrelations_are_over_all_pairs_of_a_chain():
    g = drawn(v=4, L=2)
    y = chain(g, hl.sample(g, 3, generator=rng(1))[0], hl.MaskNoise(v=4), 0.5, 6, generator=rng(2))
    found = autocorrelation(g, y, lags=4)
    assert found.shape == (5, 3, 3) and found.dtype == torch.float64
    for k, one, level in itertools.product(range(5), range(3), range(3)):
        pairs = [(y[level][i, one], y[level][i + k, one]) for i in range(7 - k)]
        same = np.mean([(a == b).double().mean() for a, b in pairs])
        chance = float(prior_marginals(g)[level].square().sum(1).mean())
        assert float(found[k, one, level]) == pytest.approx((same - chance) / (1 - chance), abs=1e-12)
    assert autocorrelation(g, y).shape == (7, 3, 3)


def test_drawn_autocorrelations_are_the_exact_ones():
    g, noise = drawn(v=4, m=2, L=2, seed=4), hl.MaskNoise(v=4)
    y = chain(g, hl.sample(g, 600, generator=rng(1))[0], noise, 0.3, 40, generator=rng(2))
    found = autocorrelation(g, y, lags=12)
    exact = transitions.correlations(transitions.kernel(g, noise, 0.3), 12)
    error = found.std(1) / 600**0.5
    assert ((found.mean(1) - exact).abs() < 4.5 * error + 1e-12).all()


def test_the_first_step_is_the_level_curve_of_larger_grammars():
    size, t = dict(v=16, m=4, s=2, L=5), 0.25
    curves = level_curves(hl.MaskNoise(v=16), t, **size, draws=1, data=4000, generator=rng(5))
    g = hl.random_grammar(**size, generator=rng(5))
    y = chain(g, hl.sample(g, 4000, generator=rng(6))[0], hl.MaskNoise(v=16), t, 1, generator=rng(7))
    found = autocorrelation(g, y)[1]
    chance = curves.chance[0]
    expected = (curves.truth[0, 0] - chance) / (1 - chance)
    assert ((found.mean(0) - expected).abs() < 5 * found.std(0) / 4000**0.5).all()


def test_a_level_with_one_symbol_is_never_lost():
    g = hl.random_grammar(v=3, m=2, s=2, L=1, num_classes=1, generator=rng())
    y = chain(g, hl.sample(g, 5, generator=rng())[0], hl.MaskNoise(v=3), 1.0, 4, generator=rng())
    assert (autocorrelation(g, y)[..., 1] == 1).all()
    exact = transitions.correlations(transitions.kernel(g, hl.MaskNoise(v=3), 1.0), 2)
    assert exact[:, 1].tolist() == [1, 1, 1] and relaxation_times(exact)[1] == torch.inf


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_one_decay_relaxes_in_minus_one_over_its_logarithm(rate):
    c = rate ** torch.arange(1200, dtype=torch.float64)
    assert float(relaxation_times(c)) == pytest.approx(-1 / np.log(rate), rel=1e-9)
    assert float(least_times(c[1])) == pytest.approx(-1 / np.log(rate), rel=1e-9)


def test_relaxation_times_are_where_it_first_falls():
    c = torch.tensor([[1.0, 1, 1, 1], [0.5, -0.1, 0.9, 0.9], [0.2, 0.5, 0.8, 0.1], [0.6, 0.1, 0.7, 0.9]])
    found = relaxation_times(c)
    start, end = np.log(0.5), np.log(0.2)
    assert float(found[0]) == pytest.approx(1 + (start + 1) / (start - end), rel=1e-5)
    assert 0 <= float(found[1]) < 0.01 and found[2] == torch.inf and 1 < float(found[3]) < 2
    assert relaxation_times(torch.ones(1, 2)).tolist() == [torch.inf, torch.inf]


def test_bounds_hold_for_every_level_of_the_exact_chain():
    for seed in range(4):
        c = transitions.correlations(transitions.kernel(drawn(v=4, seed=seed), hl.MaskNoise(v=4), 0.2), 300)
        assert (relaxation_times(c) >= least_times(c[1]) - 1e-9).all()
    assert least_times(torch.tensor([1.0, -0.2, 0.0])).tolist() == [torch.inf, 0, 0]


G, X = drawn(), hl.sample(drawn(), 2, generator=rng(1))[0]
Y = chain(G, X, hl.MaskNoise(v=3), 0.3, 4, generator=rng(2))
MASK = hl.MaskNoise(v=3)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: chain(G, X, MASK, 0.3, -1, generator=rng()), "steps: expected at least 0, got -1"),
        (lambda: chain(G, X, MASK, 0.3, 2.0, generator=rng()), "steps: expected a whole number"),
        (
            lambda: chain(G, X, MASK, [0.1, 0.2, 0.3], 1, generator=rng()),
            r"t: expected a number or one a chain, \(2,\)",
        ),
        (lambda: chain(G, X, MASK, 1.5, 1, generator=rng()), r"expected in \[0, 1\], got 1.5"),
        (lambda: chain(G, X, MASK, "much", 1, generator=rng()), "t: expected a number"),
        (lambda: chain(G, X[:0], MASK, 0.3, 1, generator=rng()), "leaves: expected at least one datum"),
        (lambda: chain(G, X[:, :3], MASK, 0.3, 1, generator=rng()), r"leaves: expected shape \(n, 4\)"),
        (lambda: chain(G, X * 0 + 7, MASK, 0.3, 1, generator=rng()), "leaves: expected symbols in 0…2"),
        (lambda: chain(G, X, hl.MaskNoise(v=4), 0.3, 1, generator=rng()), "noise: expected one of the 3 symbols"),
        (lambda: chain(G, X, "mask", 0.3, 1, generator=rng()), "noise: expected a noise process"),
        (lambda: chain(G, X, MASK, 0.3, 1, generator=0), "generator: expected a torch.Generator"),
        (lambda: walk(G, X, MASK, 0.3, -1, generator=rng()), "steps"),  # before the first state
        (lambda: autocorrelation(G, Y[:2]), "y: expected 3 levels, leaves first, got 2"),
        (lambda: autocorrelation(G, [level[0] for level in Y]), r"y\[0\]: expected shape"),
        (lambda: autocorrelation(G, Y, lags=5), "lags: expected at most the 4 steps of the chains, got 5"),
        (lambda: autocorrelation(G, Y, lags=-1), "lags: expected at least 0"),
        (lambda: relaxation_times(torch.tensor([0.9, 0.5])), r"begin with C\(0\) = 1"),
        (lambda: relaxation_times(torch.tensor([1.0, float("nan")])), "expected finite numbers"),
        (lambda: relaxation_times(torch.tensor(1.0)), "expected finite numbers"),
        (lambda: least_times(torch.tensor([1.1])), "at most 1"),
        (lambda: least_times(torch.tensor([float("nan")])), "at most 1"),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
