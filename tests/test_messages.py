"""Averages of messages against a computation by hand, one datum at a time."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.experiments import messages
from hierlib.experiments.messages import belief_in, message_curves
from hierlib.theory import meanfield
from hierlib.theory.population import planted_rules


@pytest.mark.parametrize("chunk", [1, 2**22])
def test_means_are_those_of_single_data(chunk, monkeypatch):
    monkeypatch.setattr(messages, "CHUNK", chunk)
    size, eps = {"v": 6, "m": 3, "s": 2, "L": 3}, [0.1, 0.5, 0.9]
    found = message_curves(eps, **size, draws=2, data=3, generator=torch.Generator().manual_seed(5))
    rng = torch.Generator().manual_seed(5)
    for draw in range(2):
        g = hl.random_grammar(**size, generator=rng)
        x = hl.sample(g, 3, generator=rng)
        for i, noise in enumerate(eps):
            b = hl.infer(g, hl.epsilon_evidence(x[0], eps=noise, v=g.v, dtype=torch.float64))
            for kind, name in zip(b[:3], ("up", "down", "marginal")):
                expected = [
                    sum(float(kind[l][n, j, x[l][n, j]]) for n in range(3) for j in range(2 ** (3 - l)))
                    / (3 * 2 ** (3 - l))
                    for l in range(4)
                ]
                assert getattr(found, name)[draw, i].tolist() == pytest.approx(expected, abs=2e-6)


def test_scatter_is_over_all_nodes():
    size = {"v": 5, "m": 3, "s": 2, "L": 3}
    found = message_curves([0.4], **size, draws=2, data=3, generator=torch.Generator().manual_seed(1))
    rng, nodes = torch.Generator().manual_seed(1), []
    for _ in range(2):
        g = hl.random_grammar(**size, generator=rng)
        x = hl.sample(g, 3, generator=rng)
        b = hl.infer(g, hl.epsilon_evidence(x[0], eps=0.4, v=g.v, dtype=torch.float64))
        nodes.append(torch.stack([belief_in(kind[1], x[1]).flatten() for kind in b[:3]]))
    assert found.sd[:, 0, 1].tolist() == pytest.approx(torch.cat(nodes, 1).std(1, correction=0).tolist(), abs=1e-6)


def test_noiseless_messages_are_certain():
    found = message_curves([0.0], v=8, m=2, s=3, L=2, draws=3, data=2, generator=torch.Generator().manual_seed(0))
    assert (found.up == 1).all() and found.marginal == pytest.approx(torch.ones(3, 1, 3).double())
    assert (found.down[..., :-1] < 1).any()  # synonyms: the parent does not fix the child


def test_belief_in_picks_the_symbol():
    belief = torch.arange(24.0).reshape(2, 3, 4)
    assert belief_in(belief, torch.tensor([[0, 1, 2], [3, 0, 1]])).tolist() == [[0, 5, 10], [15, 16, 21]]


def test_largest_gap_looks_where_it_is_told():
    found = np.zeros((4, 3, 3)) + np.array([-0.1, 0.1, -0.1, 0.1])[:, None, None]
    theory = np.zeros((3, 3))
    theory[0, 2], theory[1, 1], theory[2, 0] = 5, -3, 1
    eps = [0.1, 0.2, 0.3]
    everywhere = messages.largest_gap(found, theory, eps, where=[True] * 3)
    assert (everywhere.size, everywhere.eps, everywhere.level) == (5, 0.1, 2)
    assert everywhere.error == pytest.approx(0.1 / 3**0.5) and everywhere.within[0] == 5 - everywhere.error
    assert everywhere.interval.hi == pytest.approx(5 + 1.96 * everywhere.error)
    ends = messages.largest_gap(found, theory, eps, where=[False, True, True], levels=[0, 2])
    assert (ends.size, ends.eps, ends.level) == (1, 0.3, 0)
    assert messages.largest_gap(found, theory, eps, where=[False] * 3) is None


def test_node_beliefs_are_those_of_the_messages():
    size = dict(v=4, m=2, s=2, L=3)
    found = messages.node_beliefs(0.4, **size, draws=5, data=2, generator=torch.Generator().manual_seed(3))
    assert [each.up.shape for each in found] == [(10, 8), (10, 4), (10, 2)]
    same = messages.message_curves([0.4], **size, draws=5, data=2, generator=torch.Generator().manual_seed(3))
    for l, each in enumerate(found):
        for nodes, rows in zip(each, (same.up, same.down, same.marginal), strict=True):
            torch.testing.assert_close(nodes.double().reshape(5, -1).mean(1), rows[:, 0, l], rtol=0, atol=1e-6)


def test_kinds_of_belief_are_compared_with_their_own_theory():
    size, eps = dict(v=8, m=3, s=2, L=3), [0.1, 0.6]
    curves = message_curves(eps, **size, draws=12, data=3, generator=torch.Generator().manual_seed(2))
    theory = meanfield.solve(eps, **size)
    found = messages.compared(curves, theory, seed=4)
    assert list(found) == ["up", "down", "marginal"]
    for i, (each, rows, expected) in enumerate(zip(found.values(), curves[1:4], theory, strict=True)):
        assert each.mean == pytest.approx(rows.mean(0).numpy()) and (each.theory == expected).all()
        assert each.gap == pytest.approx(rows.mean(0).numpy() - expected)
        assert each.standard_error == pytest.approx((rows.std(0) / 12**0.5).numpy())
        assert (each.sd_over_nodes == curves.sd[i].numpy()).all()
        assert (each.found.lo <= each.mean).all() and (each.mean <= each.found.hi).all()


def test_synonyms_are_those_of_the_true_parent_that_share_the_siblings():
    rules = planted_rules(500, v=5, m=4, s=2, generator=torch.Generator().manual_seed(1))
    counted = (rules[:, 0, :, 1] == 0).sum(1) - 1  # all true symbols are 0; one of the tuples is the true one
    torch.testing.assert_close(messages.synonym_counts(rules), counted.double(), rtol=0, atol=1e-12)
    assert counted.unique().tolist() == [0, 1, 2]


def test_what_a_table_of_rules_sends_down():
    rules = torch.tensor([[[[0, 0], [1, 2]], [[0, 1], [2, 0]], [[1, 1], [2, 2]]]])  # (1, 3, 2, 2): one table
    q, p = 0.6, 0.5
    found = messages.sent_down(rules, q, p)[0].tolist()
    wrong_parent, wrong_sibling = 0.2, 0.25
    assert found == pytest.approx(
        [q * p + wrong_parent * wrong_sibling, (q + wrong_parent) * wrong_sibling, wrong_parent * (p + wrong_sibling)]
    )


def test_averages_over_tables_are_compared_with_formulas():
    v, m, s = 4, 3, 2
    rules = planted_rules(4000, v=v, m=m, s=s, generator=torch.Generator().manual_seed(0))
    f = (m * v - 1) / (v**s - 1)

    def formulas(q, p, v, m, s, off=0.0):
        c = (m - q) / (v**s - 1)
        at_true = q * p ** (s - 1) + c * (1 - p ** (s - 1)) + off
        return at_true, c, at_true + (v - 1) * c - off, at_true / (at_true + (v - 1) * c)

    def count(k):
        return f * (v - 1) ** k

    right = messages.compare_averages(rules, count, formulas)
    assert right.z.shape == (2 * s + 3 * right.ratio.value.size,) and right.z.max() < 5
    assert right.ratio.value.shape == (len(right.q), len(right.p)) and right.ratio.value.max() > 0.005
    assert right.highest.value == right.ratio.value.max() and right.highest.hi in right.ratio.hi
    assert messages.compare_averages(rules, count, lambda *x: formulas(*x, off=0.05)).z.max() > 10
    assert messages.compare_averages(rules, lambda k: count(k) + 0.2, formulas).z.max() > 10
