"""The formulas of the live figures of the map, run in node, against hierlib."""

import numpy as np
import pytest
import torch

from hierlib.theory import meanfield as mf
from hierlib.theory.population import planted_rules

from .engine import node

CASES = [
    (32, 8, 2),
    (32, 1, 2),
    (32, 31, 2),
    (16, 4, 2),
    (8, 2, 4),
    (8, 4, 4),
    (5, 25, 3),
    (2, 2, 3),
    (64, 300, 3),
]


def test_the_map_and_its_phases():
    script = """
      const M = Engine.meanfield;
      return data.map(([v, m, s]) => ({
        F: [0, 0.1, 0.5, 0.9, 1].map((p) => M.upwardMap(p, v, m, s)), phase: M.phase(v, m, s), mKS: M.m_KS(v, s),
        mC: M.m_c(v, s), star: Math.min(9, M.fixedPoints(v, m, s)[1]), noise: M.criticalNoise(v, m, s),
        tree: [0, 0.3, 0.8, 1].map((eps) => M.solve(eps, v, m, s, 7)) }));"""
    for (v, m, s), found in zip(CASES, node(script, CASES), strict=True):
        assert found["F"] == pytest.approx(mf.upward_map([0, 0.1, 0.5, 0.9, 1], v, m, s).tolist(), abs=1e-12)
        assert found["phase"] == mf.phase(v, m, s)
        assert [found["mKS"], found["mC"]] == pytest.approx([mf.m_KS(v, s), mf.m_c(v, s)], rel=1e-12)
        assert found["star"] == pytest.approx(min(9, mf.fixed_points(v, m, s)[1]), abs=1e-9)
        assert found["noise"] == pytest.approx(mf.critical_noise(v, m, s), abs=1e-9)
        for eps, tree in zip([0, 0.3, 0.8, 1], found["tree"], strict=True):
            for name, expected in mf.solve(eps, v, m, s, 7)._asdict().items():
                assert tree[name] == pytest.approx(expected.tolist(), abs=1e-12), (name, eps)


@pytest.mark.parametrize("v, m, s", [(8, 3, 2), (5, 4, 3)])
def test_the_cloud_of_rule_tables(v, m, s):
    rules = planted_rules(20, v=v, m=m, s=s, generator=torch.Generator().manual_seed(0))
    wrong = (rules != 0).sum(-1).numpy()
    shells = np.stack([(wrong == k).sum(-1) for k in range(1, s + 1)], -1)  # (draws, v, s)
    data = {"own": shells[:, 0].tolist(), "all": shells.sum(1).tolist()}
    for p in (1 / v, 0.37, 1.0):
        belief = p ** (s - wrong) * ((1 - p) / (v - 1)) ** wrong
        expected = belief[:, 0].sum(-1) / belief.sum((1, 2))
        script = (
            f"return [T.messages({p}, {v}, {s}, data.own, data.all), Engine.meanfield.upwardMap({p}, {v}, {m}, {s})];"
        )
        found, annealed = node(script, data, "cloud.js")
        assert found == pytest.approx(expected.tolist(), abs=1e-12)
        assert annealed == pytest.approx(float(mf.upward_map(p, v, m, s)), abs=1e-12)
