"""Rules and classes that are not equally probable: against sums over all that the rules write, and what is refused."""

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import hierlib as hl
from hierlib._weights import draw
from hierlib.enumeration import brute_force
from hierlib.grammar import block_grammar
from hierlib.networks.classifier import Classifier, Training, TreeCNN
from tests.grammars import law_of, uneven, uneven_grammars
from tests.test_inference import random_evidence
from tests.test_kernels import BACKENDS, COMPILED, DEVICE, on

DOUBLE = dict(rtol=0, atol=1e-10)
SIZES = [  # v, m, s, L, num_classes: other classes than symbols, three children, one rule, all tuples a rule's
    (4, 2, 2, 3, 3),
    (3, 3, 2, 2, 2),
    (2, 2, 3, 2, 3),
    (3, 1, 2, 3, 5),
    (2, 4, 3, 1, 2),
]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def grammar(size, seed=0, zeros=False):
    v, m, s, L, classes = size
    return uneven(hl.random_grammar(v=v, m=m, s=s, L=L, num_classes=classes, generator=rng(seed)), seed, zeros)


def likely(g, evidence):
    """p(x) of all that g writes, and that times its evidence, (batch, N)."""
    x, p = law_of(g)
    seen = torch.stack([evidence[:, i, x[0][:, i]] for i in range(g.d)]).prod(0)
    return x, p, p * seen


def marginals_of(g, x, weight):
    p = weight / weight.sum(-1, keepdim=True)
    hot = [torch.nn.functional.one_hot(level, g.num_symbols(l)).double() for l, level in enumerate(x)]
    return [torch.einsum("bn,nia->bia", p, each) for each in hot]


