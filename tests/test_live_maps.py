"""The formulas of the live figures of the map, run in node, against hierlib."""

import numpy as np
import pytest
import torch

import hierlib as hl
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


def test_the_closed_forms_of_uneven_rules():
    """What is stable at chance and at certainty, and the map averaged over the rule that was used."""
    script = """
      const M = Engine.meanfield;
      return data.map(([v, m, s, a]) => [M.gainAtChance(v, m, s, a), M.gainAtCertainty(v, m, s, a),
        [1 / v, 0.3, 0.9, 1].map(M.meanUpwardMap(v, m, s, a))]);"""
    cases = [(v, m, s, a) for v, m, s in CASES for a in (0, 0.3, 1, 1.7)] + [(40, 30_000, 4, 1.2), (40, 30_000, 4, 0.5)]
    for (v, m, s, a), (chance, certainty, mean) in zip(cases, node(script, cases), strict=True):
        w = hl.zipf(m, a).numpy()
        wanted = [mf.gain_at_chance(w, v, s), mf.gain_at_certainty(w, v, s)]
        assert [chance, certainty] == pytest.approx(wanted, rel=1e-9), (v, m, s, a)
        for p, found in zip((1 / v, 0.3, 0.9, 1), mean, strict=True):
            u = (1 - p**s) / (v**s - 1)
            each = (w * p**s + (1 - w) * u) / (w * p**s + (v - w) * u)
            assert found == pytest.approx((w * each).sum(), abs=1e-6), (v, m, s, a, p)
            if a == 0:
                assert found == pytest.approx(float(mf.upward_map(p, v, m, s)), abs=1e-12)


def test_the_edges_of_the_plane_of_uneven_rules():
    sizes = [(32, 2, 2.0, 32), (32, 2, 1.0, 32), (16, 3, 1.5, 180), (8, 4, 0.6, 290), (3, 5, 2.0, 60)]
    script = """return data.map(([v, s, a, top]) => {
      const edges = T.edges({ v, s, a, top });
      return [edges.always, edges.certain, T.rules({ top, ...edges })];
    });"""
    for (v, s, a, top), (always, certain, rules) in zip(sizes, node(script, sizes, "map-pool.js"), strict=True):
        laws = [hl.zipf(m, a).numpy() for m in range(1, top + 1)]
        assert always == sum(mf.gain_at_chance(w, v, s) > 1 for w in laws), (v, s, a)
        assert certain == sum(mf.gain_at_certainty(w, v, s) < 1 for w in laws), (v, s, a)
        assert len({*rules}) == len(rules) and all(always < m <= top for m in rules)
        assert {m for m in (always + 1, certain, certain + 1, top) if always < m <= top} <= {*rules}


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
