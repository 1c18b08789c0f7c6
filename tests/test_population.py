"""Population dynamics against exact inference, the planted rules against their law."""

import math

import pytest
import torch

import hierlib as hl
from hierlib.theory import meanfield, population

F64 = torch.float64
V, M, S = 32, 8, 2
NOISES = {
    "epsilon": (hl.EpsilonNoise(v=V, dtype=F64), 0.62),
    "gauss": (hl.GaussianNoise(v=V, dtype=F64), 0.06),
    "gauss, class lost": (hl.GaussianNoise(v=V, dtype=F64), 0.1),
    "mask": (hl.MaskNoise(v=V, dtype=F64), 0.22),
    "uniform": (hl.UniformNoise(v=V, dtype=F64), 0.1),
}
CASES = [(name, 8) for name in NOISES] + [(name, 10) for name in ("epsilon", "gauss", "mask")]


@pytest.mark.slow
@pytest.mark.parametrize("name, L", CASES)
def test_matches_exact_inference_at_every_level(name, L):
    noise, t = NOISES[name]
    rng = torch.Generator().manual_seed(L)
    draws = []
    for _ in range(40):
        g = hl.random_grammar(v=V, m=M, s=S, L=L, generator=rng)
        x = hl.sample(g, 2, generator=rng)
        evidence = noise.evidence(noise.corrupt(x[0], t, generator=rng), t)
        b = hl.infer(g, evidence)
        draws.append([[z.gather(-1, y[..., None]).mean() for z, y in zip(part, x)] for part in b[:3]])
    bp = torch.tensor(draws, dtype=F64)  # (draws, message, level)
    run = population.density_evolution(
        population.leaf_sampler(noise, t), m=M, s=S, L=L, size=500, pools=16, generator=rng
    )
    pools = torch.stack([run.up, run.down, run.marginal], 1)
    error = (bp.var(0) / len(bp) + pools.var(0) / len(pools)).sqrt()
    deviation = (bp.mean(0) - pools.mean(0)).abs()
    assert (deviation <= 4 * error + 1e-9).all(), (deviation / error).round(decimals=1)
    assert error.max() < 0.06  # the comparison has teeth


@pytest.mark.slow
@pytest.mark.parametrize("noise, kept, lost", [(hl.MaskNoise(v=V), 0.24, 0.285), (hl.GaussianNoise(v=V), 0.064, 0.074)])
def test_threshold_of_the_infinite_tree(noise, kept, lost):
    rng = torch.Generator().manual_seed(0)
    for t, expected in ((kept, 1.0), (lost, 1 / V)):
        leaves = population.leaf_sampler(noise, t)
        run = population.density_evolution(leaves, m=M, s=S, L=45, size=800, pools=1, downward=False, generator=rng)
        assert run.up[0, -1] == pytest.approx(expected, abs=0.01)
        assert run.down is None and run.marginal is None


@pytest.mark.slow
def test_one_level_of_the_epsilon_process_is_near_the_mean_field():
    rng = torch.Generator().manual_seed(1)
    leaves = population.leaf_sampler(hl.EpsilonNoise(V), 0.5)
    run = population.density_evolution(leaves, m=M, s=S, L=1, size=4000, pools=4, generator=rng)
    theory = meanfield.solve(0.5, V, M, S, 1)
    assert run.up.mean(0)[0] == pytest.approx(theory.p[0], abs=1e-12)
    ratio = float(run.up.mean(0)[1]) / theory.p[1]
    assert 1.0 < ratio < 1.015  # the error of averaging: the mean of a ratio is not the ratio of the means


@pytest.mark.parametrize("v, m, s, dense", [(3, 2, 2, True), (4, 1, 3, False), (3, 3, 2, True), (5, 1, 2, True)])
def test_planted_rules_are_uniform_and_distinct(v, m, s, dense):
    assert population._dense(v, m, s) == dense
    n, k, others = 20000, v * m - 1, v**s - 1
    rules = population.planted_rules(n, v=v, m=m, s=s, generator=torch.Generator().manual_seed(0))
    assert rules.shape == (n, v, m, s) and (rules[:, 0, 0] == 0).all()
    codes = (rules * torch.tensor([v ** (s - 1 - i) for i in range(s)])).sum(-1).reshape(n, -1)
    assert (codes.sort(1).values.diff(dim=1) > 0).all()
    for column in (1, v * m - 1) if k else ():  # each place is uniform on the other tuples
        counts = torch.bincount(codes[:, column], minlength=v**s)[1:].double()
        chi2 = float(((counts - n / others) ** 2 / (n / others)).sum())
        assert chi2 < others + 5 * math.sqrt(2 * others)
    pairs = torch.bincount(codes[:, 1] * v**s + codes[:, -1], minlength=v ** (2 * s)).reshape(v**s, -1)
    if k >= 2:
        pairs = pairs[1:, 1:].double()
        off = pairs[~torch.eye(others, dtype=torch.bool)]
        chi2 = float(((off - n / len(off)) ** 2 / (n / len(off))).sum())
        assert chi2 < len(off) + 5 * math.sqrt(2 * len(off)) and pairs.trace() == 0


def test_seed_decides_everything():
    def run(seed):
        rng = torch.Generator().manual_seed(seed)
        leaves = population.leaf_sampler(hl.MaskNoise(v=4), 0.3)
        return population.density_evolution(leaves, m=2, s=2, L=3, size=50, pools=2, generator=rng).marginal

    assert torch.equal(run(0), run(0)) and not torch.equal(run(0), run(1))


def test_one_rule_and_all_rules():
    rng = torch.Generator().manual_seed(0)
    one = population.density_evolution(
        population.leaf_sampler(hl.EpsilonNoise(6), 0.9), m=1, s=2, L=12, size=400, generator=rng
    )
    assert one.marginal[:, -1].mean() > 0.99  # below m_KS the class is kept
    every = population.density_evolution(
        population.leaf_sampler(hl.EpsilonNoise(4), 0.5), m=4, s=2, L=12, size=400, generator=rng
    )
    assert every.up[:, -1].mean() == pytest.approx(0.25, abs=0.02)  # all tuples are allowed: no correction


def test_errors():
    rng = torch.Generator().manual_seed(0)
    leaves = population.leaf_sampler(hl.EpsilonNoise(4), 0.5)
    with pytest.raises(ValueError, match="size"):
        population.density_evolution(leaves, m=2, s=2, L=2, size=0, generator=rng)
    with pytest.raises(ValueError, match="m ≤"):
        population.density_evolution(leaves, m=5, s=2, L=2, generator=rng)
    with pytest.raises(ValueError, match="expected a noise process as EpsilonNoise"):
        population.leaf_sampler(None, 0.5)(3, rng)
    with pytest.raises(ValueError, match="excl"):
        population.density_evolution(lambda n, g: torch.zeros(n, 4, dtype=F64), m=2, s=2, L=2, generator=rng)