@given(uneven_grammars(max_data=250), st.integers(0, 2**31 - 3), st.booleans())
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_beliefs_are_those_of_the_list(g, seed, zeros):
    e = random_evidence(g, 2, seed, zeros)
    x, _, weight = likely(g, e)
    exact, log_evidence = marginals_of(g, x, weight), weight.sum(1).log()
    b, (brute, brute_log) = hl.infer(g, e), brute_force(g, e)
    for mine, listed, true in zip(b.marginals, brute, exact, strict=True):
        torch.testing.assert_close(mine, true, **DOUBLE)
        torch.testing.assert_close(listed, true, **DOUBLE)
    for found in (b.log_evidence, brute_log, hl.class_posterior(g, e)[1]):
        torch.testing.assert_close(found, log_evidence, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(hl.class_posterior(g, e)[0], exact[-1][:, 0], **DOUBLE)


@given(uneven_grammars(max_data=100), st.integers(0, 2**31 - 3))
@settings(max_examples=25, deadline=None)
@pytest.mark.slow
def test_the_next_leaf_is_that_of_the_list(g, seed):
    e = random_evidence(g, 2, seed)
    told = hl.next_leaf(g, e)
    for n in range(g.d):
        blank = e.clone()
        blank[:, n:] = 1
        x, _, weight = likely(g, blank)
        torch.testing.assert_close(told[:, n], marginals_of(g, x, weight)[0][:, n], **DOUBLE)


@pytest.mark.parametrize("size", SIZES)
def test_the_law_of_data_is_that_of_the_list(size):
    g = grammar(size)
    x, p = law_of(g)
    torch.testing.assert_close(hl.log_probability(g, x[0]), p.log(), **DOUBLE)
    assert hl.entropy(g) == pytest.approx(float(torch.special.entr(p).sum()), abs=1e-10)
    again = dataclasses.replace(g, class_prior=None), dataclasses.replace(g, weights=None)
    for other in again:  # one of the two alone
        x, p = law_of(other)
        torch.testing.assert_close(hl.log_probability(other, x[0]), p.log(), **DOUBLE)
        assert hl.entropy(other) == pytest.approx(float(torch.special.entr(p).sum()), abs=1e-10)
        e = random_evidence(other, 2, 3)
        _, _, weight = likely(other, e)
        torch.testing.assert_close(hl.infer(other, e).log_evidence, weight.sum(1).log(), **DOUBLE)


def chi_square(drawn, x, p):
    """The p-value of strings (n, d) under a law of all of them; strings of probability zero must not come."""
    counts = (drawn[:, None] == x[None]).all(-1).sum(0).double()
    assert counts.sum() == len(drawn) and counts[p == 0].sum() == 0
    order = p.argsort(descending=True)
    counts, expected = counts[order], p[order] * len(drawn)
    bins = max(2, int((expected > 5).sum()))
    observed, wanted = (torch.cat([y[: bins - 1], y[bins - 1 :].sum()[None]]) for y in (counts, expected))
    return stats.chisquare(observed.numpy(), wanted.numpy()).pvalue


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_data_are_drawn_by_their_weights(size):
    g = grammar(size, 1, zeros=True)
    x, p = law_of(g)
    for leaves in (hl.sample(g, 6000, generator=rng(2))[0], hl.sample_left_to_right(g, 6000, generator=rng(3))):
        assert chi_square(leaves, x[0], p) > 1e-3
    own = hl.sample(g, 50, classes=[0] * 50, generator=rng(2))
    assert (own[-1] == 0).all()


@pytest.mark.parametrize("size", [*SIZES[:3], SIZES[4], (32, 7, 2, 8, 32)])  # one rule alone has no weights
def test_compiled_code_draws_what_the_reference_does(size):
    """Level by level from one generator, which is at the same place for both afterwards."""
    g, one, other = grammar(size, zeros=True), rng(3), rng(3)
    drawn = hl.sample(g, 50, generator=one)
    x = draw(g.class_prior[None], torch.zeros(50, 1, dtype=torch.int64), other)
    for level in reversed(range(g.L)):
        assert torch.equal(drawn[level + 1], x)
        x = g.rules[level][x, draw(g.weights[level], x, other)].flatten(1)
    assert torch.equal(drawn[0], x) and torch.equal(one.get_state(), other.get_state())


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_trees_are_drawn_by_their_weights(backend, size):
    g, n = grammar(size, 1, zeros=True), 1500 if backend == "gpu" else 6000
    e = random_evidence(g, 1, 4)
    x, _, weight = likely(g, e)
    h, there = on(backend, g, e)
    draws = torch.Generator(there.device).manual_seed(5)
    y = [z.cpu() for z in hl.posterior_sample(h, there, num_samples=n, generator=draws, backend=backend)]
    assert chi_square(y[0][0], x[0], weight[0] / weight[0].sum()) > 1e-3
    assert all(torch.equal(a, b[0]) for a, b in zip(hl.parse(g, y[0][0]), y, strict=True))


def test_a_rule_of_weight_zero_is_a_rule_less():
    g = hl.random_grammar(v=4, m=3, s=2, L=3, generator=rng())
    out = torch.randint(3, (3, 4), generator=rng(1))
    weights = [torch.rand(4, 3, dtype=torch.float64, generator=rng(2)) + 0.1 for _ in range(3)]
    keep = [torch.arange(3) != out[l][:, None] for l in range(3)]
    weights = [(w * k) / (w * k).sum(1, keepdim=True) for w, k in zip(weights, keep, strict=True)]
    g = dataclasses.replace(g, weights=tuple(weights))
    less = hl.Grammar(
        4, 2, 2, 3, 4,
        tuple(rule[k].reshape(4, 2, 2) for rule, k in zip(g.rules, keep, strict=True)),
        tuple(w[k].reshape(4, 2) for w, k in zip(weights, keep, strict=True)),
    )  # fmt: skip
    e = random_evidence(g, 3, 0)
    a, b = hl.infer(g, e), hl.infer(less, e)
    torch.testing.assert_close(a.log_evidence, b.log_evidence, **DOUBLE)
    for kind, other in zip(a.kinds, b.kinds, strict=True):
        for mine, exact in zip(kind, other, strict=True):
            torch.testing.assert_close(mine, exact, **DOUBLE)
    assert hl.entropy(g) == pytest.approx(hl.entropy(less), abs=1e-12)
    x = hl.sample(g, 2000, generator=rng(4))[0]
    assert (hl.log_probability(less, x) > -math.inf).all()
    never = g.rules[2][0, out[2][0]]  # a tuple that the class 0 never writes
    middle = [g.rules[1][symbol, keep[1][symbol].long().argmax()] for symbol in never]
    string = torch.cat([g.rules[0][symbols, 0].flatten() for symbols in middle])
    assert hl.parse(g, string[None])[3].item() == 0 and hl.log_probability(g, string[None]).item() == -math.inf


def test_weights_that_say_nothing_are_none():
    """Uniform rules take the way without weights, to the last bit and with the same random numbers."""
    plain = hl.random_grammar(v=6, m=3, s=2, L=2, num_classes=5, generator=rng())
    flat = torch.full((3,), 1 / 3, dtype=torch.float64)
    for weights in (
        flat,
        [1 / 3] * 3,
        [flat, flat],
        [flat.expand(6, 3), flat.expand(5, 3)],
        hl.zipf(3, 0.0),
        flat.numpy(),
    ):
        same = hl.random_grammar(
            v=6, m=3, s=2, L=2, num_classes=5, weights=weights, class_prior=[1 / 5] * 5, generator=rng()
        )
        assert same.weights is None and same.class_prior is None and repr(same) == repr(plain)
    assert all((hl.zipf(m, 0.0) == 1 / m).all() for m in range(1, 65))
    one = hl.random_grammar(v=6, m=1, s=2, L=2, weights=hl.zipf(1, 2.0), generator=rng())
    assert one.weights is None


def test_weights_are_given_for_all_for_a_level_or_for_a_symbol():
    sizes = dict(v=6, m=3, s=2, L=2, num_classes=5)
    plain, w, other = hl.random_grammar(**sizes, generator=rng()), hl.zipf(3, 1.0), hl.zipf(3, 2.0)
    a = hl.random_grammar(**sizes, weights=w, generator=rng())
    b = hl.random_grammar(**sizes, weights=[w.tolist(), other], generator=rng())
    c = hl.random_grammar(**sizes, weights=b.weights, class_prior=hl.zipf(5, 1.0), generator=rng())
    assert all(torch.equal(x, y) for g in (a, b, c) for x, y in zip(g.rules, plain.rules, strict=True))
    assert [tuple(x.shape) for x in a.weights] == [(6, 3), (5, 3)] and (a.weights[1] == w).all()
    assert (b.weights[0] == w).all() and (b.weights[1] == other).all()
    assert all(torch.equal(x, y) for x, y in zip(b.weights, c.weights, strict=True))
    assert repr(c).endswith("num_classes=5, device='cpu', weights=…, class_prior=…)")
    moved = c.to("cpu")
    assert all(torch.equal(x, y) for x, y in zip(moved.weights, c.weights, strict=True))
    assert torch.equal(moved.class_prior, c.class_prior)
    low, whole = block_grammar(c, 1), block_grammar(c, 2)
    assert torch.equal(low.weights[0], c.weights[0]) and low.class_prior is None
    assert torch.equal(whole.class_prior, c.class_prior) and len(whole.weights) == 2
    before = c.written
    c.weights[0].mul_(1)
    assert c.written != before
    torch.testing.assert_close(w, torch.tensor([6, 3, 2], dtype=torch.float64) / 11, rtol=1e-15, atol=0)


W = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (W, "a tuple of one tensor a level, L = 2, got a tensor of shape"),
        ([W], "a tuple of one tensor a level, L = 2, got 1"),
        ([W, W.float()], r"weights\[1\]: expected float64 of shape \(2, 2\), got torch.float32"),
        ([W, W[0]], r"weights\[1\]: expected float64 of shape \(2, 2\), got torch.float64 of shape \(2,\)"),
        ([W, [[1, 0], [1, 0]]], r"weights\[1\]: expected float64 of shape \(2, 2\), got \[\["),
        ([W, W * 1.001], r"weights\[1\]: .* sum to one within 1e-09, got 1.001 in row 0"),
        ([W, 0 * W], r"weights\[1\]: .* sum to one within 1e-09, got 0 in row 0"),
        ([W - torch.tensor([1.0, -1.0]), W], r"weights\[0\]: expected probabilities in \[0, 1\], got -0.5"),
        ([W * math.nan, W], r"weights\[0\]: expected probabilities in \[0, 1\], got nan"),
        ([W.clone().requires_grad_(), W], r"weights\[0\]: .* got one that needs a gradient: detach it"),
        ([W.to("meta"), W], r"weights\[0\]: expected a constant on the device of the rules, cpu, got meta"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message):
    rules = torch.tensor([[[0, 0], [1, 1]], [[0, 1], [1, 0]]])
    with pytest.raises(ValueError, match=message):
        hl.Grammar(2, 2, 2, 2, 2, (rules, rules), weights)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(weights=[0.5, 0.4]), r"weights\[0\]: .* sum to one within 1e-09, got 0.9"),
        (dict(weights=[0.5, 0.25, 0.25]), r"weights\[0\]: expected shape \(2,\) or \(4, 2\), got \(3,\)"),
        (dict(weights=[[0.5, 0.5]] * 2), r"weights: expected \(m,\), for all levels, or one .* of L = 3, got 2"),
        (dict(weights="often"), "weights: expected numbers for each rule, got 'often'"),
        (dict(weights=["often", 1, 2]), r"weights\[0\]: expected a number or a sequence of numbers, got 'often'"),
        (dict(weights=0.5), "weights: expected numbers for each rule, got 0.5"),
        (dict(class_prior=[0.5, 0.5]), r"class_prior: expected float64 of shape \(4,\), got"),
        (dict(class_prior=[0.5, 0.5, 0.5, 0.5]), "class_prior: .* sum to one within 1e-09, got 2"),
        (dict(class_prior=[1.5, -0.5, 0, 0]), r"class_prior: expected probabilities in \[0, 1\], got 1.5"),
        (dict(class_prior=[0, 0, 0, 0]), "class_prior: .* sum to one within 1e-09, got 0"),
    ],
)
def test_a_random_grammar_refuses_them_too(given, message):
    with pytest.raises(ValueError, match=message):
        hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng(), **given)


