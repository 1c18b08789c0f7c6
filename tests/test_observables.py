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


def test_informations_are_those_of_each_grammar_in_turn():
    size = {"v": 4, "m": 2, "s": 2, "L": 2}
    found = ob.pair_informations(**size, n=50, draws=2, generator=torch.Generator().manual_seed(0))
    gen = torch.Generator().manual_seed(0)
    for draw in range(2):
        one = ob.pair_information(hl.random_grammar(**size, generator=gen), n=50, generator=gen)
        assert all((a[draw] == b.numpy()).all() for a, b in zip(found, one))


def test_beliefs_that_come_true_are_calibrated_and_bold_ones_are_not():
    draw = torch.Generator().manual_seed(0)
    belief = torch.rand(20_000, 3, dtype=torch.float64, generator=draw)
    belief /= belief.sum(1, keepdim=True)
    truth = torch.multinomial(belief, 1, generator=draw)[:, 0]
    right = ob.calibration(belief, truth)
    assert abs(right.z).max() < 4 and (right.belief[1:] > right.belief[:-1]).all() and len(right.belief) == 10
    bold = belief**2 / (belief**2).sum(1, keepdim=True)
    assert abs(ob.calibration(bold, truth).z).max() > 10
    certain = torch.nn.functional.one_hot(truth, 3).double()
    assert len(ob.calibration(certain, truth).belief) == 0  # nothing that could be wrong


def test_chi_square_pools_what_is_rare():
    draw, expected = torch.Generator().manual_seed(0), torch.tensor([0.5, 0.3, 0.18, *[0.0002] * 100])
    fair = [torch.bincount(torch.multinomial(expected, 1000, True, generator=draw), minlength=103) for _ in range(200)]
    p = [ob.pooled_chi_square(counts, 1000 * expected)[0] for counts in fair]
    assert 0.01 < sum(x < 0.1 for x in p) / 200 < 0.2
    assert ob.pooled_chi_square(fair[0], 1000 * expected)[1] == 4
    assert ob.pooled_chi_square(fair[0], 400 * expected, least=10)[1] == 3  # eight rare ones are no cell
    assert ob.pooled_chi_square(torch.tensor([300, 300, 390, *[0] * 100]), 1000 * expected)[0] < 1e-6
    assert ob.pooled_chi_square(torch.tensor([9, 1]), torch.tensor([9.0, 1.0])) == (1.0, 1)
