"""No function takes rules or classes for equally probable that are not: each is judged by a list of all, or refuses.

What reads the rules or their number itself stands in a table below, by its name. All others only hand the grammar on
to these; a function that does neither fails here.
"""

import ast
import dataclasses
import itertools
import math

import pytest
import torch

import hierlib as hl
from hierlib import enumeration, filtered, language, probability
from hierlib.experiments import changes, directions, fragments, observables, spectrum, transitions
from hierlib.networks import generation, haste
from tests.browser import ROOT
from tests.grammars import law_of, uneven

SIZES = dict(v=4, m=2, s=2, L=3, num_classes=3)
EQUAL = dict(rtol=0, atol=1e-10)
SHAPE = {"v", "s", "L", "d", "device", "num_nodes", "num_symbols", "to", "written"}  # what weights do not change


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def g():
    return uneven(hl.random_grammar(**SIZES, generator=rng()), 1)


@pytest.fixture(scope="module")
def law(g):
    return law_of(g)


def hot(x, k):
    return torch.nn.functional.one_hot(x, k).double()


def entropy(p):
    return float(torch.special.entr(p).sum())


def of_rows(rows, p):
    """The law of what rows (N, k) of symbols are."""
    _, which = rows.unique(dim=0, return_inverse=True)
    return torch.zeros(int(which.max()) + 1, dtype=p.dtype).index_add_(0, which, p)


def prior_of_each_level(g, x, p):
    return [torch.einsum("n,nia->ia", p, hot(level, g.num_symbols(l))) for l, level in enumerate(x)]


def same(found, exact):
    for mine, true in zip(found, exact, strict=True):
        torch.testing.assert_close(mine, true, **EQUAL)


def marginals(g, x, p):
    same(probability.prior_marginals(g), prior_of_each_level(g, x, p))
    every = torch.eye(g.num_classes, dtype=torch.float64)
    of_class = [p * (x[-1][:, 0] == c) / p[x[-1][:, 0] == c].sum() for c in range(g.num_classes)]
    found = probability.symbol_probabilities(g, every)
    for c, part in enumerate(of_class):
        same([level[c] for level in found], prior_of_each_level(g, x, part))


def entropies(g, x, p):
    """H(level l) = H(class) + the rules of all levels above it."""
    whole = [entropy(of_rows(level, p)) for level in x]
    each = [a - b for a, b in itertools.pairwise(whole)]
    assert probability.rule_entropies(g) == pytest.approx(each, abs=1e-10)
    assert probability.entropy(g) == pytest.approx(whole[0], abs=1e-10)


def probabilities(g, x, p):
    same([hl.log_probability(g, x[0])], [p.log()])
    assert hl.log_probability(g, (x[0][:1] + 1) % g.v).exp() == p[(x[0] == (x[0][:1] + 1) % g.v).all(1)].sum()
    own = enumeration.derivation_weights(g, torch.ones(1, g.d, g.v, dtype=torch.float64), x=x)[0]
    same([own], [p])


def leaf_pairs(g, x, p):
    joint = lambda i, j: torch.einsum("n,na,nb->ab", p, hot(x[0][:, i], g.v), hot(x[0][:, j], g.v))  # noqa: E731
    for i, j in ((0, 1), (1, 6), (5, 2)):
        same([observables.leaf_pair_distribution(g, i, j)], [joint(i, j)])
    for level in (1, 2, 3):
        found, two = language.leaf_covariance(g, level), joint(0, g.s ** (level - 1))
        same([found], [two - two.sum(1, keepdim=True) * two.sum(0)])


def language_of(g, x, p):
    found = language.mean_place_entropies(g)
    blocks = [x[0].unflatten(1, (-1, g.s**level)) for level in range(g.L + 1)]
    exact = [sum(entropy(of_rows(b[:, i], p)) for i in range(b.shape[1])) / g.d for b in blocks]
    assert found.tolist() == pytest.approx(exact, abs=1e-10)
    chain = (p[:, None] * language.place_entropies(g, x[0])).sum()
    assert float(chain) == pytest.approx(entropy(p), abs=1e-9)
    known = [entropy(of_rows(x[0][:, 2:6], p)) - entropy(of_rows(x[0][:, 2:5], p))]
    assert [float(p @ language.window_entropies(g, x[0], [5], [3])[:, 0, 0])] == pytest.approx(known, abs=1e-9)
    last = [float((p @ level).mean()) for level in language.last_leaf_entropies(g, x[0])]
    rest = [
        sum(entropy(of_rows(b[:, i], p)) - entropy(of_rows(b[:, i, :-1], p)) if b.shape[2] > 1 else
            entropy(of_rows(b[:, i], p)) for i in range(b.shape[1])) / b.shape[1] for b in blocks
    ]  # fmt: skip
    assert last == pytest.approx(rest, abs=1e-9)