@pytest.mark.parametrize(("m", "a"), [(0, 1.0), (2.0, 1.0), (2, math.nan), (2, [1.0, 2.0]), (2, "steep")])
def test_zipf_refuses_what_is_no_number(m, a):
    with pytest.raises(ValueError, match="expected"):
        hl.zipf(m, a)


def test_a_prior_in_the_call_wins_over_that_of_the_grammar():
    g = grammar(SIZES[0])
    e, uniform = random_evidence(g, 2, 0), [1.0] * 3
    bare = dataclasses.replace(g, class_prior=None)
    pairs = [
        (hl.infer(g, e, class_prior=uniform).marginals[0], hl.infer(bare, e).marginals[0]),
        (hl.infer(bare, e, class_prior=g.class_prior).marginals[0], hl.infer(g, e).marginals[0]),
        (hl.next_leaf(g, e, class_prior=uniform), hl.next_leaf(bare, e)),
        (hl.class_posterior(g, e, class_prior=uniform)[0], hl.class_posterior(bare, e)[0]),
    ]
    for with_prior, without in pairs:
        torch.testing.assert_close(with_prior, without, **DOUBLE)
    assert not torch.allclose(pairs[0][0], pairs[1][0])
    x = hl.sample(g, 3, generator=rng())
    told = [hl.epsilon_overlap(g, x, eps=0.5, dtype=torch.float64, class_prior=prior) for prior in (None, uniform)]
    seen = hl.epsilon_evidence(x[0], eps=0.5, v=g.v, dtype=torch.float64)
    for mine, model in zip(told, (g, bare), strict=True):
        torch.testing.assert_close(mine, hl.overlap(hl.infer(model, seen), x), **DOUBLE)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(5, 3, 2, 5, 4), SIZES[2]])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
