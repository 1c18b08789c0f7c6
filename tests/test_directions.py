"""Of which level the strongest direction speaks: against all strings of a small grammar."""

import pytest
import torch

import hierlib as hl
from hierlib.enumeration import all_data
from hierlib.experiments.directions import shares, shares_of_top, top_direction
from hierlib.experiments.spectrum import covariance_times, top_eigenvalue


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_shares_are_those_of_all_strings(m):
    g = hl.random_grammar(v=4, m=m, s=2, L=2, generator=rng(m))
    u = torch.randn(g.d, g.v, dtype=torch.float64, generator=rng())
    x = all_data(g)
    score = u[torch.arange(g.d), x[0]].sum(1)
    found = shares(g, u)
    assert found[0] == 1
    for level in range(g.L + 1):
        _, group = x[level].unique(dim=0, return_inverse=True)
        count = torch.bincount(group).double()
        mean = torch.zeros(len(count), dtype=torch.float64).index_add_(0, group, score) / count
        explained = mean[group].var(correction=0) / score.var(correction=0)
        assert abs(float(explained) - found[level]) < 1e-10


def test_the_top_direction_has_the_top_variance():
    g = hl.random_grammar(v=5, m=2, s=3, L=3, generator=rng())
    u = top_direction(g)
    assert abs(float(u.norm()) - 1) < 1e-9
    assert abs(float((u * covariance_times(g, u)).sum()) / top_eigenvalue(g) - 1) < 1e-3


def test_with_few_rules_it_is_of_the_class():
    found = shares_of_top(6, [1, 2, 6], 3, [3], draws=4, generator=rng())
    one, few, many = (found[m][3][:, -1].mean() for m in (1, 2, 6))
    assert abs(one - 1) < 1e-9 and few > 0.1 > 0.02 > many
