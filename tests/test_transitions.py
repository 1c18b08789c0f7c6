"""The exact chain of U-turns: against sums over all that can be seen, its symmetry, its spectrum, its level curves."""

import itertools

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.enumeration import all_data, derivation_weights
from hierlib.experiments import transitions
from hierlib.experiments.fragments import fragments
from hierlib.experiments.uturns import level_curves
from hierlib.probability import prior_marginals

F64 = torch.float64
NOISES = {"mask": hl.MaskNoise, "uniform": hl.UniformNoise, "epsilon": hl.EpsilonNoise}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(v=3, m=2, s=2, L=2, num_classes=None, seed=0):
    return hl.random_grammar(v=v, m=m, s=s, L=L, num_classes=num_classes, generator=rng(seed))


def by_hand(g, kind, t):
    """Σ_z q(z|x) p(y|z): q letter by letter, p(y|z) by the evidence of the noise and all derivations."""
    x, v = all_data(g)[0], g.v
    if kind == "epsilon":
        seen, channel = x, None
    else:
        letters = v + 1 if kind == "mask" else v
        seen = torch.tensor(list(itertools.product(range(letters), repeat=g.d)))
        channel = torch.zeros(v, letters, dtype=F64)
        for a in range(v):
            if kind == "mask":
                channel[a, a], channel[a, v] = 1 - t, t
            else:
                channel[a] = t / v
                channel[a, a] += 1 - t
    there = torch.eye(len(x), dtype=F64) if channel is None else channel[x[:, None], seen].prod(2)
    back = derivation_weights(g, NOISES[kind](v=v, dtype=F64).evidence(seen, t))
    total = back.sum(1, keepdim=True)
    return there @ torch.where(total > 0, back / total, 0)


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("t", [0.0, 0.15, 0.6, 1.0])
@pytest.mark.parametrize("size", [{}, {"m": 1, "v": 2}, {"num_classes": 1}, {"s": 4, "L": 1, "m": 4, "num_classes": 2}])
def test_it_is_the_sum_over_all_that_can_be_seen(kind, t, size):
    g = drawn(**size)
    found = transitions.kernel(g, NOISES[kind](v=g.v), t)
    torch.testing.assert_close(found.matrix, by_hand(g, kind, t), rtol=0, atol=1e-13)
    assert all((a == b).all() for a, b in zip(found.x, all_data(g), strict=True))


@pytest.mark.parametrize("kind", [*NOISES, "erasure", "drawn"])
@pytest.mark.parametrize("size", [{}, {"v": 4, "L": 3, "num_classes": 2}])
def test_it_is_a_reversible_and_positive_chain(kind, size):
    g = drawn(**size)
    if kind == "erasure":
        chain = transitions.erasure_kernel(g, 2)
    elif kind == "drawn":
        chain = transitions.sampled_kernel(g, hl.GaussianNoise(v=g.v), 0.3, 2, generator=rng())
    else:
        chain = transitions.kernel(g, NOISES[kind](v=g.v), 0.3)
    flow = chain.law[:, None] * chain.matrix
    assert (chain.matrix >= 0).all() and (chain.matrix.sum(1) - 1).abs().max() < 1e-13
    assert (flow - flow.T).abs().max() < 1e-15  # detailed balance
    assert (chain.law @ chain.matrix - chain.law).abs().max() < 1e-14
    uniform = (chain.law * len(chain.law) - 1).abs().max()
    assert (uniform < 1e-12) == (kind not in ("epsilon", "drawn"))
    found = transitions.spectrum(chain)
    assert found.values[0] == pytest.approx(1, abs=1e-12) and found.values.min() > -1e-12
    assert (found.values.diff() <= 1e-14).all()
    f = found.functions
    torch.testing.assert_close(f.T @ (chain.law[:, None] * f), torch.eye(len(f), dtype=F64), rtol=0, atol=1e-9)
    torch.testing.assert_close(chain.matrix @ f, f * found.values, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["mask", "uniform"])
@pytest.mark.parametrize("t", [0.1, 0.5])
def test_correlations_are_sums_of_decays_and_begin_with_level_curves(kind, t):
    g = drawn(v=3, m=2, L=2, seed=4)
    chain = transitions.kernel(g, NOISES[kind](v=3), t)
    c, k = transitions.correlations(chain, 8), torch.arange(9, dtype=F64)[:, None]
    torch.testing.assert_close(c[0], torch.ones(3, dtype=F64))
    assert (c.diff(dim=0) <= 1e-13).all() and (c.diff(n=2, dim=0) >= -1e-13).all()  # it falls and is convex
    assert (c >= c[1] ** k - 1e-13).all() and (c <= transitions.spectrum(chain).values[1] ** k + 1e-12).all()
    truth = curve_by_hand(g, kind, t)
    chance = torch.stack([p.square().sum(1).mean() for p in prior_marginals(g)])
    torch.testing.assert_close(c[1], (truth - chance) / (1 - chance), rtol=0, atol=1e-12)