@pytest.mark.parametrize("backend", COMPILED)
def test_compiled_kernels_agree_with_the_reference(backend, size, kind):
    """Whole tiles and what is left of the data; weights of zero; and a prior alone."""
    g, close = grammar(size, 2, zeros=True), dict(rtol=0, atol=1e-10 if kind == torch.float64 else 2e-6)
    batches = (3,) if backend == "gpu" else (1, 3, 37)
    for model, n in itertools.product((g, dataclasses.replace(g, weights=None)), batches):
        e, x = random_evidence(g, n, n).to(kind), hl.sample(model, n, generator=rng())
        h, seen, *y = on(backend, model, e, *x)
        a, b = hl.infer(h, seen, backend=backend), hl.infer(model, e, backend="torch")
        if backend == "cpu" or DEVICE == "cuda":  # else the way without a name is that of the processor
            assert all(torch.equal(x, y) for x, y in zip(a.marginals, hl.infer(h, seen).marginals, strict=True))
        for mine, exact in zip(a.kinds, b.kinds, strict=True):
            for level in range(g.L + 1):
                torch.testing.assert_close(mine[level].cpu(), exact[level], **close)
        torch.testing.assert_close(a.log_evidence.cpu(), b.log_evidence, rtol=1e-6, atol=close["atol"])
        for call in (hl.next_leaf, lambda *of, **how: hl.class_posterior(*of, **how)[0]):
            torch.testing.assert_close(call(h, seen, backend=backend).cpu(), call(model, e, backend="torch"), **close)
        told = [hl.epsilon_overlap(model, x, eps=0.5, dtype=kind, backend="torch")]
        told.append(hl.epsilon_overlap(h, y, eps=0.5, dtype=kind, backend=backend).cpu())
        torch.testing.assert_close(*told, **close)


