"""The mean field of reach: exact clusters against all graphs, small trees by hand, and what is measured."""

import itertools

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.experiments.fragments import reach
from hierlib.theory.reach import mean_cluster, reach_mean_field


def cluster_by_hand(m, p):
    """Over all graphs of m nodes."""
    pairs, mean = list(itertools.combinations(range(m), 2)), 0.0
    for there in itertools.product([False, True], repeat=len(pairs)):
        joined = [pair for pair, it_is in zip(pairs, there, strict=True) if it_is]
        found = {0}
        for _ in range(m):
            found |= {b for a, b in joined if a in found} | {a for a, b in joined if b in found}
        mean += len(found) * p ** len(joined) * (1 - p) ** (len(pairs) - len(joined))
    return mean


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_clusters_are_those_of_all_graphs(m, p):
    assert mean_cluster(m, p) == pytest.approx(cluster_by_hand(m, p), abs=1e-13)


def test_clusters_of_many_nodes_lie_between_their_limits():
    assert mean_cluster(400, 0.0) == 1 and mean_cluster(400, 1.0) == pytest.approx(400)
    few = 0.3 / 399  # below the giant cluster: 1/(1-κ), up to what is finite
    assert mean_cluster(400, few) == pytest.approx(1 / 0.7, rel=5e-3) and mean_cluster(400, few) < 1 / 0.7


def test_one_level_without_other_rules_is_a_count_of_neighbours():
    found = reach_mean_field(v=7, m=1, s=3, L=2)
    few = 3 * 6 / (7**3 - 1)
    np.testing.assert_allclose(found, [1, -np.expm1(-few), -np.expm1(few * np.expm1(-few))], rtol=1e-13)


def test_it_has_clusters_of_rules():
    """Two rules a symbol: the second is joined to the first with probability 1/m_c."""
    few = 2 * 4 / (5**2 - 1)
    assert reach_mean_field(5, 2, 2, 1)[1] == pytest.approx(-np.expm1(-2 * few * (1 + few)), rel=1e-13)


def test_reach_dies_out_in_deep_trees_where_errors_are_repaired_and_only_there():
    assert reach_mean_field(16, 7, 2, 400)[-1] < 1e-12  # ρ = .82
    assert reach_mean_field(16, 9, 2, 400)[-1] > 0.9  # ρ = 1.06
    assert (np.diff(reach_mean_field(16, 7, 2, 40)) < 0).all()


@pytest.mark.parametrize("m, L", [(4, 1), (4, 2), (4, 3)])
def test_it_is_right_where_rules_are_few(m, L):
    rng, found = torch.Generator().manual_seed(7 * m + L), []
    for _ in range(60):
        g = hl.random_grammar(v=16, m=m, s=2, L=L, generator=rng)
        found.append(float(reach(g, hl.sample(g, 1, generator=rng)[0]).fraction))
    error = np.std(found) / len(found) ** 0.5
    assert abs(np.mean(found) - reach_mean_field(16, m, 2, L)[L]) < 4 * error


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: reach_mean_field(16, 300, 2, 2), "expected m ≤"),
        (lambda: reach_mean_field(16, 2.5, 2, 2), "m: expected an int"),
        (lambda: reach_mean_field(16, 2, 2, 0), "L: expected at least 1, got 0"),
        (lambda: mean_cluster(0, 0.5), "m: expected at least 1"),
        (lambda: mean_cluster(3, 1.5), "p: expected a probability, got 1.5"),
        (lambda: mean_cluster(3, float("nan")), "p: expected a probability, got nan"),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