def curve_by_hand(g, kind, t):
    """The level curve of one U-turn, by belief propagation on all that can be seen."""
    x, noise = all_data(g), NOISES[kind](v=g.v, dtype=F64)
    seen = torch.tensor(list(itertools.product(range(g.v + (kind == "mask")), repeat=g.d)))
    total = torch.zeros(g.L + 1, dtype=F64)
    for n in range(len(x[0])):
        if kind == "uniform":  # its channel and its evidence are the same table
            there = noise.evidence(x[0][n : n + 1], t)[0][torch.arange(g.d), seen].prod(1)
        else:
            there = ((seen == x[0][n]).double() * (1 - t) + (seen == g.v).double() * t).prod(1)
        could = there > 0
        level = hl.infer(g, noise.evidence(seen[could], t), messages=False).marginals
        for l, belief in enumerate(level):
            kept = belief.gather(2, x[l][n].expand(len(belief), -1)[..., None]).mean((1, 2))
            total[l] += (there[could] * kept).sum() / len(x[0])
    return total


@pytest.mark.parametrize("noise", [hl.MaskNoise(v=4), hl.GaussianNoise(v=4)], ids=str)
def test_level_curves_of_drawn_data_are_the_first_step(noise):
    """The same grammar twice; Gaussian noise by draws."""
    size = dict(v=4, m=2, s=2, L=2)
    g, t = drawn(**size, seed=5), 0.25
    curves = level_curves(noise, t, **size, draws=1, data=20_000, generator=rng(5))
    chance = curves.chance[0].numpy()
    if isinstance(noise, hl.MaskNoise):
        chain = transitions.kernel(g, noise, t)
    else:
        chain = transitions.sampled_kernel(g, noise, t, 1000, generator=rng(6))
    found = transitions.correlations(chain, 1)[1].numpy()
    np.testing.assert_allclose((curves.truth[0, 0].numpy() - chance) / (1 - chance), found, atol=0.012)


def test_the_best_function_of_one_symbol_is_between_its_own_and_the_slowest_mode():
    g = drawn(v=4, m=2, L=2, seed=4)
    chain = transitions.kernel(g, hl.MaskNoise(v=4), 0.1)
    best, slowest = transitions.best_of_one_symbol(chain), transitions.spectrum(chain).values[1]
    for symbols, found in zip(chain.x, best, strict=True):
        assert (found <= slowest + 1e-12).all()
        for i in range(symbols.shape[1]):
            trials = torch.randn(200, 4, dtype=F64, generator=rng())[:, symbols[:, i]]
            trials = trials - trials.mean(1, keepdim=True)
            decay = (trials * (trials @ chain.matrix.T)).sum(1) / trials.square().sum(1)
            assert found[i] + 1e-12 >= decay.max() > found[i] - 0.1
    only = transitions.best_of_one_symbol(transitions.kernel(drawn(num_classes=1), hl.MaskNoise(v=3), 0.5))
    assert only[2].tolist() == [0]


def test_unit_modes_of_the_smallest_turn_are_functions_of_the_fragment():
    g = drawn(v=4, m=2, L=3, seed=2)
    chain, pieces = transitions.erasure_kernel(g, 1), fragments(g)
    found = transitions.spectrum(chain)
    count = int(pieces.max()) + 1
    assert count > 1 and int((found.values > 1 - 1e-9).sum()) == count
    within = found.functions[:, :count]
    told = [
        transitions.explained(within @ torch.randn(count, dtype=F64, generator=rng(i)), pieces, chain.law)
        for i in range(4)
    ]
    assert told == pytest.approx([1] * 4)
    assert transitions.explained(found.functions[:, count], pieces, chain.law) == pytest.approx(0, abs=1e-9)


def test_erasures_make_up_masks():
    g, t = drawn(), 0.3
    weights = [(1, 0.7**4), (4, 0.3 * 0.7**3), (6, 0.09 * 0.49), (4, 0.027 * 0.7), (1, 0.0081)]
    total = sum(w * n * transitions.erasure_kernel(g, k).matrix for k, (n, w) in enumerate(weights))
    torch.testing.assert_close(total, transitions.kernel(g, hl.MaskNoise(v=3), t).matrix, rtol=0, atol=1e-13)


@pytest.mark.parametrize("t", [0.01, 0.15, 0.5, 3.0])
def test_gaussian_noise_is_integrated(t):
    """Two strings of two leaves: one number is seen of each leaf, and a fine sum is all that is needed."""
    g = hl.Grammar(v=2, m=1, s=2, L=1, num_classes=2, rules=(torch.tensor([[[0, 0]], [[0, 1]]]),))
    found = transitions.kernel(g, hl.GaussianNoise(v=2), t)
    alpha = np.exp(-2 * t)
    u = np.linspace(-12, 12, 200_001)  # of the second leaf, across (1, 1): means ±√(ᾱ/2), variance 1-ᾱ
    density = [np.exp(-((u - mean) ** 2) / (2 * (1 - alpha))) for mean in (np.sqrt(alpha / 2), -np.sqrt(alpha / 2))]
    both = np.maximum(density[0] + density[1], 1e-300)
    stays = (density[0] ** 2 / both).sum() / density[0].sum()
    np.testing.assert_allclose(found.matrix, [[stays, 1 - stays], [1 - stays, stays]], atol=1e-7)
    np.testing.assert_allclose(found.law, [0.5, 0.5], atol=1e-8)