@pytest.mark.parametrize("backend", COMPILED)
def test_weights_that_are_written_to_are_read_again(backend):
    g, e = on(backend, grammar(SIZES[0]), random_evidence(grammar(SIZES[0]), 1, 0))
    hl.sample(g, 1, generator=torch.Generator(g.device).manual_seed(0))
    before = hl.infer(g, e, backend=backend).log_evidence
    g.weights[0].copy_(g.weights[0].flip(1))
    after = [hl.infer(g, e, backend=name).log_evidence for name in (backend, "torch")]
    torch.testing.assert_close(*after, **DOUBLE)
    assert not torch.allclose(before, after[0])
    fresh = dataclasses.replace(g, weights=tuple(weight.clone() for weight in g.weights))
    again = [hl.sample(h, 50, generator=torch.Generator(g.device).manual_seed(1))[0] for h in (g, fresh)]
    assert torch.equal(*again)


@given(uneven_grammars(max_data=100), st.integers(0, 2**31 - 3))
@settings(max_examples=20, deadline=None)
def test_leaf_marginals_are_the_gradient_of_log_evidence(g, seed):
    e = random_evidence(g, 2, seed).requires_grad_()
    (gradient,) = torch.autograd.grad(hl.infer(g, e, messages=False).log_evidence.sum(), e)
    torch.testing.assert_close(gradient * e, hl.infer(g, e.detach()).marginals[0], **DOUBLE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_narrow_types_and_tiny_weights(backend, dtype):
    """Weights that float32 can't hold decide where nothing else does: then float64 is used."""
    g = grammar(SIZES[0])
    e = random_evidence(g, 2, 0).to(dtype)
    exact = hl.infer(g, e.double(), backend="torch")
    h, seen = on(backend, g, e)
    found = hl.infer(h, seen, backend=backend)
    at_root = found.marginals[3].cpu().double()
    torch.testing.assert_close(at_root, exact.marginals[3], rtol=0, atol=torch.finfo(dtype).eps)
    assert found.log_evidence.dtype == torch.float32
    tiny = torch.tensor([[1.0, 1e-60]], dtype=torch.float64)
    rare = hl.Grammar(2, 2, 2, 1, 1, (torch.tensor([[[0, 0], [1, 1]]]),), (tiny,))
    only = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]], dtype=dtype)
    rare, only = on(backend, rare, only)
    assert hl.infer(rare, only, backend=backend).log_evidence.item() == pytest.approx(-60 * math.log(10), rel=1e-6)


def test_kept_in_a_file(tmp_path):
    g = grammar(SIZES[0])
    net = TreeCNN(g.v, g.s, g.L, 4, g.num_classes)
    for model in (g, dataclasses.replace(g, weights=None), dataclasses.replace(g, weights=None, class_prior=None)):
        Classifier(model, net, Training(num_data=8, width=4), []).save(tmp_path / "net.safetensors")
        again = Classifier.load(tmp_path / "net.safetensors").g
        assert repr(again) == repr(model)
        assert again.weights is None or all(map(torch.equal, again.weights, model.weights))
        assert again.class_prior is None or torch.equal(again.class_prior, model.class_prior)
