"""Belief propagation against the enumeration of every derivation, and what must hold whatever the grammar."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import hierlib as hl
from hierlib.enumeration import all_data, brute_force, derivation_weights
from tests.grammars import grammars

DOUBLE = dict(rtol=0, atol=1e-10)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def random_evidence(g, batch, seed, zeros=False):
    e = torch.rand(batch, g.d, g.v, dtype=torch.float64, generator=rng(seed)) ** 3
    if zeros:  # rule symbols out, but never the symbols of one datum of the grammar
        x = hl.sample(g, batch, generator=rng(seed))[0]
        keep = torch.rand(e.shape, generator=rng(seed + 1)) < 0.4
        e = e * keep.scatter(2, x[..., None], True)
    scale = 10 ** (8 * torch.rand(batch, g.d, 1, dtype=torch.float64, generator=rng(seed + 2)) - 4)
    return e * scale


@given(grammars(), st.integers(1, 3), st.integers(0, 2**31 - 3), st.booleans())
@settings(max_examples=400, deadline=None)
def test_exact_against_enumeration(g, batch, seed, zeros):
    e = random_evidence(g, batch, seed, zeros)
    b = hl.infer(g, e)
    marginals, log_evidence = brute_force(g, e)
    torch.testing.assert_close(b.log_evidence, log_evidence, rtol=1e-10, atol=1e-10)
    for level, (mine, exact) in enumerate(zip(b.marginals, marginals, strict=True)):
        assert mine.shape == (batch, g.s ** (g.L - level), g.num_symbols(level))
        torch.testing.assert_close(mine, exact, **DOUBLE)
    assert torch.equal(b.up[0], e)
    for up, down, marginal in list(zip(b.up, b.down, b.marginals, strict=True))[1:]:
        torch.testing.assert_close(up.sum(-1), torch.ones(up.shape[:2], dtype=up.dtype), **DOUBLE)
        torch.testing.assert_close(down.sum(-1), torch.ones(up.shape[:2], dtype=up.dtype), **DOUBLE)
        product = up * down
        torch.testing.assert_close(product / product.sum(-1, keepdim=True), marginal, **DOUBLE)
    only = hl.infer(g, e, messages=False)
    assert only.up is None and only.down is None and b.kinds == (b.up, b.down, b.marginals)
    with pytest.raises(ValueError, match="expected beliefs with their messages"):
        _ = only.kinds
    assert all(torch.equal(a, b) for a, b in zip(only.marginals, b.marginals, strict=True))


@given(grammars(), st.integers(0, 2**31 - 3))
@settings(max_examples=150, deadline=None)
def test_exact_with_a_class_prior(g, seed):
    e = random_evidence(g, 2, seed)
    prior = torch.rand(g.num_classes, dtype=torch.float64, generator=rng(seed)) + 0.01
    b = hl.infer(g, e, class_prior=3 * prior)
    marginals, log_evidence = brute_force(g, e, class_prior=prior)
    torch.testing.assert_close(b.log_evidence, log_evidence, rtol=1e-10, atol=1e-10)
    for mine, exact in zip(b.marginals, marginals, strict=True):
        torch.testing.assert_close(mine, exact, **DOUBLE)


@given(grammars(max_data=500), st.integers(0, 2**31 - 3))
@settings(max_examples=100, deadline=None)
def test_leaf_marginals_are_the_gradient_of_log_evidence(g, seed):
    e = random_evidence(g, 2, seed).requires_grad_()
    (gradient,) = torch.autograd.grad(hl.infer(g, e, messages=False).log_evidence.sum(), e)
    torch.testing.assert_close(gradient * e, hl.infer(g, e.detach()).marginals[0], **DOUBLE)


def test_variance_is_the_second_derivative_of_log_evidence():
    """Var(Σ kept) = ∂²_h log Z with leaf beliefs times e^{h·kept}: what the susceptibility is computed by."""
    g = hl.random_grammar(v=3, m=2, s=2, L=2, generator=rng())
    x0 = hl.sample(g, 1, generator=rng())[0]
    e = hl.epsilon_evidence(x0, eps=0.6, v=3, dtype=torch.float64)
    kept = torch.nn.functional.one_hot(x0, 3).double()
    h = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(hl.infer(g, e * (h * kept).exp()).log_evidence.sum(), h, create_graph=True)
    (second,) = torch.autograd.grad(first, h)
    x, weight = all_data(g), derivation_weights(g, e)
    weight = weight / weight.sum(1, keepdim=True)
    total = (x[0] == x0).sum(1).double()
    mean = (weight[0] * total).sum()
    torch.testing.assert_close(first.detach(), mean, **DOUBLE)
    torch.testing.assert_close(second, (weight[0] * (total - mean) ** 2).sum(), **DOUBLE)


@given(grammars(max_data=40), st.integers(0, 2**31 - 3))
@settings(max_examples=60, deadline=None)
def test_posterior_samples_follow_the_posterior(g, seed):
    n, e = 4000, random_evidence(g, 1, seed)
    y = hl.posterior_sample(g, e, num_samples=n, generator=rng(seed))
    assert [tuple(level.shape) for level in y] == [(1, n, g.s ** (g.L - l)) for l in range(g.L + 1)]
    for a, b in zip(hl.parse(g, y[0][0]), y, strict=True):  # the latent symbols drawn are the parse of the leaves
        assert torch.equal(a, b[0])
    x, weight = all_data(g), derivation_weights(g, e)
    weight = weight / weight.sum(1, keepdim=True)
    counts = (y[0][0][:, None] == x[0][None]).all(-1).sum(0).double()
    order = weight[0].argsort(descending=True)
    counts, expected = counts[order], weight[0][order] * n
    assert counts[expected < 1e-9].sum() == 0
    bins = max(1, int((expected > 5).sum()))  # the rare ones are counted with the last that is not
    observed, expected = (torch.cat([x[: bins - 1], x[bins - 1 :].sum()[None]]) for x in (counts, expected))
    if bins > 1:
        assert stats.chisquare(observed.numpy(), expected.numpy()).pvalue > 1e-6


def test_flat_evidence_counts_strings():
    """With evidence one everywhere log Z is 0, and the leaf marginals are how often the grammar writes a symbol."""
    g = hl.random_grammar(v=4, m=2, s=2, L=3, num_classes=6, generator=rng())
    b = hl.infer(g, torch.ones(1, g.d, g.v, dtype=torch.float64))
    torch.testing.assert_close(b.log_evidence, torch.zeros(1, dtype=torch.float64), **DOUBLE)
    torch.testing.assert_close(b.marginals[-1], torch.full((1, 1, 6), 1 / 6, dtype=torch.float64), **DOUBLE)


def test_renaming_symbols_renames_beliefs():
    g = hl.random_grammar(v=5, m=2, s=2, L=2, generator=rng())
    rename = torch.randperm(5, generator=rng(3))
    rules = [g.rules[0], g.rules[1]]
    rules[0] = rename[rules[0]]  # other names for the leaves
    other = hl.Grammar(g.v, g.m, g.s, g.L, g.num_classes, tuple(rules))
    e = random_evidence(g, 2, 0)
    renamed = torch.empty_like(e)
    renamed[..., rename] = e
    a, b = hl.infer(g, e), hl.infer(other, renamed)
    torch.testing.assert_close(b.marginals[0][..., rename], a.marginals[0], **DOUBLE)
    for level in (1, 2):
        torch.testing.assert_close(b.marginals[level], a.marginals[level], **DOUBLE)


def test_no_noise_and_pure_noise():
    g = hl.random_grammar(v=32, m=8, s=2, L=5, generator=rng())
    x = hl.sample(g, 3, generator=rng())
    known = hl.infer(g, hl.epsilon_evidence(x[0], eps=0.0, v=32, dtype=torch.float64))
    torch.testing.assert_close(hl.overlap(known, x), torch.ones(6, dtype=torch.float64), **DOUBLE)
    blank = hl.infer(g, hl.epsilon_evidence(x[0], eps=1.0, v=32, dtype=torch.float64))
    torch.testing.assert_close(
        blank.marginals[-1], torch.full((3, 1, 32), 1 / 32, dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_single_and_double_precision_agree_and_layout_does_not_matter():
    g = hl.random_grammar(v=32, m=8, s=2, L=7, generator=rng())
    x = hl.sample(g, 5, generator=rng())
    noise = hl.GaussianNoise(v=32, dtype=torch.float64)
    e = noise.evidence(noise.corrupt(x[0], 0.08, generator=rng()), 0.08)
    double = hl.infer(g, e)
    for single in (
        e.float(),
        e.float().contiguous(),
        e.float().permute(2, 1, 0).contiguous().permute(2, 1, 0),
    ):
        b = hl.infer(g, single)
        for mine, exact in zip(b.marginals, double.marginals, strict=True):
            torch.testing.assert_close(mine.double(), exact, rtol=0, atol=2e-6)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_the_scale_of_evidence_only_moves_log_evidence(scale):
    g = hl.random_grammar(v=4, m=2, s=3, L=2, generator=rng())
    e = random_evidence(g, 2, 1)
    a, b = hl.infer(g, e), hl.infer(g, e * scale)
    torch.testing.assert_close(b.marginals[1], a.marginals[1], **DOUBLE)
    shift = torch.full((2,), g.d * torch.tensor(scale, dtype=torch.float64).log().item(), dtype=torch.float64)
    torch.testing.assert_close(b.log_evidence - a.log_evidence, shift, rtol=1e-10, atol=0)


def impossible(g, batch, bad):
    """Evidence whose datum `bad` no rule of level 0 can produce."""
    x = hl.sample(g, batch, generator=rng())[0].clone()
    allowed = {tuple(t) for t in g.rules[0].reshape(-1, g.s).tolist()}
    x[bad, :2] = torch.tensor(next((a, b) for a in range(g.v) for b in range(g.v) if (a, b) not in allowed))
    return torch.nn.functional.one_hot(x, g.v).float()


@pytest.mark.parametrize("run", [hl.infer, lambda g, e: hl.posterior_sample(g, e, generator=rng())])
def test_impossible_evidence_names_the_datum(run):
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng())
    e = impossible(g, 4, bad=2)
    with pytest.raises(ValueError, match=r"datum 2 is impossible"):
        run(g, e)
    e[1, 3] = 0
    with pytest.raises(ValueError, match=r"datum 1 \(and 1 more\) is impossible"):
        run(g, e)


def test_a_class_prior_that_excludes_the_datum_is_impossible():
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    x = hl.sample(g, 1, generator=rng(), classes=[1])
    prior = torch.tensor([1.0, 0, 0, 0])
    with pytest.raises(ValueError, match="datum 0 is impossible"):
        hl.infer(g, hl.epsilon_evidence(x[0], eps=0.0, v=4), class_prior=prior)


def test_bad_evidence_is_refused():
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    good = torch.ones(3, 4, 4)
    for bad, message in [
        (good[:, :3], r"expected shape \(batch ≥ 1, 4, 4\)"),
        (good[:0], "batch ≥ 1"),
        (good.long(), "expected one of the floating types float16"),
        ([[1.0]], "expected a floating-point tensor"),
    ]:
        with pytest.raises(ValueError, match=message):
            hl.infer(g, bad)
    for value in (-1e-9, float("nan"), float("inf")):
        bad = good.clone()
        bad[1, 2, 3] = value
        with pytest.raises(ValueError, match="finite non-negative numbers; datum 1 "):
            hl.infer(g, bad)
    for prior in (
        torch.ones(3),
        torch.zeros(4),
        torch.tensor([1, 1, -1.0, 1]),
        torch.full((4,), torch.nan),
        "flat",
        [None] * 4,
    ):
        with pytest.raises(ValueError, match="class_prior"):
            hl.infer(g, good, class_prior=prior)
    with pytest.raises(ValueError, match="backend"):
        hl.infer(g, good, backend="abacus")
    with pytest.raises(ValueError, match="num_samples"):
        hl.posterior_sample(g, good, num_samples=0, generator=rng())


def test_overlap_is_the_mean_marginal_of_the_truth_and_checks_shapes():
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    x = hl.sample(g, 3, generator=rng())
    b = hl.infer(g, hl.epsilon_evidence(x[0], eps=0.5, v=4))
    by_hand = torch.stack([b.marginals[1][i, n, x[1][i, n]] for i in range(3) for n in range(2)]).mean()
    torch.testing.assert_close(hl.overlap(b, x)[1], by_hand)
    with pytest.raises(ValueError, match="expected 3 levels"):
        hl.overlap(b, x[:2])
    with pytest.raises(ValueError, match=r"x\[0\]: expected shape"):
        hl.overlap(b, x[::-1])
