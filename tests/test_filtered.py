"""Worlds of fewer levels: against the enumeration of their blocks, their ends, and the ladder that they make."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hierlib as hl
from hierlib.enumeration import all_data
from hierlib.filtered import block_information, effective_level, infer_filtered, ladder
from hierlib.probability import prior_marginals, symbol_probabilities
from tests.grammars import grammars

DOUBLE = dict(rtol=0, atol=1e-10)
TIES = [None, "class"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn_evidence(g, batch, seed):
    return torch.rand(batch, g.d, g.v, dtype=torch.float64, generator=rng(seed)) + 0.01


def log_evidence_by_enumeration(g, e, k, tie):
    """Of each block p(evidence | symbol), counted over the data that have it there; then what is above."""
    x, size = all_data(g), g.s**k
    like = []
    for node in range(g.num_nodes(k)):
        part = x[0][:, node * size : (node + 1) * size]
        seen = torch.stack([e[:, node * size + i, part[:, i]] for i in range(size)]).prod(0)  # (batch, N)
        has = torch.nn.functional.one_hot(x[k][:, node], g.num_symbols(k)).double()
        like.append(seen @ has / has.sum(0).clamp_min(1))
    like = torch.stack(like, 1)  # (batch, nodes, symbols)
    if tie is None:
        return (like * prior_marginals(g)[k]).sum(2).log().sum(1)
    given_class = symbol_probabilities(g, torch.eye(g.num_classes, dtype=torch.float64))[k]
    return torch.einsum("bna,cna->bnc", like, given_class).prod(1).mean(1).log()


@pytest.mark.parametrize("tie", TIES)
@given(g=grammars(max_data=300), seed=st.integers(0, 2**31 - 5))
@settings(max_examples=25, deadline=None)
def test_every_number_of_levels_against_enumeration(tie, g, seed):
    e = drawn_evidence(g, 2, seed).requires_grad_()
    for k in range(g.L + 1):
        b = infer_filtered(g, e, levels=k, tie=tie)
        expected = log_evidence_by_enumeration(g, e.detach(), k, tie)
        torch.testing.assert_close(b.log_evidence.detach(), expected, **DOUBLE)
        (slope,) = torch.autograd.grad(b.log_evidence.sum(), e, retain_graph=True)
        torch.testing.assert_close(slope * e, b.marginals[0], **DOUBLE)  # marginals are gradients of log evidence
        assert [m.shape for m in b.marginals] == [(2, g.num_nodes(l), g.num_symbols(l)) for l in range(k + 1)]
        for m in b.marginals:
            torch.testing.assert_close(m.sum(2), torch.ones_like(m.sum(2)), **DOUBLE)


@pytest.mark.parametrize("tie", TIES)
def test_all_levels_are_inference_and_none_is_each_leaf_alone(tie):
    g = hl.random_grammar(v=4, m=2, s=2, L=3, num_classes=3, generator=rng())
    e = drawn_evidence(g, 5, 1)
    whole, exact = infer_filtered(g, e, levels=3, tie=tie), hl.infer(g, e)
    assert all(torch.equal(a, b) for a, b in zip(whole.marginals, exact.marginals, strict=True))
    assert torch.equal(whole.log_evidence, exact.log_evidence)
    alone = infer_filtered(g, e, levels=0).marginals[0]
    joint = e * prior_marginals(g)[0]
    torch.testing.assert_close(alone, joint / joint.sum(2, keepdim=True), **DOUBLE)
    single = infer_filtered(g, e.float(), levels=2, tie=tie)
    assert single.marginals[0].dtype == single.log_evidence.dtype == torch.float32
    torch.testing.assert_close(
        single.marginals[0].double(), infer_filtered(g, e, levels=2, tie=tie).marginals[0], rtol=0, atol=1e-5
    )


def test_a_class_that_excludes_blocks_makes_no_nan():
    """With clean leaves most classes cannot give a block; the truth stays certain, and no logarithm is subtracted."""
    g = hl.random_grammar(v=4, m=1, s=2, L=3, generator=rng())
    x = hl.sample(g, 4, generator=rng())[0]
    for k in range(4):
        b = infer_filtered(g, torch.nn.functional.one_hot(x, 4).double(), levels=k, tie="class")
        assert torch.equal(b.marginals[0].argmax(2), x) and b.log_evidence.isfinite().all()


@given(g=grammars(max_data=1000))
@settings(max_examples=40, deadline=None)
def test_what_a_world_misses_is_a_divergence(g):
    """KL(data ‖ world) by its log evidence of every datum."""
    x = all_data(g)[0]
    e = torch.nn.functional.one_hot(x, g.v).double()
    info = block_information(g)
    for k in range(g.L + 1):
        found = (hl.log_probability(g, x) - infer_filtered(g, e, levels=k).log_evidence).mean()
        assert float(info[k]) == pytest.approx(float(found), abs=1e-10)
    assert (info[:-1] >= info[1:] - 1e-12).all() and info[-1] == pytest.approx(0, abs=1e-10)


def test_a_ladder_falls_to_exact_inference_and_tells_the_level():
    g = hl.random_grammar(v=8, m=3, s=2, L=4, generator=rng())
    x = hl.sample(g, 400, generator=rng())[0]
    noise = hl.MaskNoise(v=8, dtype=torch.float64)
    seen = noise.corrupt(x, 0.5, generator=rng(1))
    steps = ladder(g, x, noise.evidence(seen), hidden=seen == 8)
    exact = hl.infer(g, noise.evidence(seen)).marginals[0].gather(2, x[..., None])[..., 0]
    assert steps[-1].item() == pytest.approx(-exact[seen == 8].log().mean().item())
    assert (steps[:-1] > steps[1:]).all()
    everything = ladder(g, x, noise.evidence(seen))  # leaves that are seen are certain
    torch.testing.assert_close(everything, steps * (seen == 8).double().mean(), rtol=1e-10, atol=0)
    np.testing.assert_allclose(effective_level(steps.numpy(), steps), np.arange(5), atol=1e-12)
    between = 0.25 * steps[1] + 0.75 * steps[2]
    assert float(effective_level(float(between), steps)) == pytest.approx(1.75)
    assert np.isnan(effective_level(float(steps[0]) + 0.1, steps)) and effective_level(0.0, steps) == 4


def test_bad_input_is_refused():
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng())
    e, x = drawn_evidence(g, 2, 0), hl.sample(g, 2, generator=rng())[0]
    for bad in (dict(levels=4), dict(levels=-1), dict(levels=1.0), dict(levels=1, tie="leaf")):
        with pytest.raises(ValueError, match=r"(levels|tie): expected"):
            infer_filtered(g, e, **bad)
    wrong = e.clone()
    wrong[1, 5] = 0
    for tie in TIES:
        with pytest.raises(ValueError, match=r"leaf 13, counted on .* impossible"):
            infer_filtered(g, wrong, levels=0, tie=tie)
        with pytest.raises(ValueError, match=r"4 blocks a datum, counted on .* datum 6 is impossible"):
            infer_filtered(g, wrong, levels=1, tie=tie)
        wrong[1, 5] = torch.nan
        with pytest.raises(ValueError, match="leaf 13 has others"):
            infer_filtered(g, wrong, levels=0, tie=tie)
        wrong[1, 5] = 0
    for hidden in (torch.zeros(2, 8, dtype=torch.bool), torch.ones(2, 8), torch.ones(2, 7, dtype=torch.bool)):
        with pytest.raises(ValueError, match="hidden: expected"):
            ladder(g, x, e, hidden=hidden)
    for steps in ([3.0, 2.0, 2.0], [1.0], [[3.0, 2.0]], [3.0, float("nan"), 1.0]):
        with pytest.raises(ValueError, match="steps: expected a falling loss"):
            effective_level(1.0, steps)


def test_classes_that_give_no_such_blocks_are_named():
    """Two blocks of two classes: each possible, together not."""
    g = hl.random_grammar(v=4, m=1, s=2, L=2, generator=rng())
    x = hl.sample(g, 2, generator=rng(), classes=[0, 1])[0]
    mixed = torch.nn.functional.one_hot(torch.cat([x, torch.cat([x[:1, :2], x[1:, 2:]], 1)]), 4).double()
    assert infer_filtered(g, mixed, levels=1).log_evidence.isfinite().all()
    with pytest.raises(ValueError, match="datum 2 is impossible: no class gives its blocks"):
        infer_filtered(g, mixed, levels=1, tie="class")
