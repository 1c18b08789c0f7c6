"""Uneven rules in the engine of the live figures: weights, rules that never occur, and the pool of beliefs."""

import pytest
import torch

import hierlib as hl
from hierlib.theory import population

pytestmark = pytest.mark.book  # they need a browser


def test_weights_are_those_of_hierlib_and_change_no_tuple(engine):
    script = """
      const size = { v: 6, m: 3, s: 2, L: 3, numClasses: 4 }, w = E.zipf(3, 1.5);
      const own = [[0.5, 0.5, 0], [0, 1, 0], [0.2, 0.3, 0.5], [1, 0, 0]];
      const draw = (weights) => E.randomGrammar({ ...size, weights, generator: new E.Generator(1) });
      const [plain, even, all, each] = [undefined, E.zipf(3, 0), w, [w, [0.5, 0.25, 0.25], own]].map(draw);
      const never = E.sample(each, 2000, { generator: new E.Generator(2) });
      const laws = [[4, 1], [8, 2], [5, 0], [1, 3], [30, -0.5]].map(([m, a]) => [...E.zipf(m, a)]);
      return [laws, plain, even, all, each, [...never[3]], [...never[2]]];"""
    laws, plain, even, *uneven, classes, children = engine(script)
    wanted = [hl.zipf(m, a).tolist() for m, a in ((4, 1), (8, 2), (5, 0), (1, 3), (30, -0.5))]
    assert laws == [pytest.approx(law, rel=1e-12) for law in wanted] and laws[2] == [1 / 5] * 5
    assert plain == even and "weights" not in plain and all(g["rules"] == plain["rules"] for g in uneven)
    tables = [[torch.tensor(level, dtype=torch.float64) for level in g["weights"]] for g in uneven]
    again = [
        hl.Grammar(**g | {"rules": [torch.tensor(level) for level in g["rules"]], "weights": weights})
        for g, weights in zip(uneven, tables, strict=True)
    ]
    assert [tuple(table.shape) for table in again[0].weights] == [(6, 3), (6, 3), (4, 3)]
    assert torch.equal(tables[1][1], torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).expand(6, 3))
    only = plain["rules"][2][3][0]  # what class 3 is always written as
    assert {(children[2 * i], children[2 * i + 1]) for i, y in enumerate(classes) if y == 3} == {tuple(only)}


@pytest.mark.parametrize("dtype", ["Float32Array", "Float64Array"])
def test_a_rule_of_weight_zero_is_none(engine, dtype):
    script = f"""
      const rules = [[[0, 1], [1, 2], [2, 2]], [[1, 0], [0, 2], [2, 1]], [[0, 0], [1, 1], [2, 0]]];
      const [w, less] = [[0.75, 0.25, 0], [0.75, 0.25]];
      const [g, without] = [rules, rules.map((each) => each.slice(0, 2))].map((one, k) =>
        new E.Grammar({{ v: 3, m: 3 - k, s: 2, L: 3, rules: [one, one, one], weights: [w, less][k] }}));
      const evidence = {dtype}.from({{ length: 24 }}, (_, k) => 0.1 + ((7 * k) % 11));
      const [a, b] = [g, without].map((each) => E.infer(each, evidence));
      const off = (kind) => a[kind].map((level, l) => [...level.map((p, i) => p - b[kind][l][i])]);
      return [...["up", "down", "marginals"].map(off), [[a.logEvidence[0] - b.logEvidence[0]]]];"""
    assert max(abs(p) for kind in engine(script) for level in kind for p in level) < 1e-6


def test_the_pool_of_beliefs_is_that_of_hierlib(engine):
    script = """
      const make = (onlyUp) => {
        const options = { ...data, size: 2 ** 14, onlyUp, generator: new E.Generator(0) };
        return E.population.poolOfBeliefs(E.zipf(data.m, data.a), options);
      };
      const [whole, half] = [false, true].map(make);
      return data.eps.map((eps) => [...["up", "down", "marginal"].map((kind) => whole(eps)[kind]), half(eps).up]);"""
    for v, m, s, L, a in (
        (32, 8, 2, 10, 1.0),
        (32, 32, 2, 10, 2.0),
        (8, 12, 3, 5, 0.5),
        (8, 3, 2, 4, 0.0),
        (5, 1, 2, 3, 1.0),
    ):
        eps = [0.0, 0.2, 0.6, 0.95]
        mine = torch.tensor(engine(script, {"v": v, "m": m, "s": s, "L": L, "a": a, "eps": eps}), dtype=torch.float64)
        rng = torch.Generator().manual_seed(0)
        theirs = population.pool_of_beliefs(eps, hl.zipf(m, a), v=v, s=s, L=L, size=2**16, generator=rng)
        assert torch.equal(mine[:, 0], mine[:, 3])
        for k, wanted in enumerate(theirs):
            assert (mine[:, k] - wanted).abs().max() < 0.02, (v, m, a)
