"""Entropy and probability of data in closed form, against the list of all of them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hierlib as hl
from hierlib.enumeration import all_data
from hierlib.probability import prior_marginals, symbol_probabilities
from tests.grammars import grammars


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@given(grammars(), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_data_are_equally_probable_and_nothing_else_is_possible(g, seed):
    x = all_data(g)
    log_p = hl.log_probability(g, x[0])
    assert log_p.dtype == torch.float64 and len(x[0].unique(dim=0)) == len(x[0])
    assert log_p.exp().sum().item() == pytest.approx(1) and -log_p.mean().item() == pytest.approx(hl.entropy(g))
    any_ = torch.randint(g.v, (200, g.d), generator=rng(seed))
    listed = {tuple(row) for row in x[0].tolist()}
    assert hl.log_probability(g, any_).isfinite().tolist() == [tuple(row) in listed for row in any_.tolist()]


@given(grammars())
@settings(max_examples=60, deadline=None)
def test_symbols_are_as_probable_as_they_are_frequent(g):
    x = all_data(g)
    given_class = symbol_probabilities(g, torch.eye(g.num_classes, dtype=torch.float64))
    for level, (prior, by_class) in enumerate(zip(prior_marginals(g), given_class, strict=True)):
        hot = torch.nn.functional.one_hot(x[level], g.num_symbols(level)).double()
        torch.testing.assert_close(prior, hot.mean(0), rtol=0, atol=1e-12)
        assert ((prior == 0) == (hot.sum(0) == 0)).all()
        for c in range(g.num_classes):
            torch.testing.assert_close(by_class[c], hot[x[g.L][:, 0] == c].mean(0), rtol=0, atol=1e-12)


def test_a_large_tree_has_a_closed_entropy():
    g = hl.random_grammar(v=32, m=8, s=2, L=8, generator=rng())
    assert hl.entropy(g) / g.d == pytest.approx((math.log(32) + 255 * math.log(8)) / 256)
    x = hl.sample(g, 3, generator=rng())[0]
    assert hl.log_probability(g, x.to(torch.uint8)).tolist() == pytest.approx([-hl.entropy(g)] * 3)
    assert hl.log_probability(g, x[:0]).shape == (0,)


@pytest.mark.parametrize(
    "leaves, said",
    [
        (torch.zeros(2, 3, dtype=torch.int64), r"shape \(n, 4\), got torch.int64 of shape \(2, 3\)"),
        (torch.zeros(2, 4), "whole numbers"),
        (torch.zeros(2, 4, dtype=torch.bool), "whole numbers"),
        ([[0, 0, 0, 0]], "got <class 'list'>"),
        (torch.full((1, 4), 3), r"symbols in 0…2, got 3…3"),
        (torch.full((1, 4), -1), r"symbols in 0…2"),
    ],
)
def test_what_is_no_string_of_symbols_is_refused(leaves, said):
    g = hl.random_grammar(v=3, m=2, s=2, L=2, generator=rng())
    with pytest.raises(ValueError, match=said):
        hl.log_probability(g, leaves)