def worlds(g, x, p):
    found = filtered.block_information(g)
    priors = prior_of_each_level(g, x, p)
    evidence = torch.rand(2, g.d, g.v, dtype=torch.float64, generator=rng(5)) ** 2
    for k in range(g.L + 1):
        blocks = x[0].unflatten(1, (-1, g.s**k))
        n = blocks.shape[1]
        exact = sum(entropy(of_rows(blocks[:, i], p)) for i in range(n)) - entropy(p)
        assert float(found[k]) == pytest.approx(exact, abs=1e-10)
        seen = evidence.unflatten(1, (n, -1))
        # what each block's evidence is given its symbol, by all data in which it has that symbol
        weight = torch.stack([seen[:, :, j].gather(2, blocks[:, :, j].T[None].expand(2, -1, -1)) for j in
                              range(g.s**k)]).prod(0)  # fmt: skip
        told = torch.einsum("n,bin,nia->bia", p, weight, hot(x[k], g.num_symbols(k))) / priors[k].clamp_min(1e-300)
        alone = filtered.infer_filtered(g, evidence, levels=k)
        same([alone.log_evidence], [(told * priors[k]).sum(2).log().sum(1)])
        joint = told * priors[k]
        same([alone.marginals[k]], [joint / joint.sum(2, keepdim=True)])
        of_class = torch.stack([prior_of_each_level(g, x, p * (x[-1][:, 0] == c))[k] for c in range(g.num_classes)])
        pi = of_class[:, 0].sum(1)
        each = torch.einsum("bia,cia->bci", told, of_class / pi[:, None, None])
        tied = filtered.infer_filtered(g, evidence, levels=k, tie="class")
        same([tied.log_evidence], [(pi * each.prod(2)).sum(1).log()])
        others = pi[:, None] * each.prod(2, keepdim=True) / each  # (b, c, i)
        joint = told * torch.einsum("bci,cia->bia", others, of_class / pi[:, None, None])
        same([tied.marginals[k]], [joint / joint.sum(2, keepdim=True)])


def linear_statistics(g, x, p):
    leaves = hot(x[0], g.v).flatten(1)
    mean = p @ leaves
    covariance = (p[:, None] * leaves).T @ leaves - mean[:, None] * mean
    u = torch.randn(g.d, g.v, dtype=torch.float64, generator=rng(2))
    same([spectrum.covariance_times(g, u).flatten()], [covariance @ u.flatten()])
    assert spectrum.top_eigenvalue(g) == pytest.approx(float(torch.linalg.eigvalsh(covariance)[-1]), rel=1e-5)
    score, parts = leaves @ u.flatten(), []
    for level in x:
        _, which = level.unique(dim=0, return_inverse=True)
        mass, total = (torch.zeros(len(p), dtype=p.dtype).index_add_(0, which, y) for y in (p, p * score))
        seen = mass > 0
        parts.append(float((total[seen] ** 2 / mass[seen]).sum() - (p @ score) ** 2))
    assert directions.shares(g, u).tolist() == pytest.approx([part / parts[0] for part in parts], abs=1e-9)
    of_class = torch.stack([p[c] @ leaves[c] / p[c].sum() for c in (x[-1][:, 0] == c for c in range(g.num_classes))])
    axes = torch.nn.functional.normalize(of_class - mean, dim=1)
    seen = torch.rand(2, g.d, g.v, dtype=torch.float64, generator=rng(3))
    belief = (seen / seen.sum(2, keepdim=True)).flatten(1)
    same([spectrum.census(g, seen)], [(belief - mean) @ axes.T])


def kept(g, x, p):
    evidence = hl.epsilon_evidence(x[0][:2], eps=0.7, v=g.v, dtype=torch.float64)
    weight = p * torch.stack([evidence[:, i, x[0][:, i]] for i in range(g.d)]).prod(0)
    weight = weight / weight.sum(1, keepdim=True)
    count = (x[0][None] == x[0][:2, None]).double()
    mean = (weight[:, :, None] * count).sum(1)
    total = count.sum(2)
    variance = (weight * (total - (weight * total).sum(1, keepdim=True)) ** 2).sum(1)
    found = changes.kept_moments(g, evidence, x[0][:2], torch.tensor([0, 3]))
    same([found.mean, found.variance], [mean, variance])
    one = torch.stack([count[0, :, 0], count[1, :, 3]])
    joint = torch.einsum("bn,bn,bni->bi", weight, one, count)
    same([found.with_one], [joint - (weight * one).sum(1, keepdim=True) * mean])
    same([hl.susceptibility(g, evidence, x[0][:2])], [variance / (mean * (1 - mean)).sum(1)])


SHOWN = [marginals, entropies, probabilities, leaf_pairs, language_of, worlds, linear_statistics, kept]


@pytest.mark.parametrize("show", SHOWN, ids=lambda show: show.__name__)
def test_shown_against_the_list(show, g, law):
    show(g, *law)


