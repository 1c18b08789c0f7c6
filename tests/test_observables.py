"""Exact pair distributions against enumeration, and mutual information where it is known."""

import math

import pytest
import torch
from hypothesis import given, settings

import hierlib as hl
from hierlib.enumeration import all_data
from hierlib.experiments import observables as ob
from tests.grammars import grammars


@settings(max_examples=40, deadline=None)
@given(g=grammars(max_data=600))
def test_pair_distribution_is_that_of_all_data(g):
    leaves = all_data(g)[0]
    for level in range(1, g.L + 1):
        for i, j in ob.leaf_pairs(g.s, g.L, level).tolist():
            exact = ob.leaf_pair_distribution(g, i, j)
            torch.testing.assert_close(exact, ob.leaf_pair_frequencies(leaves, leaves, i, j, g.v), rtol=0, atol=1e-12)
            torch.testing.assert_close(exact, ob.leaf_pair_distribution(g, j, i).T, rtol=0, atol=1e-15)


def test_pairs_are_sorted_by_their_common_ancestor():
    pairs = [ob.leaf_pairs(2, 3, level).tolist() for level in (1, 2, 3)]
    assert pairs[0] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert sum(map(len, pairs)) == 28 and all(i < 4 <= j for i, j in pairs[2])
    with pytest.raises(ValueError, match="level"):
        ob.leaf_pairs(2, 3, 4)


def test_mutual_information_of_nothing_and_of_copies():
    p, q = (torch.tensor(x, dtype=torch.float64) for x in ([0.2, 0.8], [0.5, 0.3, 0.2]))
    independent = p[:, None] * q
    assert ob.mutual_information(independent) == pytest.approx(0, abs=1e-15)
    copies = torch.eye(4).double() / 4  # two copies of one uniform symbol
    assert ob.mutual_information(copies) == pytest.approx(math.log(4))


def test_no_dependence_where_every_tuple_is_a_rule():
    g = hl.random_grammar(v=3, m=3, s=2, L=3, generator=torch.Generator().manual_seed(0))
    for i, j in [(0, 1), (0, 2), (3, 7)]:
        assert ob.mutual_information(ob.leaf_pair_distribution(g, i, j)) == pytest.approx(0, abs=1e-15)


def test_counted_information_is_the_exact_one_above_its_floor():
    rng = torch.Generator().manual_seed(0)
    g = hl.random_grammar(v=6, m=2, s=2, L=3, generator=rng)
    n = 40_000
    exact, counted, floor = ob.pair_information(g, n=n, generator=rng)
    assert (exact[:-1] > exact[1:]).all()
    # A plug-in estimate is too high by (cells with mass - rows - columns + 1)/2n, at most 25/2n; its noise is
    # sqrt(variance of the log ratio / n), below .01 here.
    assert floor.tolist() == pytest.approx([25 / (2 * n)] * 3, rel=0.6)
    assert counted.tolist() == pytest.approx(exact.tolist(), abs=0.02)
    assert (counted[0] - exact[0]).abs() > 1e-6  # counted, not copied
    with pytest.raises(ValueError, match="at least 2 data"):
        ob.pair_information(g, n=1, generator=rng)


def test_refuses_what_is_no_pair():
    g = hl.random_grammar(v=3, m=2, s=2, L=2, generator=torch.Generator().manual_seed(0))
    for i, j in [(0, 0), (0, 4), (-1, 2)]:
        with pytest.raises(ValueError, match="two different leaves"):
            ob.leaf_pair_distribution(g, i, j)
