"""Enumeration against an independent one (itertools) and against inference, and its refusal of what is large."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hierlib as hl
from hierlib.enumeration import all_data, another_rule, brute_force, data_per_class, derivation_weights
from tests.grammars import grammars


def derivations(g):
    """Every derivation as {(level, node): symbol}, written with nothing but itertools and the meaning of a rule."""
    nodes = [(level, i) for level in range(g.L, 0, -1) for i in range(g.num_nodes(level))]
    for root, *choices in itertools.product(range(g.num_classes), *[range(g.m)] * len(nodes)):
        x = {(g.L, 0): root}
        for (level, i), which in zip(nodes, choices, strict=True):
            for k, symbol in enumerate(g.rules[level - 1][x[level, i], which].tolist()):
                x[level - 1, g.s * i + k] = symbol
        yield x


@settings(max_examples=30, deadline=None)
@given(g=grammars(max_data=300), seed=st.integers(0, 99))
def test_agrees_with_itertools(g, seed):
    x, wanted = all_data(g), list(derivations(g))
    assert len(x[0]) == len(wanted) == g.num_classes * data_per_class(g.m, g.s, g.L)
    got = [{(l, i): a for l, row in enumerate(rows) for i, a in enumerate(row.tolist())} for rows in zip(*x)]
    keys = sorted(wanted[0])
    assert sorted([y[k] for k in keys] for y in got) == sorted([y[k] for k in keys] for y in wanted)

    evidence = torch.rand(1, g.d, g.v, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    prior = torch.arange(1.0, g.num_classes + 1, dtype=torch.float64)
    for class_prior in (None, prior):
        p = (torch.ones(g.num_classes) if class_prior is None else prior).double()
        p = p / p.sum() / data_per_class(g.m, g.s, g.L)
        marginals, log_evidence = brute_force(g, evidence, class_prior=class_prior)
        total, sums = 0.0, [torch.zeros_like(m[0]) for m in marginals]
        for y in wanted:
            weight = p[y[g.L, 0]] * torch.stack([evidence[0, i, y[0, i]] for i in range(g.d)]).prod()
            total += weight
            for (level, i), symbol in y.items():
                sums[level][i, symbol] += weight
        torch.testing.assert_close(log_evidence[0], total.log(), rtol=0, atol=1e-12)
        for marginal, level in zip(marginals, sums, strict=True):
            torch.testing.assert_close(marginal[0], level / total, rtol=0, atol=1e-12)


def test_derivations_of_a_class_stand_together_and_weights_are_its_prior():
    g = hl.random_grammar(v=4, m=2, s=2, L=3, num_classes=3, generator=torch.Generator().manual_seed(1))
    x = all_data(g)
    assert x[3][:, 0].tolist() == [c for c in range(3) for _ in range(128)]
    weights = derivation_weights(g, torch.ones(1, 8, 4, dtype=torch.float64), class_prior=[1.0, 1.0, 2.0])
    torch.testing.assert_close(weights[0].reshape(3, 128).sum(1), torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64))


def test_refuses_what_is_large_and_what_is_impossible():
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match="at most 511 derivations"):
        all_data(g, limit=511)
    with pytest.raises(ValueError, match="at least one possible derivation"):
        brute_force(g, torch.zeros(1, 8, 4))


@settings(max_examples=30, deadline=None)
@given(g=grammars(max_data=600))
def test_another_rule_changes_one_node_and_what_is_below_it(g):
    found = another_rule(g)
    assert all(torch.equal(a, b[found.number]) for a, b in zip(found.before, all_data(g)))
    assert all(torch.equal(a, b[0]) for a, b in zip(found.after, hl.parse(g, found.after[0][None])))
    moved = [(a != b) for a, b in zip(found.before, found.after)]
    assert int(moved[0].sum()) == found.changed and not any(level.any() for level in moved[found.level :])
    for level in range(found.level):
        assert not moved[level][g.s ** (found.level - level) :].any()  # nothing but what is below the first node


@pytest.mark.parametrize("judge", [brute_force, derivation_weights, hl.infer], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("value", "prior", "message"),
    [
        (float("nan"), None, "finite non-negative numbers; datum 1 has others"),
        (float("inf"), None, "finite non-negative numbers; datum 1 has others"),
        (-0.25, None, "finite non-negative numbers; datum 1 has others"),
        (1.0, [0.0, 0, 0], "class_prior: expected finite non-negative numbers, not all zero; row 0"),
        (1.0, [1.0, -0.5, 1], "class_prior: expected finite non-negative numbers, not all zero; row 0"),
        (1.0, [1.0, 1, 1, 1], r"class_prior: expected shape \(3,\) or \(2, 3\), got \(4,\)"),
    ],
)
def test_the_judge_refuses_what_inference_refuses(judge, value, prior, message):
    g = hl.random_grammar(v=4, m=1, s=3, L=2, num_classes=3, generator=torch.Generator().manual_seed(2))
    evidence = torch.ones(2, 9, 4, dtype=torch.float64)
    evidence[1, 5, :2] = value
    with pytest.raises(ValueError, match=message):
        judge(g, evidence, class_prior=prior)


def test_a_prior_of_each_datum_is_its_own():
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=torch.Generator().manual_seed(3))
    evidence = torch.rand(3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    evidence[2] *= 1e-90  # out of the range of the weights: its logarithms are summed
    prior = torch.tensor([[1.0, 2, 3, 4], [0, 0, 1, 0], [5, 1, 1, 0]], dtype=torch.float64)
    marginals, log_evidence = brute_force(g, evidence, class_prior=prior)
    b = hl.infer(g, evidence, class_prior=prior)
    torch.testing.assert_close(log_evidence, b.log_evidence, rtol=1e-12, atol=0)
    for mine, other in zip(marginals, b.marginals, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)
