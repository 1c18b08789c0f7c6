"""The Random Hierarchy Model: rules without replacement, data, unique parses, clear errors (section 3)."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import hierlib as hl
from hierlib.enumeration import all_data, data_per_class
from hierlib.experiments.heard import heard
from hierlib.experiments.uturns import uturn
from hierlib.theory.population import density_evolution, leaf_sampler
from tests.grammars import grammars


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@given(grammars(), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_sample_then_parse_gives_every_level_back(g, seed):
    x = hl.sample(g, 7, generator=rng(seed))
    assert [tuple(level.shape) for level in x] == [(7, g.s ** (g.L - l)) for l in range(g.L + 1)]
    for a, b in zip(hl.parse(g, x[0]), x, strict=True):
        assert torch.equal(a, b)


@given(grammars())
@settings(max_examples=60, deadline=None)
def test_no_string_has_two_parses_and_counts_are_the_papers(g):
    """m^((d-1)/(s-1)) strings a class, all different, within a class and between classes."""
    x = all_data(g)
    assert len(x[0]) == g.num_classes * data_per_class(g.m, g.s, g.L)
    assert len(x[0].unique(dim=0)) == len(x[0])


@pytest.mark.parametrize(
    ("v", "s", "m"), [(2**20, 3, 5), (256, 4, 8), (32, 2, 32), (2, 2, 2), (9, 2, 4), (3_000_000_000, 2, 1)]
)
def test_tuples_are_distinct_for_huge_and_for_full_alphabets(v, s, m):
    if v > 10**6:
        # one level and few classes, so that only a few rules are drawn
        g = hl.random_grammar(v=v, m=m, s=s, L=1, num_classes=1000, generator=rng())
    else:
        g = hl.random_grammar(v=v, m=m, s=s, L=2, generator=rng())
    for rule in g.rules:
        assert len(rule.reshape(-1, s).unique(dim=0)) == rule.shape[0] * m


@pytest.mark.slow
@pytest.mark.parametrize(("v", "m", "s"), [(3, 1, 2), (3, 2, 2), (2, 3, 3)])  # dense and sparse draws
def test_tuples_and_pairs_of_tuples_are_uniform(v, m, s):
    """χ² over 10 fixed seeds: every tuple, and every ordered pair of tuples, is equally likely."""
    draws, n = 300, v**s
    for seed in range(10):
        generator, first, pairs = rng(seed), torch.zeros(n), torch.zeros(n, n)
        for _ in range(draws):
            g = hl.random_grammar(v=v, m=m, s=s, L=1, generator=generator)
            codes = (g.rules[0].reshape(-1, s) * v ** torch.arange(s)).sum(-1)
            first[codes[0]] += 1
            pairs[codes[0], codes[-1]] += 1
        assert pairs.diagonal().sum() == 0
        off = pairs[~torch.eye(n, dtype=bool)]
        assert stats.chisquare(first.numpy()).pvalue > 1e-3 / 20
        if draws / len(off) > 3:
            assert stats.chisquare(off.numpy()).pvalue > 1e-3 / 20


def test_class_and_rules_are_uniform_in_data():
    g = hl.random_grammar(v=4, m=3, s=2, L=1, num_classes=5, generator=rng())
    x = hl.sample(g, 15_000, generator=rng(1))
    _, counts = x[0].unique(dim=0, return_counts=True)
    assert len(counts) == 15
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_every_string_is_made_when_m_is_largest():
    g = hl.random_grammar(v=3, m=3, s=2, L=2, generator=rng())
    x = all_data(g)
    assert len(x[0].unique(dim=0)) == 3**4


def test_classes_can_be_chosen():
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    assert hl.sample(g, 3, generator=rng(), classes=[2, 0, 1])[-1][:, 0].tolist() == [2, 0, 1]


def test_same_seed_same_grammar_and_data():
    a, b = (hl.random_grammar(v=8, m=3, s=3, L=3, generator=rng(5)) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a.rules, b.rules, strict=True))
    assert torch.equal(hl.sample(a, 4, generator=rng(1))[0], hl.sample(b, 4, generator=rng(1))[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(m=33), r"m ≤ v\^\(s-1\) = 32"),
        (dict(m=0), "m: expected at least 1"),
        (dict(v=1), "v: expected at least 2"),
        (dict(s=1), "s: expected at least 2"),
        (dict(L=0), "L: expected at least 1"),
        (dict(v=32.0), "v: expected an int"),
        (dict(s=True), "s: expected an int"),
        (dict(num_classes=129), "distinct tuples at the root"),
        (dict(v=2**32, m=1), r"v\^s < 2\^63"),
        (dict(v=2, s=63, m=1), r"v\^s < 2\^63"),
        (dict(L=50), "leaves"),
    ],
)
def test_a_grammar_that_cannot_be_is_refused(change, message):
    parameters = dict(v=32, m=8, s=2, L=3, num_classes=None) | change
    with pytest.raises(ValueError, match=message):
        hl.random_grammar(**parameters, generator=rng())


def test_rules_are_checked():
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    twice = g.rules[0].clone()
    twice[0, 0] = twice[1, 0]
    for rules, message in [
        ((twice, g.rules[1]), "stands twice"),
        (g.rules[:1], "one rule tensor per level"),
        ((g.rules[0].float(), g.rules[1]), "expected int64"),
        ((g.rules[0] + 4, g.rules[1]), "expected symbols in 0…3"),
    ]:
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(g, rules=rules)


def test_parse_names_the_datum():
    g = hl.random_grammar(v=8, m=2, s=2, L=3, generator=rng())
    x = hl.sample(g, 5, generator=rng())[0].clone()
    allowed = {tuple(t) for t in g.rules[0].reshape(-1, 2).tolist()}
    x[3, :2] = torch.tensor(next((a, b) for a in range(8) for b in range(8) if (a, b) not in allowed))
    with pytest.raises(ValueError, match=r"datum 3 is not a string of this grammar .*level 0"):
        hl.parse(g, x)
    x[1, 0] = 8
    with pytest.raises(ValueError, match="datum 1 has others"):
        hl.parse(g, x)
    with pytest.raises(ValueError, match=r"expected shape \(n, 8\)"):
        hl.parse(g, x[:, :4])
    for words in (["abcdabcd"], [[0, 1], [2]]):
        with pytest.raises(ValueError, match="number the letters of strings by their place in an alphabet"):
            hl.parse(g, words)
    with pytest.raises(ValueError, match="expected integer symbols"):
        hl.parse(g, x.double())


def test_sample_refuses_bad_input():
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    with pytest.raises(ValueError, match="n: expected at least 1, got 0"):
        hl.sample(g, 0, generator=rng())
    for classes in ([4], [0, 1], [-1]):
        with pytest.raises(ValueError, match="classes: expected 1 whole numbers in 0…3"):
            hl.sample(g, 1, generator=rng(), classes=classes)


def test_numbers_that_are_not_whole_are_refused():
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    for classes in ([1.9, 0.99], torch.tensor([1.0, 2.0]), [True, False], torch.tensor([1 + 0j, 2])):
        with pytest.raises(ValueError, match="classes: expected 2 whole numbers in 0…3, got"):
            hl.sample(g, 2, generator=rng(), classes=classes)
    assert hl.sample(g, 2, generator=rng(), classes=torch.tensor([3, 1], dtype=torch.uint8))[2].tolist() == [[3], [1]]
    for n in (2.0, "2", None, True):
        with pytest.raises(ValueError, match="n: expected a whole number, got"):
            hl.sample(g, n, generator=rng())
    assert len(hl.sample(g, np.int64(2), generator=rng())[0]) == 2
    for num_samples in (1.5, 2.0, None):
        with pytest.raises(ValueError, match="num_samples: expected a whole number, got"):
            hl.posterior_sample(g, torch.ones(1, 4, 4), num_samples=num_samples, generator=rng())
    with pytest.raises(ValueError, match=r"expected integer symbols, got torch\.complex64"):
        hl.parse(g, torch.zeros(1, 4, dtype=torch.complex64))


def test_without_a_generator():
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    x = torch.zeros(2, 4, dtype=torch.int64)
    for call in (
        lambda: hl.random_grammar(v=4, m=2, s=2, L=2, generator=None),
        lambda: hl.sample(g, 2, generator=None),
        lambda: hl.posterior_sample(g, torch.ones(1, 4, 4), generator=0),
        lambda: hl.UniformNoise(4).corrupt(x, 0.1, generator=np.random.default_rng()),
        lambda: uturn(g, x, hl.MaskNoise(4), 0.1, generator=None),
        lambda: heard(hl.MaskNoise(4), [0.1], 0.5, v=4, m=2, s=2, L=2, draws=1, generator=None),
        lambda: density_evolution(leaf_sampler(hl.MaskNoise(4), 0.1), m=2, s=2, L=2, size=9, pools=1, generator=None),
    ):
        with pytest.raises(ValueError, match=r"generator: expected a torch\.Generator"):
            call()


def test_no_data_have_no_symbols():
    g = hl.random_grammar(v=4, m=2, s=3, L=2, generator=rng())
    assert [tuple(x.shape) for x in hl.parse(g, torch.zeros(0, 9, dtype=torch.int64))] == [(0, 9), (0, 3), (0, 1)]


def test_a_device_without_numbers():
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    with pytest.raises(ValueError, match=r"the grammar's device, cpu, got meta, which holds no numbers$"):
        hl.infer(g, torch.ones(1, 4, 4, device="meta"))
    with pytest.raises(ValueError, match="a device that holds numbers, as cpu, got meta"):
        g.to("meta")