@pytest.mark.parametrize("noise, t", [(hl.GaussianNoise(v=2), 0.3), (hl.UniformNoise(v=2), 0.3)], ids=str)
def test_drawing_what_is_seen_gives_the_same(noise, t):
    g = drawn(v=2, m=2, L=2)
    found = transitions.sampled_kernel(g, noise, t, 3000, generator=rng())
    exact = transitions.kernel(g, noise, t)
    assert (found.matrix - exact.matrix).abs().max() < 0.02
    values, expected = transitions.spectrum(found).values, transitions.spectrum(exact).values
    torch.testing.assert_close(values, expected, rtol=0, atol=0.01)


class Liar:
    """Its evidence is certain of another symbol than the one that it has seen."""

    v = 3

    def corrupt(self, x0, t, *, generator):
        return x0

    def evidence(self, x_t, t):
        return torch.nn.functional.one_hot((x_t + 1) % 3, 3).double()


G3, BIG = drawn(), dict(v=8, m=4, s=2, L=3)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: transitions.kernel(drawn(**BIG), hl.MaskNoise(v=8), 0.1), "at most 4096 strings, got 1.311e[+]05"),
        (lambda: transitions.kernel(drawn(v=9, m=2, s=3), hl.UniformNoise(v=9), 0.1), "multiplications"),
        (lambda: transitions.kernel(drawn(v=2, m=1, s=24, L=1), hl.MaskNoise(v=2), 0.1), "multiplications"),
        (lambda: transitions.kernel(G3, hl.MaskNoise(v=4), 0.1), "noise: expected one of the 3 symbols"),
        (lambda: transitions.kernel(G3, hl.MaskNoise(v=3), 1.1), r"t: expected in \[0, 1\], got 1.1"),
        (lambda: transitions.kernel(G3, hl.MaskNoise(v=3), float("nan")), r"t: expected in \[0, 1\], got nan"),
        (lambda: transitions.kernel(G3, hl.MaskNoise(v=3), [0.1, 0.2]), "t: expected one noise level"),
        (lambda: transitions.kernel(G3, Liar(), 0.1), "use sampled_kernel"),
        (lambda: transitions.kernel(G3, hl.GaussianNoise(v=3), 0.1), "use sampled_kernel"),
        (lambda: transitions.kernel(drawn(v=2), hl.GaussianNoise(v=2), 0.0), "got ᾱ_t = 1"),
        (lambda: transitions.kernel(drawn(v=2), hl.GaussianNoise(v=2), 0.01), "or more noise"),
        (lambda: transitions.kernel(drawn(v=2), hl.GaussianNoise(v=2), -1), "t: expected a finite time"),
        (lambda: transitions.erasure_kernel(G3, 5), "erased: expected at most the 4 leaves, got 5"),
        (lambda: transitions.erasure_kernel(G3, -1), "erased: expected at least 0"),
        (
            lambda: transitions.sampled_kernel(G3, hl.MaskNoise(v=3), 0.1, 0, generator=rng()),
            "draws: expected at least 1",
        ),
        (
            lambda: transitions.sampled_kernel(G3, hl.MaskNoise(v=3), 0.1, 10**8, generator=rng()),
            "draws: expected at most",
        ),
        (lambda: transitions.sampled_kernel(G3, hl.EpsilonNoise(v=3), 0.1, 1, generator=rng()), "expected a channel"),
        (lambda: transitions.sampled_kernel(G3, Liar(), 0.1, 1, generator=rng()), "leaves the truth possible"),
        (lambda: transitions.sampled_kernel(G3, hl.MaskNoise(v=3), 0.1, 1, generator=None), "generator"),
        (lambda: transitions.correlations(transitions.erasure_kernel(G3, 1), -1), "lags: expected at least 0"),
        (lambda: transitions.explained(torch.ones(4), torch.zeros(4).long(), torch.ones(4) / 4), "got a constant"),
        (lambda: transitions.explained(torch.ones(4), torch.zeros(3).long(), torch.ones(4) / 4), "expected one shape"),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda c: c._replace(matrix=c.matrix * 0.9), "rows that sum to one"),
        (lambda c: c._replace(matrix=c.matrix.roll(1, 1)), "one with a current"),
        (lambda c: c._replace(matrix=2 * torch.eye(24, dtype=F64) - c.matrix), "expected probabilities"),
        (lambda c: c._replace(law=c.law * 2), "a law above 0 that sums to one"),
        (lambda c: c._replace(law=c.law[1:]), "as many as its law has"),
    ],
)
def test_what_is_no_reversible_chain_has_no_spectrum(change, said):
    chain = change(transitions.kernel(G3, hl.MaskNoise(v=3), 0.3))
    for asked in (transitions.spectrum, transitions.best_of_one_symbol, lambda c: transitions.correlations(c, 2)):
        with pytest.raises(ValueError, match=said):
            asked(chain)