DIRECT = {  # reads rules, weights or classes, and is shown: above, in test_weights.py, or with what it is a part of
    "_kernels/causal/gpu": "next_leaf",
    "_kernels/causal/torch": "next_leaf",
    "_kernels/cpu": "__init__ _rule_tables",
    "_kernels/descent": "_running_sums",
    "_kernels/gpu": "_downward _tables _upward posterior_sample",
    "_kernels/torch": "infer posterior_sample rule_shares upward",
    "_weights": "class_law mean_over_classes mean_over_rules refuse_excluded refuse_uneven shared",
    "autoregression": "_visit",
    "enumeration": "_log_weights _of_rules derivation_weights",
    "experiments/changes": "_variance",
    "experiments/directions": "shares",
    "experiments/observables": "_step leaf_pair_distribution",
    "experiments/spectrum": "census covariance_times",
    "filtered": "_told_by_class block_information",
    "grammar": "block_grammar",
    "inference": "normalised_prior",
    "language": "leaf_covariance mean_place_entropies",
    "sampling": "sample",
    "probability": "entropy log_probability rule_entropies symbol_probabilities",
}
OF_RULES_ALONE = {  # what can be written: how often it is does not matter
    "book/figures/laboratory": "own_string",
    "book/figures/trees": "rules",
    "enumeration": "all_data another_rule",
    "experiments/fragments": "_walked reach",  # refuse what never occurs
    "grammar": "parents_of rules_of",
    "networks/generation": "chance_validity",
}
REFUSED = {  # see below
    "book/figures/trees": "stage",
    "experiments/transitions": "_strings",
    "networks/schedulers": "audit",
}


def test_nothing_else_reads_the_rules():
    tables = (DIRECT, OF_RULES_ALONE, REFUSED)
    known = {(module, name) for table in tables for module, names in table.items() for name in names.split()}
    found = set()
    for path in sorted((ROOT / "hierlib").rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            arguments = [*function.args.args, *function.args.kwonlyargs]
            of = {a.arg for a in arguments if a.annotation is not None and "Grammar" in ast.unparse(a.annotation)}
            read = [node for node in ast.walk(function) if isinstance(node, ast.Attribute)]
            if {node.attr for node in read if isinstance(node.value, ast.Name) and node.value.id in of} - SHAPE:
                found.add((path.relative_to(ROOT / "hierlib").with_suffix("").as_posix(), function.name))
    assert found == known, "functions that read the rules stand in the tables above, and no others"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, x: transitions.kernel(g, hl.MaskNoise(4), 0.5), "a matrix of transitions expected rules"),
        (lambda g, x: transitions.erasure_kernel(g, 1), "a matrix of transitions expected rules"),
        (lambda g, x: transitions.sampled_kernel(g, hl.MaskNoise(4), 0.5, 2, generator=rng()), "a matrix of trans"),
        (lambda g, x: haste.mixture_price(g, 2, 2, generator=rng()), "mixture_price expected rules and classes"),
        (lambda g, x: hl.audit(None, g, steps=1, n=1, generator=rng()), "audit expected rules and classes"),
        (lambda g, x: haste.law_from_runs(g, x[0]), "law_from_runs expected rules and classes"),
    ],
)
def test_refused(call, message, g, law):
    with pytest.raises(ValueError, match=message):
        call(g, law[0])


def test_what_can_be_written_is_asked_of_all_that_occurs(g, law):
    x, plain = law[0], dataclasses.replace(g, weights=None, class_prior=None)
    same(fragments.fragments(g)[None], fragments.fragments(plain)[None])
    same(fragments.reach(g, x[0][:3]), fragments.reach(plain, x[0][:3]))
    never = dataclasses.replace(g, class_prior=torch.tensor([0.5, 0.5, 0], dtype=torch.float64))
    for call in (fragments.fragments, lambda one: fragments.reach(one, x[0][:1])):
        with pytest.raises(ValueError, match="expected rules and classes that all occur, got weights of 0"):
            call(never)


def test_live_figures_are_refused(g):
    pytest.importorskip("matplotlib")
    from hierlib.book.figures import trees

    with pytest.raises(ValueError, match="a live figure expected rules and classes that are equally probable"):
        trees.stage("small-grammar", g)


def test_networks_are_judged_by_the_uneven_law(g, law):
    """What only hands the grammar on, at one end of the library: the divergence of the exact denoiser is zero."""
    x, p = law
    how = generation.process("mask", g.v)
    gap = generation.gap_to_exact(g, generation.exact_denoiser(g), how, x[0][:5], 0.5, generator=rng())
    assert float(gap.kl.abs().max()) < 1e-6
    order = haste.order("random", g, len(p), g.d, generator=rng())
    price = haste.paid(g, x[0], order, g.d)
    assert math.isclose(float(hl.log_probability(g, x[0]) @ p), -hl.entropy(g), abs_tol=1e-10) and price is not None
